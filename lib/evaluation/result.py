"""The numbers of one evaluation, as values, as JSON and as a table to read."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from typing import Any

import numpy as np

from lib.evaluation.arrays import GroundTruth
from lib.evaluation.engines import Curves
from lib.evaluation.protocols import Metric, Protocol
from lib.evaluation.tables import align, class_rows, limit_line, long_rows, size_rows

Numbers = dict[str, float | None]


@dataclass(frozen=True)
class Result:
    """What an evaluation found; None stands wherever there is no object to find.

    Attributes:
        protocol: by which the numbers were made.
        names: the K classes.
        curves: precision and recall behind the numbers.
        objects: (K, A) int64, objects that count, by class and range.
    """

    protocol: Protocol
    names: tuple[str, ...]
    curves: Curves
    objects: np.ndarray

    def value(self, metric: Metric, category: int | None = None) -> float | None:
        """One number: the mean over the classes that have objects, or of one class."""
        classes = slice(None) if category is None else slice(category, category + 1)
        thresholds = (
            slice(None) if metric.threshold is None else slice(metric.threshold, metric.threshold + 1)
        )
        if metric.kind == "AR":
            values = self.curves.recall[thresholds, classes, metric.area, metric.limit]
        elif self.curves.ap is not None:
            values = self.curves.ap[thresholds, classes, metric.area, metric.limit]
        else:
            values = self.curves.precision[thresholds, :, classes, metric.area, metric.limit]
        values = values[values > -1]
        return float(np.mean(values)) if values.size else None

    @property
    def metrics(self) -> Numbers:
        """Key -> number over all classes."""
        return {key: self.value(metric) for key, metric in self.protocol.metrics().items()}

    @property
    def per_class(self) -> dict[str, Numbers]:
        """Class name -> the same keys."""
        metrics = self.protocol.metrics().items()
        return {
            name: {key: self.value(metric, index) for key, metric in metrics}
            for index, name in enumerate(self.names)
        }

    @property
    def counts(self) -> dict[str, int]:
        """Range -> objects in it. Bounds belong to both neighbours, as in the evaluation itself."""
        return dict(zip(self.protocol.ranges, self.objects.sum(0).tolist(), strict=True))

    def to_json(self) -> dict[str, Any]:
        """The form of test.py and tools/evaluate.py; see DESIGN.md."""
        return {
            "metrics": self.metrics,
            "per_class": self.per_class,
            "protocol": self.protocol.name,
            "counts": self.counts,
        }

    def to_csv(self) -> str:
        """One line a class and range; empty where there is no object."""
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(long_rows(self))
        return text.getvalue()

    def table(self) -> str:
        """Two tables to read: by size, and by class. A dash stands where there is no object."""
        return "\n\n".join([align(size_rows(self)), limit_line(self), align(class_rows(self))])


def count_objects(ground_truth: GroundTruth, protocol: Protocol) -> np.ndarray:
    """(K, A) int64, the objects that count, by class and range; a bound belongs to both of its ranges."""
    counts = np.zeros((len(ground_truth.names), len(protocol.ranges)), np.int64)
    for index, (low, high) in enumerate(protocol.ranges.values()):
        inside = ~ground_truth.ignore & (ground_truth.area >= low) & (ground_truth.area <= high)
        counts[:, index] = np.bincount(ground_truth.category[inside], minlength=len(counts))
    return counts
