"""Layer tables: channels, strides, width multipliers."""

import pytest

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
