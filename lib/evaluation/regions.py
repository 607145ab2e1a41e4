"""Ignored regions of no class: what lies in them is taken out before anything is matched."""

from typing import NamedTuple

import numpy as np

from lib.evaluation.arrays import REGION, DetectionTable, GroundTruth


class Tables(NamedTuple):
    """Detections and the ground truth that they are compared with."""

    ground_truth: GroundTruth
    detections: DetectionTable


def drop_regions(ground_truth: GroundTruth, detections: DetectionTable) -> Tables:
    """Both without the ignored regions of no class, and without what lies at least half inside them."""
    is_region = ground_truth.category == REGION
    if not is_region.any():
        return Tables(ground_truth, detections)
    kept_objects, kept_detections = ~is_region, np.ones(len(detections.image), bool)
    for image in np.unique(ground_truth.image[is_region]):
        of_image = slice(*np.searchsorted(ground_truth.image, [image, image + 1]))
        regions = ground_truth.xywh[of_image][is_region[of_image]]
        for table, kept in ((ground_truth, kept_objects), (detections, kept_detections)):
            rows = slice(*np.searchsorted(table.image, [image, image + 1]))
            areas = table.xywh[rows, 2] * table.xywh[rows, 3]
            kept[rows] &= (covered_area(table.xywh[rows], regions) < 0.5 * areas) | (areas == 0)
    return Tables(ground_truth.select(kept_objects), detections.select(kept_detections))


def covered_area(boxes: np.ndarray, regions: np.ndarray) -> np.ndarray:
    """(N,) area of (N, 4) xywh boxes that (R, 4) regions cover; where regions overlap it counts once."""
    low, high = regions[:, :2], regions[:, :2] + regions[:, 2:]
    lengths, inside = [], []
    for axis in range(2):  # the edges of all regions cut the image into a grid of cells
        edges = np.unique(np.concatenate([low[:, axis], high[:, axis]]))
        begin, end = boxes[:, axis, None], boxes[:, axis, None] + boxes[:, axis + 2, None]
        shared = np.minimum(end, edges[1:]) - np.maximum(begin, edges[:-1])  # (N, cells)
        lengths.append(np.maximum(shared, 0))
        inside.append((low[:, axis, None] <= edges[:-1]) & (edges[1:] <= high[:, axis, None]))  # (R, cells)
    is_covered = np.einsum("rx,ry->xy", *inside) if len(regions) else np.zeros((0, 0), bool)
    return np.einsum("nx,xy,ny->n", lengths[0], is_covered.astype(np.float64), lengths[1])
