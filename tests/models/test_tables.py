"""Layer tables: channels, strides, width multipliers."""

import pytest
import torch
from torch import nn

from lib.models.backbones import BACKBONES
from lib.models.backbones.base import Backbone
from lib.models.backbones.mobilenet import scale_channels


@pytest.mark.parametrize(
    ("name", "width", "row", "channels", "reduction"),
    [
        ("mobilenet_v1", 1.0, 11, 512, 16),
        ("mobilenet_v1", 1.0, 13, 1024, 32),
        ("mobilenet_v1", 0.75, 13, 768, 32),
        ("mobilenet_v1", 0.25, 0, 8, 2),
        ("mobilenet_v2", 1.0, 13, 96, 16),
        ("mobilenet_v2", 1.0, 18, 1280, 32),
        ("mobilenet_v2", 1.4, 18, 1792, 32),
        ("mobilenet_v2", 0.5, 18, 1280, 32),
    ],
)
def test_channels_and_reductions_follow_from_the_table(name, width, row, channels, reduction):
    backbone = Backbone(BACKBONES[name](width=width)[: row + 1])
    assert (backbone.channels[row], backbone.reductions[row]) == (channels, reduction)


def test_vgg_rows_are_those_of_the_published_table():
    backbone = Backbone(BACKBONES["vgg16"]()[:18])
    assert (backbone.channels[12], backbone.reductions[12]) == (512, 8)  # relu4_3
    assert (backbone.channels[16], backbone.reductions[16]) == (512, 16)  # relu5_3


def test_scaled_channels():
    assert [scale_channels(c, 0.75) for c in (16, 24, 32)] == [16, 24, 24]  # never a tenth too few
    assert [scale_channels(c, 0.25, 1) for c in (16, 24, 32, 96)] == [8, 8, 8, 24]  # the BMVC code: 8 at least


def convolutions(backbone: Backbone) -> list[tuple[int, int, int]]:
    """(kernel, input channels, output channels) of each convolution, in order."""
    layers = [module for module in backbone.modules() if isinstance(module, nn.Conv2d)]
    return [(layer.kernel_size[0], layer.in_channels, layer.out_channels) for layer in layers]


def published(*stages: tuple[int, int]) -> list[tuple[int, int, int]]:
    """The same, of stages of a 3x3 convolution and so many pairs of 1x1 to half the channels and 3x3."""
    rows, before = [], 3
    for channels, pairs in stages:
        rows += [(3, before, channels), *[(1, channels, channels // 2), (3, channels // 2, channels)] * pairs]
        before = channels
    return rows


@pytest.mark.parametrize(
    ("name", "stages", "classifier", "total"),
    [
        # YOLO9000, table 6; YOLOv3, table 1; totals with the 1000 classes that Darknet's own files have
        ("darknet19", ((32, 0), (64, 0), (128, 1), (256, 1), (512, 2), (1024, 2)), 1_025_000, 20_842_376),
        ("darknet53", ((32, 0), (64, 1), (128, 2), (256, 8), (512, 8), (1024, 4)), 1_025_000, 41_609_928),
    ],
)
def test_darknets_are_those_of_the_published_tables(name, stages, classifier, total):
    backbone, rows = Backbone(BACKBONES[name]()), published(*stages)
    assert convolutions(backbone) == rows
    count = sum(kernel**2 * inputs * outputs + 2 * outputs for kernel, inputs, outputs in rows)
    assert sum(parameter.numel() for parameter in backbone.parameters()) == count == total - classifier
    assert backbone.reductions[-1] == 32
    slopes = {module.negative_slope for module in backbone.modules() if isinstance(module, nn.LeakyReLU)}
    assert slopes == {0.1}


def test_darknet53_adds_its_pairs_and_darknet19_does_not():
    for name, is_added in (("darknet53", True), ("darknet19", False)):
        row = next(layer for layer in Backbone(BACKBONES[name](width=0.125)).eval().layers if hasattr(layer, "reduce"))
        x = torch.randn(1, row.reduce.conv.in_channels, 6, 9)
        with torch.no_grad():
            y = row.conv(row.reduce(x))
            assert torch.equal(row(x), x + y if is_added else y)


def test_resnet101_has_23_blocks_of_stride_16():
    reductions = Backbone(BACKBONES["resnet101"](width=0.125)).reductions
    assert [reductions.count(stride) for stride in (8, 16, 32)] == [4, 23, 3]
