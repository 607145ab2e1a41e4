"""EfficientNet-B0 to B3 as layer tables (Tan & Le 2019, table 1 and section 3.3)."""

from __future__ import annotations

import math
from typing import Literal

from lib.models.backbones.base import Layer, Table
from lib.models.backbones.mobilenet import scale_channels
from lib.models.blocks import Conv
from lib.models.bottlenecks import InvertedResidual

Size = Literal["b0", "b1", "b2", "b3"]

# (expansion, channels, repeats, first stride, kernel) of B0's stages
STAGES = (
    *((1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 40, 2, 2, 5), (6, 80, 3, 2, 3)),
    *((6, 112, 3, 1, 5), (6, 192, 4, 2, 5), (6, 320, 1, 1, 3)),
)
# size -> factors of channels and of repeats
FACTORS = {"b0": (1.0, 1.0), "b1": (1.0, 1.1), "b2": (1.1, 1.2), "b3": (1.2, 1.4)}


def efficientnet(size: Size = "b0", width: float = 1.0, same_padding: bool = False) -> Table:
    """Row 0 is a full convolution, then 16, 23, 23 or 26 inverted residuals with squeeze-and-excite.

    The last rows of strides 8, 16 and 32: of ``b0`` 5, 11 and 16, ``b1`` 8, 16 and 23, ``b2`` the same, ``b3``
    8, 18 and 26.

    Args:
        width: channel multiplier on top of the size's.
        same_padding: pads as TensorFlow does, for weights that were trained so.
    """
    wider, deeper = FACTORS[size]
    channels = scale_channels(32, wider * width)
    rows = [Layer(Conv, channels, 2, {"act": "swish", "same": same_padding})]
    for expansion, base, repeats, first_stride, kernel in STAGES:
        out_channels = scale_channels(base, wider * width)
        for stride in (first_stride, *[1] * (math.ceil(repeats * deeper) - 1)):
            options = {
                "hidden": channels * expansion,
                "expand": expansion > 1,
                "kernel": kernel,
                "squeeze": max(1, channels // 4),
                "squeeze_act": "swish",
                "gate": "sigmoid",
                "residual": stride == 1 and channels == out_channels,
                "act": "swish",
                "same": same_padding,
            }
            rows.append(Layer(InvertedResidual, out_channels, stride, options))
            channels = out_channels
    return tuple(rows)
