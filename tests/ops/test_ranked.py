"""The GPU's way through many-class NMS, with the CPU in the place of its one kernel."""

import pytest
import torch

from lib.ops import cuda, nms, reference
from lib.ops.padded import Selection


def group_nms(boxes, part, threshold):
    """What the CUDA kernel does, a group at a time."""
    stays = torch.zeros_like(part)
    for group in range(len(boxes)):
        index = part[group].nonzero()[:, 0]
        falling = -torch.arange(len(index), dtype=torch.float32)
        stays[group, index[nms(boxes[group, index], falling, threshold)]] = True
    return stays


@pytest.mark.parametrize("background", [None, 0, 2])
@pytest.mark.parametrize("limits", [(0.3, 0.4, 400, 100), (0.0, 0.4, 7, 9), (0.0, 0.2, 30, 500), (2.0, 0.5, 3, 3)])
def test_ranked_selection_equals_the_reference(background, limits, generator):
    boxes = torch.rand(3, 60, 4, generator=generator) * 30
    boxes[..., 2:] += boxes[..., :2]
    scores = (torch.rand(3, 60, 4, generator=generator) * 8).round() / 8
    scores[0, :9] -= 1  # negative scores rank below zero
    boxes[1, 3, 2], scores[1, 5, 1], scores[2, 6, 1] = torch.inf, torch.nan, torch.inf
    found = cuda.multiclass_nms(group_nms, boxes, scores, Selection(*limits), background)
    expected = reference.multiclass_nms(boxes, scores, Selection(*limits), background)
    assert all(torch.equal(*pair) for pair in zip(found, expected, strict=True))


def test_ranked_selection_of_no_image_is_empty():
    found = cuda.multiclass_nms(group_nms, torch.zeros(0, 5, 4), torch.zeros(0, 5, 3), Selection(0.1, 0.5, 9, 7), 0)
    assert [tuple(value.shape) for value in found] == [(0, 7, 4), (0, 7), (0, 7), (0,)]
