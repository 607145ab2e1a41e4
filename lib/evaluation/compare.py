"""Is a gain real? Paired bootstrap over images of the difference between two detectors."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from lib.evaluation.arrays import DetectionTable, GroundTruth
from lib.evaluation.evaluator import evaluate
from lib.evaluation.protocols import Metric, Protocol
from lib.evaluation.resample import resample_ap
from lib.evaluation.result import Result
from lib.evaluation.tables import Row
from lib.evaluation.voc_visdrone import drop_regions


class Difference(NamedTuple):
    """One number of two detectors.

    Attributes:
        name: key of the protocol, or class.
        first, second: values on the whole set; None without an object, as are then all others.
        low, high: 95 % interval of second - first.
        p_value: two-sided, that there is no difference.
    """

    name: str
    first: float | None
    second: float | None
    low: float | None
    high: float | None
    p_value: float | None

    @property
    def change(self) -> float | None:
        """Second - first."""
        return None if self.first is None or self.second is None else self.second - self.first

    @property
    def verdict(self) -> str:
        """In words: which is better, or that the difference is within noise."""
        if self.change is None or self.low is None:
            return "no object"
        if self.low <= 0 <= self.high:
            return "within noise"
        return "second is better" if self.change > 0 else "first is better"

    def to_json(self) -> dict[str, float | str | None]:
        """All of it, with the difference and the verdict."""
        return {**self._asdict(), "difference": self.change, "verdict": self.verdict}


class Comparison(NamedTuple):
    """Differences by the protocol's AP keys and by class.

    Attributes:
        metrics: one for each AP key.
        classes: one for each class, over the protocol's headline threshold and first range.
        num_resamples, num_images: of the bootstrap.
    """

    metrics: list[Difference]
    classes: list[Difference]
    num_resamples: int
    num_images: int


def compare(
    ground_truth: GroundTruth,
    first: DetectionTable,
    second: DetectionTable,
    protocol: Protocol,
    num_resamples: int = 1000,
    seed: int = 0,
) -> Comparison:
    """Differences between two detectors on the same images.

    Args:
        ground_truth: of all images.
        first, second: the detections of each.
        protocol: as for ``evaluate``.
        num_resamples: drawings of as many images as there are, with replacement.
        seed: of the drawings.
    """
    num_images = len(ground_truth.image_ids)
    if num_resamples < 1 or num_images < 2:
        raise ValueError(
            f"a bootstrap must have at least 1 resample of at least 2 images; got {num_resamples} of {num_images}: "
            "choose more"
        )
    weights = _draw(num_images, num_resamples, np.random.default_rng(seed))
    pairs = [drop_regions(ground_truth, table) for table in (first, second)]
    results = [evaluate(*pair, protocol) for pair in pairs]
    samples = [resample_ap(*pair, protocol, weights) for pair in pairs]
    keys = {key: metric for key, metric in protocol.metrics().items() if metric.kind == "AP"}
    over_all = protocol.metrics()[protocol.headline]._replace(area=0)
    return Comparison(
        [_difference(key, results, samples, metric) for key, metric in keys.items()],
        [
            _difference(name, results, samples, over_all, index)
            for index, name in enumerate(ground_truth.names)
        ],
        num_resamples,
        num_images,
    )


def _draw(num_images: int, num_resamples: int, rng: np.random.Generator) -> np.ndarray:
    """(I, B) float32, how often each resample holds each image."""
    drawn = (rng.integers(0, num_images, num_images) for _ in range(num_resamples))
    return np.stack([np.bincount(rows, minlength=num_images) for rows in drawn], axis=1).astype(np.float32)


def _difference(
    name: str, results: list[Result], samples: list[np.ndarray], metric: Metric, category: int | None = None
) -> Difference:
    """One number of both detectors, from the whole set and from the resamples."""
    values = [result.value(metric, category) for result in results]
    change = _mean(samples[1], metric, category) - _mean(samples[0], metric, category)
    change = change[np.isfinite(change)]
    if None in values or not len(change):
        return Difference(name, *values, None, None, None)
    tail = min(int((change <= 0).sum()), int((change >= 0).sum()))
    low, high = np.quantile(change, [0.025, 0.975]).tolist()
    return Difference(name, *values, low, high, min(1.0, 2 * (tail + 1) / (len(change) + 1)))


def _mean(samples: np.ndarray, metric: Metric, category: int | None) -> np.ndarray:
    """(B,) one metric of every resample; NaN where it has no object."""
    thresholds = slice(None) if metric.threshold is None else [metric.threshold]
    classes = slice(None) if category is None else [category]
    values = samples[thresholds][:, classes, metric.area]  # (T, K, B)
    is_there = np.isfinite(values)
    count = is_there.sum(axis=(0, 1))
    total = np.where(is_there, values, 0).sum(axis=(0, 1), dtype=np.float64)
    return np.divide(total, count, out=np.full(len(count), np.nan), where=count > 0)


def short_names(first: str, second: str) -> tuple[str, str]:
    """The parts in which two paths differ: ``runs/a/x.json`` and ``runs/b/x.json`` are ``a`` and ``b``."""
    paths = [list(Path(text).parts) for text in (first, second)]
    if paths[0] == paths[1]:
        return "first", "second"
    for end in (0, -1):
        while len(paths[0]) > 1 < len(paths[1]) and paths[0][end] == paths[1][end]:
            for path in paths:
                path.pop(end)
    return str(Path(*paths[0])), str(Path(*paths[1]))


def comparison_rows(comparison: Comparison, names: tuple[str, str]) -> list[Row]:
    """Header, and one row a number: both values, their difference with its interval, p-value, verdict."""
    rows: list[Row] = [("", *names, "difference", "95 % interval", "p", "verdict")]
    for found in (*comparison.metrics, *comparison.classes):
        interval = None if found.low is None else f"{found.low:+.3f} to {found.high:+.3f}"
        change = None if found.change is None else f"{found.change:+.3f}"
        rows.append((found.name, found.first, found.second, change, interval, found.p_value, found.verdict))
    return rows


def summary(comparison: Comparison, names: tuple[str, str]) -> str:
    """One sentence on the first number."""
    found = comparison.metrics[0]
    if found.low is None:
        return f"There is no object to compare {names[0]} and {names[1]} on."
    interval = f"95 % interval {found.low:+.3f} to {found.high:+.3f}, p {found.p_value:.3f}"
    if found.verdict == "within noise":
        return f"{found.name} differs by {found.change:+.3f}, which is within noise ({interval})."
    better = names[found.change > 0]
    return f"{better} is better: {found.name} differs by {found.change:+.3f} ({interval})."
