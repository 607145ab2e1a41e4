"""Is a gain real? Paired bootstrap over images of the difference between two detectors."""

from typing import NamedTuple

import numpy as np

from lib.evaluation.arrays import DetectionTable, GroundTruth
from lib.evaluation.evaluator import evaluate
from lib.evaluation.protocols import Metric, Protocol
from lib.evaluation.resample import Interval, draw_images, interval_of, metric_of, resample_ap


class Difference(NamedTuple):
    """One number of two detectors; the values are None without an object."""

    name: str  # key of the protocol, or class
    first: float | None  # on the whole set
    second: float | None
    interval: Interval | None  # 95 %, of second - first
    p_value: float | None  # two-sided, that there is no difference

    @property
    def change(self) -> float | None:
        """Second - first."""
        return None if self.first is None or self.second is None else self.second - self.first

    def verdict(self, first: str = "first", second: str = "second") -> str:
        """In words: which is better, by these names, or that the difference is within noise."""
        if self.change is None or self.interval is None:
            return "no object"
        if self.interval.holds_zero:
            return "within noise"
        return f"{second if self.change > 0 else first} is better"

    def to_json(self) -> dict[str, float | str | None]:
        """All of it as plain values, with the difference and the verdict."""
        low, high = self.interval or (None, None)
        values = {"name": self.name, "first": self.first, "second": self.second, "low": low, "high": high}
        return {**values, "p_value": self.p_value, "difference": self.change, "verdict": self.verdict()}


class Comparison(NamedTuple):
    """Differences by the protocol's AP keys and by class, and the size of the bootstrap."""

    metrics: list[Difference]  # one for each AP key
    classes: list[Difference]  # one for each class, over the protocol's headline threshold and first range
    num_resamples: int
    num_images: int
    headline: str  # key of the metric to quote

    @property
    def quoted(self) -> Difference:
        """That of the protocol's headline."""
        return next(entry for entry in self.metrics if entry.name == self.headline)


def compare(
    ground_truth: GroundTruth,
    first: DetectionTable,
    second: DetectionTable,
    protocol: Protocol,
    num_resamples: int = 1000,
    seed: int = 0,
) -> Comparison:
    """Differences between the detections of two detectors on the same images.

    ``num_resamples`` of the images are drawn with replacement, from ``seed``.
    """
    num_images = len(ground_truth.image_ids)
    if num_resamples < 1 or num_images < 2:
        raise ValueError(
            f"a bootstrap must have at least 1 resample of at least 2 images; got {num_resamples} of {num_images}: "
            "choose more"
        )
    weights = draw_images(num_images, num_resamples, seed)
    results = [evaluate(ground_truth, table, protocol) for table in (first, second)]
    samples = [resample_ap(ground_truth, table, protocol, weights) for table in (first, second)]

    def difference(name: str, metric: Metric, category: int | None = None) -> Difference:
        before, after = (result.value(metric, category) for result in results)
        one, other = (metric_of(ap, metric, category) for ap in samples)
        change = (other - one)[np.isfinite(other - one)]
        if before is None or after is None or not len(change):
            return Difference(name, before, after, None, None)
        tail = min(int((change <= 0).sum()), int((change >= 0).sum()))
        p_value = min(1.0, 2 * (tail + 1) / (len(change) + 1))
        return Difference(name, before, after, interval_of(change), p_value)

    metrics = protocol.metrics()
    over_all = metrics[protocol.headline]._replace(area=0)
    return Comparison(
        [difference(key, metric) for key, metric in metrics.items() if metric.kind == "AP"],
        [difference(name, over_all, index) for index, name in enumerate(ground_truth.names)],
        num_resamples,
        num_images,
        protocol.headline,
    )
