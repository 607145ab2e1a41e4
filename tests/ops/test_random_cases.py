"""FUZZ_CASES=100000 python -m pytest tests/ops/test_random_cases.py: the recorded run of docs/kernels.md."""

import os
import sys
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent))
from cases import make_case, slow_weighted_box_fusion

from lib.ops import bbox_overlaps, kernels, multiclass_nms, nms, reference, soft_nms, weighted_box_fusion
from lib.ops.padded import Selection

CASES = int(os.environ.get("FUZZ_CASES", 60))
FIRST = int(os.environ.get("FUZZ_FIRST", 0))


def cases():
    for seed in range(FIRST, FIRST + CASES):
        yield seed, make_case(seed)


def exact(*arrays):
    """The values as the kernels compute with them."""
    double = any(array.dtype == np.float64 for array in arrays)
    return [torch.from_numpy(array.astype(np.float64 if double else np.float32)) for array in arrays]


def test_nms_gives_the_indices_of_the_reference_with_and_without_the_grid():
    core = kernels.load("_nms")
    for seed, case in cases():
        boxes, scores = exact(case.boxes, case.scores)
        for labels in (None, torch.from_numpy(case.labels)):
            expected = reference.nms(boxes, scores, labels, case.threshold)
            kind = "double" if boxes.dtype == torch.float64 else "float"
            for grid_from in (0, core.GRID_FROM):
                keep = np.empty(len(boxes), np.int64)
                given = (boxes.numpy(), scores.numpy(), None if labels is None else case.labels)
                count = core.nms[kind](*given, case.threshold, False, keep, grid_from)
                assert keep[:count].tolist() == expected.tolist(), (seed, case.kind, grid_from)
        found = nms(case.boxes, case.scores, case.threshold, mode="iof")
        assert found.tolist() == reference.nms(boxes, scores, None, case.threshold, "iof").tolist(), seed


def test_overlaps_give_the_bits_of_the_reference():
    for seed, case in cases():
        (boxes,) = exact(case.boxes)
        for mode in reference.LOWEST:
            found = bbox_overlaps(case.boxes, case.boxes[::2], mode)
            expected = reference.bbox_overlaps(boxes, boxes[::2], mode).numpy()
            tolerance = 3e-7 if mode == "nwd" else 0
            assert np.allclose(found, expected, rtol=0, atol=tolerance, equal_nan=True), (seed, case.kind, mode)


def test_multiclass_nms_gives_the_values_of_the_reference():
    for seed, case in cases():
        if len(case.boxes) < 2:
            continue
        rng = np.random.default_rng(seed)
        boxes = np.stack([case.boxes, case.boxes[::-1]])
        scores = np.stack([case.scores, case.scores[::-1]])[..., None] * rng.choice([0.5, 1, 1, 2], (1, 1, 3))
        limits = (float(rng.choice([0, 0.25, 0.6])), case.threshold, int(rng.integers(1, 50)), int(rng.integers(1, 60)))
        background = rng.choice([None, 0, 2])
        found = multiclass_nms(boxes, scores, *limits, background)
        given = [torch.from_numpy(array.astype(np.float32)) for array in (boxes, scores)]
        expected = reference.multiclass_nms(*given, Selection(*limits), background)
        assert all(np.array_equal(a, b.numpy()) for a, b in zip(found, expected, strict=True)), (seed, case.kind)


def test_fusion_gives_the_values_of_the_reference():
    for seed, case in cases():
        boxes, scores = (torch.from_numpy(array.astype(np.float32)) for array in (case.boxes, case.scores))
        labels = torch.from_numpy(case.labels)
        for method in ("linear", "gaussian"):
            found = soft_nms(boxes, scores, labels, method, case.threshold)
            expected = reference.soft_nms(boxes, scores, labels, method, case.threshold, 0.5, 0.001, len(boxes))
            assert all(torch.equal(*pair) for pair in zip(found, expected, strict=True)), (seed, case.kind, method)
            limited = soft_nms(boxes, scores, labels, method, case.threshold, max_detections=5)
            assert all(torch.equal(some, all_[:5]) for some, all_ in zip(limited, found, strict=True)), (seed, method)
        found = weighted_box_fusion(boxes, scores, labels, case.threshold, 2)
        expected = slow_weighted_box_fusion(boxes, scores, labels, case.threshold, 2)
        assert all(torch.equal(*pair) for pair in zip(found, expected, strict=True)), (seed, case.kind)


def test_clusters_are_those_of_the_reference_with_and_without_sorting():
    core = kernels.load("_fusion")
    for seed, case in cases():
        rng = np.random.default_rng(seed)
        boxes = np.concatenate([case.boxes.astype(np.float32)] * 2)
        boxes += rng.normal(0, rng.choice([0, 0.5]), boxes.shape).astype(np.float32)
        count = len(boxes)
        weights = (rng.random(count) * (rng.random(count) < rng.choice([0, 0.5, 1]))).astype(np.float32)
        labels, sources = np.tile(case.labels, 2), rng.integers(0, rng.choice([1, 3, 2**40]), count)
        given = boxes, weights, labels, sources
        for mode in ("iou", "ios"):
            expected = reference.fuse_boxes(*map(torch.from_numpy, given), case.threshold, mode)
            for sort_from in (0, core.SORT_FROM):
                out = np.empty(count, np.int64), np.empty(count, np.int64), np.empty((count, 4), np.float32)
                found = core.fuse_boxes(*given, case.threshold, mode == "ios", *out, sort_from)
                clusters = out[0], out[1][:found], out[2][:found]
                is_equal = [np.array_equal(*pair) for pair in zip(clusters, expected, strict=True)]
                assert all(is_equal), (seed, case.kind, mode, sort_from)
