"""Whether an exported model finds what the checkpoint finds."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
import torch

from lib.structures import Detections

TIE = 1e-6  # scores that differ by less are equal but for rounding, which then decides on their order
BOX_TOLERANCE = 0.1  # pixels by which the coordinates of one and the same box may differ


class Agreement(NamedTuple):
    """How far two detectors agree on some images.

    Attributes:
        images: how many were compared.
        detections: of the first detector, in all of them.
        ties: rows that stand in another place, among rows of equal score.
        unequal: images where the two differ in the number of boxes, their order, a label or a place.
        score_error, box_error: the largest difference of a score, and of a coordinate in pixels, in the other images.
    """

    images: int
    detections: int
    ties: int
    unequal: tuple[int, ...]
    score_error: float
    box_error: float

    def __str__(self) -> str:
        verdict = "the same boxes in the same order"
        if self.unequal:
            verdict = f"{len(self.unequal)} images differ (index {', '.join(map(str, self.unequal[:5]))})"
        ties = f" ({self.ties} rows changed places with one of equal score)" if self.ties else ""
        errors = f"scores to {self.score_error:.1e}, boxes to {self.box_error:.1e} px"
        return f"{self.images} images, {self.detections} detections: {verdict}{ties}; {errors}"


def compare(
    first: Callable[[np.ndarray], Detections],
    second: Callable[[np.ndarray], Detections],
    images: Iterable[np.ndarray],
) -> Agreement:
    """Runs two detectors on images (H, W, 3) uint8 BGR and compares what they find, row by row."""
    num_images, num_detections, ties, unequal, errors = 0, 0, 0, [], [(0.0, 0.0)]
    for image in images:
        found, other = first(image), second(image)
        rows = matching_rows(found, other)
        if rows is None:
            unequal.append(num_images)
        elif len(rows):
            other = Detections(*(value[rows] for value in other))
            pairs = ((found.scores, other.scores), (found.boxes, other.boxes))
            errors.append(tuple(float((a - b).abs().max()) for a, b in pairs))
            ties += int((rows != torch.arange(len(rows))).sum())
        num_images, num_detections = num_images + 1, num_detections + len(found.labels)
    return Agreement(num_images, num_detections, ties, tuple(unequal), *np.max(errors, axis=0).tolist())


def matching_rows(found: Detections, other: Detections) -> torch.Tensor | None:
    """(D,) the row of ``other`` that is the same box as each row of ``found``; None where there is no such row.

    It is the same row number, but for rows of equal score.
    """
    if len(found.labels) != len(other.labels):
        return None
    is_near = ((found.boxes[:, None] - other.boxes).abs() <= BOX_TOLERANCE).all(-1)  # (D, D)
    is_same = is_near & (found.labels[:, None] == other.labels)
    rows = torch.arange(len(found.labels))
    moved = (~is_same.diagonal()).nonzero()[:, 0]
    is_tied = (found.scores[moved, None] - found.scores[moved]).abs() <= TIE
    choice = is_same[moved][:, moved] & is_tied  # (M, M)
    if not ((choice.sum(0) == 1) & (choice.sum(1) == 1)).all():
        return None
    rows[moved] = moved[choice.long().argmax(1)] if len(moved) else moved
    return rows
