"""Offsets and boxes."""

import math

import pytest
import torch

from lib.multibox.coder import BoxCoder

PRIORS = torch.tensor([[10.0, 20.0, 30.0, 60.0]])  # center (20, 40), 20 wide, 40 high


def test_offsets_are_ssds():
    box = torch.tensor([[14.0, 32.0, 34.0, 52.0]])  # center (24, 42), 20 wide, 20 high
    expected = [4 / (20 * 0.1), 2 / (40 * 0.1), 0.0, math.log(0.5) / 0.2]
    assert BoxCoder().encode(box, PRIORS)[0].tolist() == pytest.approx(expected)


def test_decode_undoes_encode():
    generator = torch.Generator().manual_seed(0)
    corner, size = (torch.rand(50, 2, generator=generator) * 200, torch.rand(50, 2, generator=generator) * 80 + 1)
    boxes = torch.cat([corner, corner + size], dim=1)
    priors = PRIORS.expand(50, 4)
    for coder in (BoxCoder(), BoxCoder((0.3, 1.0))):
        torch.testing.assert_close(coder.decode(coder.encode(boxes, priors), priors), boxes, rtol=1e-4, atol=1e-3)


def test_decode_never_overflows():
    deltas = torch.tensor([[0.0, 0.0, 1e4, 1e4]], dtype=torch.float16)
    decoded = BoxCoder().decode(deltas, PRIORS)
    assert decoded.dtype == torch.float32
    width, height = (decoded[0, 2:] - decoded[0, :2]).tolist()
    assert (width, height) == (pytest.approx(20 * 62.5), pytest.approx(40 * 62.5))


def test_no_boxes_give_no_offsets():
    assert BoxCoder().encode(torch.zeros(0, 4), torch.zeros(0, 4)).shape == (0, 4)
