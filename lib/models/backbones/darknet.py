"""Darknet-19 and Darknet-53 as layer tables (YOLO9000, table 6; YOLOv3, table 1)."""

from lib.models.backbones.base import Layer, Table
from lib.models.backbones.mobilenet import scale_channels
from lib.models.blocks import Conv, MaxPool
from lib.models.bottlenecks import ReduceConv

ACT = "leaky_relu"
# (channels, rows) of each stage
DARKNET19 = ((32, 1), (64, 1), (128, 2), (256, 2), (512, 3), (1024, 3))
DARKNET53 = ((32, 1), (64, 2), (128, 3), (256, 9), (512, 9), (1024, 5))


def darknet19(width: float = 1.0) -> Table:
    """Stages with a 2x2 max pool between them; the first row of a stage is a 3x3 convolution, each further one a 1x1
    and a 3x3.

    The last rows of strides 8, 16 and 32: 8, 12 and 16. Channels are multiplied by ``width``.
    """
    rows: list[Layer] = []
    for stage, (base, repeats) in enumerate(DARKNET19):
        if stage:
            rows.append(Layer(MaxPool, None, 2))
        rows += _stage(scale_channels(base, width), repeats, 1, is_residual=False)
    return tuple(rows)


def darknet53(width: float = 1.0) -> Table:
    """The first row of a stage is a 3x3 convolution, from the second stage on of stride 2, each further one a residual
    block of a 1x1 and a 3x3.

    The last rows of strides 8, 16 and 32: 14, 23 and 28. Channels are multiplied by ``width``.
    """
    rows: list[Layer] = []
    for stage, (base, repeats) in enumerate(DARKNET53):
        rows += _stage(scale_channels(base, width), repeats, 2 if stage else 1, is_residual=True)
    return tuple(rows)


def _stage(channels: int, repeats: int, stride: int, is_residual: bool) -> list[Layer]:
    options = {"hidden": channels // 2, "act": ACT, "residual": is_residual}
    return [Layer(Conv, channels, stride, {"act": ACT})] + [Layer(ReduceConv, channels, 1, options)] * (repeats - 1)
