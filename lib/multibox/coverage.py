"""How well priors suit the data: which objects no prior matches, and priors fitted to the objects."""

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
    chosen = [groups[i] for i in np.unique(np.linspace(0, len(groups) - 1, most).astype(int))] if groups else []
    matched = 0
    for rows in chosen:
        numbers = torch.arange(1, len(rows) + 1)[None]  # as labels, so that each object is told from the others
        target = Target(torch.from_numpy(boxes[rows].astype(np.float32))[None], numbers)
        matched += len(set(matcher(priors, target).labels.unique().tolist()) & set(numbers[0].tolist()))
    objects = sum(map(len, chosen))
    return Unmatched(objects - matched, objects, len(chosen))


def fit_boxes(
    boxes: np.ndarray,
    generator: PriorGenerator,
    maps: Sequence[tuple[int, int]],
    image_size: tuple[int, int],
    seed: int = 0,
) -> list[list[list[float]] | None]:
    """Widths and heights of a cell's priors at each level, as many as there are now, fitted to its objects.

    An object goes to the coarsest level whose cells are at most half as large as it is, for then some prior of
    its shape overlaps it well; else to the finest. Its level's shapes are cluster centers under IoU.

    Args:
        boxes: (G, 4) xyxy, px of the network's input.
        generator: makes the present priors. maps: (height, width) of each level. image_size: of the input.
        seed: of the clustering.

    Returns:
        For each level [[width, height], ...] as ``model.priors.boxes`` takes it, smallest first; None where a
        level has fewer objects than priors and keeps what it has.
    """
    scale = math.sqrt(image_size[0] * image_size[1]) / generator.reference if generator.reference else 1.0
    shapes = boxes[:, 2:] - boxes[:, :2]
    sides = np.sqrt(shapes.prod(axis=1))
    steps = np.array([math.sqrt(image_size[0] / rows * image_size[1] / columns) for rows, columns in maps])
    level = np.maximum((steps[None] <= sides[:, None] / 2).sum(axis=1) - 1, 0)
    boxes_of_levels: list[list[list[float]] | None] = []
    for index, number in enumerate(generator.boxes_per_cell):
        of_level = shapes[level == index]
        if len(of_level) < number:
            boxes_of_levels.append(None)
            continue
        centers = cluster_shapes(of_level, number, np.random.default_rng(seed)) / scale
        boxes_of_levels.append([[round(float(value), 2) for value in shape] for shape in centers])
    return boxes_of_levels


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
    return centers[np.argsort(centers.prod(axis=1), kind="stable")]


def shape_overlaps(shapes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """(N, M) IoU of (N, 2) and (M, 2) boxes around one center."""
    shared = np.minimum(shapes[:, None], others[None]).prod(axis=2)
    overlaps: np.ndarray = shared / (shapes.prod(axis=1)[:, None] + others.prod(axis=1)[None] - shared)
    return overlaps
