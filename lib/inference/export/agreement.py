"""Whether an exported model gives the detections of the checkpoint."""

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np
import torch

from lib.data.image import Reading
from lib.inference.sources import Files, open_source
from lib.structures import Detections

TIE = 1e-6  # scores that differ by less are equal except for rounding, which then decides their order
BOX_TOLERANCE = 0.1  # pixels by which the coordinates of the same box may differ


class Agreement(NamedTuple):
    """How far two detectors agree on some images."""

    images: int
    detections: int  # of the first detector, in all of them
    ties: int  # rows that have another place among rows of equal score
    unequal: tuple[int, ...]  # indices of images where the number of boxes, their order, a label or a box differs
    score_error: float  # largest difference of a score, in the other images
    box_error: float  # and of a coordinate, in pixels

    def __str__(self) -> str:
        verdict = "the same boxes in the same order"
        if self.unequal:
            verdict = f"{len(self.unequal)} images differ (index {', '.join(map(str, self.unequal[:5]))})"
        ties = f" ({self.ties} rows changed places with one of equal score)" if self.ties else ""
        errors = f"scores to {self.score_error:.1e}, boxes to {self.box_error:.1e} px"
        return f"{self.images} images, {self.detections} detections: {verdict}{ties}; {errors}"


def first_images(source: str, limit: int, reading: Reading) -> Iterator[np.ndarray]:
    """The first images (H, W, 3) uint8 BGR of a source (see ``open_source``), ``limit`` at most; ``reading`` is the
    detector's.

    The first is read at once: where none can be read, this is a ValueError.
    """
    frames = open_source(source)
    if isinstance(frames, Files):
        frames.reading = reading
    images = (frame.image for frame in itertools.islice(frames, limit))
    first = next(images, None)
    if first is None:
        raise ValueError(f"there must be images to run the detector on; {source} has none that can be read")
    return itertools.chain([first], images)


def compare(
    first: Callable[[np.ndarray], Detections], second: Callable[[np.ndarray], Detections], images: Iterable[np.ndarray]
) -> Agreement:
    """Runs two detectors on images (H, W, 3) uint8 BGR and compares their detections, row by row.

    Where neither finds anything, or there is no image, nothing was compared: a ValueError.
    """
    num_images, num_detections, ties, unequal, score_error, box_error = 0, 0, 0, [], 0.0, 0.0
    for image in images:
        expected, other = first(image), second(image)
        rows = matching_rows(expected, other)
        if rows is None:
            unequal.append(num_images)
        elif len(rows):
            score_error = max(score_error, float((expected.scores - other.scores[rows]).abs().max()))
            box_error = max(box_error, float((expected.boxes - other.boxes[rows]).abs().max()))
            ties += int((rows != torch.arange(len(rows))).sum())
        num_images, num_detections = num_images + 1, num_detections + len(expected.labels)
    if num_detections == 0 and not unequal:
        raise ValueError(
            f"two detectors must be compared on images in which they find an object; got {num_images} images and no "
            "detection: choose other images, or a lower postprocess.score_threshold"
        )
    return Agreement(num_images, num_detections, ties, tuple(unequal), score_error, box_error)


def matching_rows(expected: Detections, other: Detections) -> torch.Tensor | None:
    """(D,) the row of ``other`` with the same box as each row of ``expected``; None if some row has no such box.

    It is the same row number, except among rows of equal score.
    """
    if len(expected.labels) != len(other.labels):
        return None
    is_near = ((expected.boxes[:, None] - other.boxes).abs() <= BOX_TOLERANCE).all(-1)  # (D, D)
    is_same = is_near & (expected.labels[:, None] == other.labels)
    rows = torch.arange(len(expected.labels))
    moved = (~is_same.diagonal()).nonzero()[:, 0]
    is_tied = (expected.scores[moved, None] - expected.scores[moved]).abs() <= TIE
    choice = is_same[moved][:, moved] & is_tied  # (M, M)
    if not ((choice.sum(0) == 1) & (choice.sum(1) == 1)).all():
        return None
    rows[moved] = moved[choice.long().argmax(1)] if len(moved) else moved
    return rows
