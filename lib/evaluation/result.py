"""The numbers of one evaluation, as values, as JSON, as CSV and as tables. None stands where there is no object."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from lib.evaluation.arrays import GroundTruth
from lib.evaluation.engines import Curves
from lib.evaluation.matching import not_counting
from lib.evaluation.protocols import Metric, Protocol, side_text
from lib.utils.table import Row, align, cell_text, csv_text


@dataclass(frozen=True)
class Result:
    """The outcome of an evaluation."""

    protocol: Protocol  # by which the numbers were made
    names: tuple[str, ...]  # the K classes
    curves: Curves  # precision and recall behind the numbers
    objects: np.ndarray  # (K, A) int64, objects that count, by class and range

    def value(self, metric: Metric, category: int | None = None) -> float | None:
        """One number: of one class, or the mean over the classes that have objects."""
        thresholds, classes = (
            slice(None) if index is None else slice(index, index + 1) for index in (metric.threshold, category)
        )
        if metric.kind == "AR":
            values = self.curves.recall[thresholds, classes, metric.area, metric.limit]
        elif self.curves.ap is not None:
            values = self.curves.ap[thresholds, classes, metric.area, metric.limit]
        else:
            values = self.curves.precision[thresholds, :, classes, metric.area, metric.limit]
        values = values[values > -1]
        return float(np.mean(values)) if values.size else None

    def numbers(self, category: int | None = None) -> dict[str, float | None]:
        """Key -> number, of one class or over all."""
        return {key: self.value(metric, category) for key, metric in self.protocol.metrics().items()}

    @property
    def metrics(self) -> dict[str, float | None]:
        """Key -> number over all classes."""
        return self.numbers()

    @property
    def counts(self) -> dict[str, int]:
        """Range -> objects in it. A bound belongs to both of its ranges, as in the evaluation itself."""
        return dict(zip(self.protocol.ranges, self.objects.sum(0).tolist(), strict=True))

    def to_json(self) -> dict[str, Any]:
        """What test.py and tools/evaluate.py write; docs/evaluation.md describes it."""
        per_class = {name: self.numbers(index) for index, name in enumerate(self.names)}
        about = {"protocol": self.protocol.name, "counts": self.counts}
        return {"metrics": self.metrics, "per_class": per_class, **about}

    def to_csv(self) -> str:
        """One line for each class and range: bounds in px^2, objects, AP and AR; empty where there is no object."""
        columns = self._columns()
        rows: list[Row] = [("class", "range", "lowest_px2", "highest_px2", "objects", *columns)]
        counts = np.vstack([self.objects.sum(0), self.objects]).tolist()
        for index, name in enumerate(("(all)", *self.names)):
            for area, (range_name, bounds) in enumerate(self.protocol.ranges.items()):
                category = index - 1 if index else None
                values = (self.value(metric._replace(area=area), category) for metric in columns.values())
                rows.append((name, range_name, *bounds, counts[index][area], *values))
        return csv_text(rows)

    def table(self) -> str:
        """What to read on a screen: numbers by size, recall by limit, numbers by class."""
        return "\n\n".join([align(self.size_rows()), self.limit_line(), align(self.class_rows())])

    def size_rows(self) -> list[Row]:
        """Header, and one row for each range: name, side, objects, AP and AR."""
        columns, counts = self._columns(), self.counts
        rows: list[Row] = [("range", "side, px", "objects", *columns)]
        for area, (name, bounds) in enumerate(self.protocol.ranges.items()):
            values = (self.value(metric._replace(area=area)) for metric in columns.values())
            rows.append((name, side_text(bounds), counts[name], *values))
        return rows

    def class_rows(self) -> list[Row]:
        """Header, and one row for each class: name, objects, AP and AR, and the headline's AP by range."""
        columns = self._columns()
        headline = self.protocol.metrics()[self.protocol.headline]
        for area, name in list(enumerate(self.protocol.ranges))[1:]:
            columns[f"AP_{name}"] = headline._replace(area=area)
        rows: list[Row] = [("class", "objects", *columns)]
        for index, name in enumerate(self.names):
            values = [self.value(metric, index) for metric in columns.values()]
            rows.append((name, int(self.objects[index, 0]), *values))
        return rows

    def limit_line(self) -> str:
        """Recall for each limit on detections of each class in an image."""
        metrics = self.protocol.metrics().items()
        recalls = {key: metric for key, metric in metrics if metric.kind == "AR" and metric.area == 0}
        return ", ".join(f"{key} {cell_text(self.value(metric))}" for key, metric in recalls.items())

    def _columns(self) -> dict[str, Metric]:
        """Title -> number over the first range and at the highest limit: AP, AP50, AP75, AR and the like."""
        last, metrics = len(self.protocol.limits) - 1, self.protocol.metrics().items()
        return {key.split("_")[0]: metric for key, metric in metrics if (metric.area, metric.limit) == (0, last)}


def count_objects(ground_truth: GroundTruth, protocol: Protocol) -> np.ndarray:
    """(K, A) int64, the objects that count, by class and range; a bound belongs to both of its ranges."""
    counts = np.zeros((len(ground_truth.names), len(protocol.ranges)), np.int64)
    np.add.at(counts, ground_truth.category, ~not_counting(ground_truth, protocol))
    return counts
