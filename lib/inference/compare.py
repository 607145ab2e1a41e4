"""Whether an exported model finds what the checkpoint finds."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np

from lib.structures import Detections


class Agreement(NamedTuple):
    """How far two detectors agree on some images.

    Attributes:
        images: how many were compared.
        detections: of the first detector, in all of them.
        unequal: images where the two differ in the number of boxes, their order, a label or a place.
        score_error, box_error: the largest difference of a score, and of a coordinate in pixels, over the images
            that are not unequal.
    """

    images: int
    detections: int
    unequal: tuple[int, ...]
    score_error: float
    box_error: float

    def __str__(self) -> str:
        different = f"{len(self.unequal)} differ (index {', '.join(map(str, self.unequal[:5]))})"
        return (
            f"{self.images} images, {self.detections} detections: "
            f"{different if self.unequal else 'the same boxes in the same order'}; scores to "
            f"{self.score_error:.1e}, boxes to {self.box_error:.1e} px"
        )


def compare(
    first: Callable[[np.ndarray], Detections],
    second: Callable[[np.ndarray], Detections],
    images: Iterable[np.ndarray],
    box_tolerance: float = 0.1,
) -> Agreement:
    """Runs two detectors on images (H, W, 3) uint8 BGR and compares what they find, row by row.

    Args:
        box_tolerance: pixels by which the coordinates of one and the same box may differ.
    """
    num_images, num_detections, unequal, errors = 0, 0, [], [(0.0, 0.0)]
    for image in images:
        found, other = first(image), second(image)
        is_equal = found.labels.equal(other.labels) and found.boxes.allclose(other.boxes, 0, box_tolerance)
        if is_equal and len(found.labels):
            errors.append(
                tuple(float((a - b).abs().max()) for a, b in zip(found[1::-1], other[1::-1], strict=True))
            )
        elif not is_equal:
            unequal.append(num_images)
        num_images, num_detections = num_images + 1, num_detections + len(found.labels)
    return Agreement(num_images, num_detections, tuple(unequal), *np.max(errors, axis=0).tolist())
