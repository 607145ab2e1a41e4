"""Precision over recall, of one class."""

from typing import NamedTuple

import numpy as np


class Curve(NamedTuple):
    """Precision over recall, for T thresholds and R recall levels."""

    precision: np.ndarray  # (T, R) float64, at the levels
    recall: np.ndarray  # (T,) float64, the highest
    area: np.ndarray  # (T,) float64, under the whole envelope
    reached: np.ndarray  # (T, R) int64, the detection that reaches each level; N where none does


def precision_recall(true: np.ndarray, ignored: np.ndarray, num_objects: int, levels: np.ndarray) -> Curve:
    """The curve of N detections by falling score, of which some are ``true`` and some ``ignored``, both (T, N) bool.

    There must be at least one object to find. ``levels`` (R,) are the recall levels.
    """
    hits = np.cumsum(true & ~ignored, axis=1).astype(np.float64)  # (T, N)
    misses = np.cumsum(~true & ~ignored, axis=1).astype(np.float64)
    recall = hits / num_objects
    envelope = hits / (misses + hits + np.spacing(1))  # as COCO's own code guards against 0 / 0
    envelope = np.maximum.accumulate(envelope[:, ::-1], axis=1)[:, ::-1]
    reached = np.stack([np.searchsorted(row, levels, side="left") for row in recall])  # (T, R)
    padded = np.pad(envelope, ((0, 0), (0, 1)))
    area = (np.diff(recall, axis=1, prepend=0.0) * envelope).sum(axis=1)
    precision = np.take_along_axis(padded, reached, axis=1)
    return Curve(precision, recall.max(axis=1, initial=0.0), area, reached)
