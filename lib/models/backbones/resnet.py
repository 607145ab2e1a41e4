"""ResNet-18, 34, 50 and 101 as layer tables (He et al. 2016, table 1)."""

from typing import Literal

from lib.models.backbones.base import Layer, Table
from lib.models.backbones.mobilenet import scale_channels
from lib.models.blocks import Conv, MaxPool
from lib.models.bottlenecks import Residual

Depth = Literal[18, 34, 50, 101]
REPEATS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}


def resnet(depth: Depth = 18, width: float = 1.0) -> Table:
    """Row 0 is a 7x7 convolution, row 1 a max pool, then the blocks; channels are multiplied by ``width``.

    The last rows of strides 8, 16 and 32: of 18 layers 5, 7 and 9, of 34 and 50 layers 8, 14 and 17, of 101
    layers 8, 31 and 34.
    """
    channels = scale_channels(64, width)
    rows = [Layer(Conv, channels, 2, {"kernel": 7}), Layer(MaxPool, None, 2, {"kernel": 3, "padding": 1})]
    for stage, repeats in enumerate(REPEATS[depth]):
        inner = scale_channels(64 * 2**stage, width)
        out_channels = inner * 4 if depth >= 50 else inner
        for repeat in range(repeats):
            stride = 2 if stage and repeat == 0 else 1
            project = stride > 1 or channels != out_channels
            options = {"bottleneck": inner if depth >= 50 else None, "project": project}
            rows.append(Layer(Residual, out_channels, stride, options))
            channels = out_channels
    return tuple(rows)
