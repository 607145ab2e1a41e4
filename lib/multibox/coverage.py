"""How well priors suit the data: which objects no prior matches, and priors fitted to the objects."""

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from lib.multibox.losses import Matcher
from lib.multibox.priors import PriorGenerator
from lib.ops import bbox_overlaps
from lib.structures import Target

_BLOCK = 256  # objects at a time
_LEAST_OBJECTS = 10  # of a level, for each prior that is fitted to them


def best_overlaps(boxes: np.ndarray, priors: torch.Tensor) -> np.ndarray:
    """(G,) highest IoU of each object (G, 4) with a prior (P, 4) float32, all xyxy in px of the network's input."""
    parts = torch.split(torch.from_numpy(boxes.astype(np.float32)), _BLOCK)
    return torch.cat([bbox_overlaps(part, priors).amax(dim=1) for part in parts]).numpy()


class Unmatched(NamedTuple):
    """Objects that a matcher leaves without a prior, of those in some images."""

    without: int
    objects: int
    images: int


def count_unmatched(
    boxes: np.ndarray, images: np.ndarray, priors: torch.Tensor, matcher: Matcher, most: int = 2000
) -> Unmatched:
    """How many objects no prior is to predict: such an object teaches nothing.

    Args:
        boxes: (G, 4) xyxy, px of the network's input. images: (G,) the image of each.
        priors: (P, 4) float32, likewise.
        most: images that are looked at, spread evenly over those with objects.
    """
    order = np.argsort(images, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(images[order])) + 1) if len(order) else []
    places = sorted(set(np.linspace(0, len(groups) - 1, most).astype(int).tolist())) if groups else []
    chosen = [groups[place] for place in places]
    matched = 0
    for rows in chosen:
        numbers = torch.arange(1, len(rows) + 1)[None]  # as labels, so that each object is told from the others
        target = Target(torch.from_numpy(boxes[rows].astype(np.float32))[None], numbers)
        matched += len(set(matcher(priors, target).labels[0].tolist()) & set(numbers[0].tolist()))
    objects = sum(map(len, chosen))
    return Unmatched(objects - matched, objects, len(chosen))


def fit_boxes(
    boxes: np.ndarray,
    generator: PriorGenerator,
    maps: Sequence[tuple[int, int]],
    image_size: tuple[int, int],
    seed: int = 0,
) -> list[list[list[float]]]:
    """Widths and heights of a cell's priors at each level, as many as there are now, fitted to its objects.

    An object goes to the coarsest level whose cells are at most half as large as it is, for then some prior of
    its shape overlaps it well; else to the finest. The shapes of a level are cluster centers of its objects, scaled
    so that the mean IoU of an object with its best prior is high. A level with few objects gets squares of 2 to 4
    cells.

    Args:
        boxes: (G, 4) xyxy, px of the network's input.
        generator: makes the present priors. maps: (height, width) of each level. image_size: of the input.
        seed: of the clustering.

    Returns:
        For each level [[width, height], ...] as ``model.priors.boxes`` takes it, smallest first.
    """
    level = levels_of(boxes, maps, image_size)
    fitted = []
    for index, number in enumerate(generator.boxes_per_cell):
        cell = cell_size(maps[index], image_size)
        of_level = boxes[level == index]
        if len(of_level) < _LEAST_OBJECTS * number:
            fitted.append(squares_of_cell(cell, number, image_size))
            continue
        shapes, centers = of_level[:, 2:] - of_level[:, :2], (of_level[:, :2] + of_level[:, 2:]) / 2
        offsets = np.abs(centers / cell % 1 - 0.5) * cell  # to the center of the nearest cell
        start = cluster_shapes(shapes, number, np.random.default_rng(seed))
        fitted.append(_improved(start, shapes, offsets))
    return _in_units(fitted, generator.reference, image_size)


def boxes_by_cells(
    maps: Sequence[tuple[int, int]], image_size: tuple[int, int], reference: float | None
) -> list[list[list[float]]]:
    """What ``fit_boxes`` gives without any object, with two priors a cell: squares of 2 to 4 cells."""
    shapes = [squares_of_cell(cell_size(cells, image_size), 2, image_size) for cells in maps]
    return _in_units(shapes, reference, image_size)


def _in_units(
    levels: Sequence[np.ndarray], reference: float | None, image_size: tuple[int, int]
) -> list[list[list[float]]]:
    """Shapes (A, 2) of each level in px of the input, as ``model.priors.boxes`` has them."""
    scale = math.sqrt(image_size[0] * image_size[1]) / reference if reference else 1.0
    return [[[round(float(value), 2) for value in shape] for shape in shapes / scale] for shapes in levels]


def levels_of(boxes: np.ndarray, maps: Sequence[tuple[int, int]], image_size: tuple[int, int]) -> np.ndarray:
    """(G,) the level that is to have the priors of each object (G, 4), by its size: see ``fit_boxes``."""
    sides = np.sqrt((boxes[:, 2:] - boxes[:, :2]).prod(axis=1))
    steps = np.sqrt([cell_size(cells, image_size).prod() for cells in maps])
    level: np.ndarray = np.maximum((steps[None] <= sides[:, None] / 2).sum(axis=1) - 1, 0)
    return level


def cell_size(cells: tuple[int, int], image_size: tuple[int, int]) -> np.ndarray:
    """(width, height) of a map's cell in px of the input; ``cells`` and ``image_size`` are (height, width)."""
    return np.array([image_size[1] / cells[1], image_size[0] / cells[0]])


def squares_of_cell(cell: np.ndarray, number: int, image_size: tuple[int, int]) -> np.ndarray:
    """(number, 2) squares with sides of 2 to 4 cells, evenly spaced by logarithm, none larger than the input."""
    largest = min(4 * math.sqrt(cell.prod()), *image_size)
    sides = largest / 2 * 2 ** ((np.arange(number) + 0.5) / number)
    return np.stack([sides, sides], axis=1)


def cluster_shapes(shapes: np.ndarray, number: int, rng: np.random.Generator, rounds: int = 50) -> np.ndarray:
    """(number, 2) widths and heights in which (G, 2) shapes cluster, by rising area.

    k-means under 1 - IoU of boxes with one center, as in YOLO9000 (section 2), with medians for centers.
    """
    centers = shapes[rng.choice(len(shapes), 1)]
    while len(centers) < number:  # far shapes are likelier to start a cluster
        distance = 1 - shape_overlaps(shapes, centers).max(axis=1)
        total = distance.sum()
        chance = distance / total if total > 0 else None
        centers = np.vstack([centers, shapes[rng.choice(len(shapes), 1, p=chance)]])
    owner = np.full(len(shapes), -1)
    for _ in range(rounds):
        nearest = shape_overlaps(shapes, centers).argmax(axis=1)
        if (nearest == owner).all():
            break
        owner = nearest
        for index in np.unique(owner):
            centers[index] = np.median(shapes[owner == index], axis=0)
    return _by_area(centers)


def _improved(priors: np.ndarray, shapes: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Priors (A, 2) scaled one by one while that raises the mean IoU of (G, 2) shapes with the best of them, at (G, 2)
    offsets: where cells are coarse for the objects, the best priors are larger than these.
    """
    best = shape_overlaps(shapes, priors, offsets).max(axis=1).mean()
    for factor in (1.2, 1.1, 1.05, 1.02):
        is_better = True
        while is_better:
            is_better = False
            for index, change in itertools.product(range(len(priors)), (factor, 1 / factor)):
                changed = priors.copy()
                changed[index] *= change
                mean = shape_overlaps(shapes, changed, offsets).max(axis=1).mean()
                if mean > best + 1e-6:
                    priors, best, is_better = changed, mean, True
    return _by_area(priors)


def _by_area(shapes: np.ndarray) -> np.ndarray:
    return shapes[np.argsort(shapes.prod(axis=1), kind="stable")]


def shape_overlaps(shapes: np.ndarray, others: np.ndarray, offsets: np.ndarray | None = None) -> np.ndarray:
    """(N, M) IoU of (N, 2) and (M, 2) boxes, whose centers are ``offsets`` (N, 2) apart; None: around one center."""
    shared = np.minimum(shapes[:, None], others[None])
    if offsets is not None:
        apart = (shapes[:, None] + others[None]) / 2 - offsets[:, None]
        shared = np.clip(apart, 0, shared)
    shared = shared.prod(axis=2)
    overlaps: np.ndarray = shared / (shapes.prod(axis=1)[:, None] + others.prod(axis=1)[None] - shared)
    return overlaps
