"""EfficientNet-B0 to B3 (Tan & Le 2019, table 1 and section 3.3) and EfficientNet-Lite0 to Lite4 as layer tables."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from lib.models.backbones.base import Layer, Table
from lib.models.backbones.mobilenet import scale_channels
from lib.models.blocks import Conv
from lib.models.bottlenecks import InvertedResidual

Size = Literal["b0", "b1", "b2", "b3"]
LiteSize = Literal["lite0", "lite1", "lite2", "lite3", "lite4"]
# (expansion, channels, repeats, first stride, kernel) of B0's stages
STAGES = (
    *((1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 40, 2, 2, 5), (6, 80, 3, 2, 3)),
    *((6, 112, 3, 1, 5), (6, 192, 4, 2, 5), (6, 320, 1, 1, 3)),
)
# size -> factors of channels and of repeats
FACTORS = {
    **{"b0": (1.0, 1.0), "b1": (1.0, 1.1), "b2": (1.1, 1.2), "b3": (1.2, 1.4)},
    **{"lite0": (1.0, 1.0), "lite1": (1.0, 1.1), "lite2": (1.1, 1.2), "lite3": (1.2, 1.4), "lite4": (1.4, 1.8)},
}


def efficientnet(size: Size = "b0", width: float = 1.0, same_padding: bool = False) -> Table:
    """Row 0 is a full convolution, then 16, 23, 23 or 26 inverted residuals with squeeze-and-excite.

    The last rows of strides 8, 16 and 32: of ``b0`` 5, 11 and 16, ``b1`` 8, 16 and 23, ``b2`` the same, ``b3``
    8, 18 and 26. ``width`` multiplies the channels on top of the size's factor; ``same_padding`` pads as TensorFlow
    does, for weights that were trained so.
    """
    wider, deeper = FACTORS[size]
    repeats = [math.ceil(stage[2] * deeper) for stage in STAGES]
    options = {"act": "swish", "same": same_padding}
    return _rows(scale_channels(32, wider * width), wider * width, repeats, options, squeezes=True)


def efficientnet_lite(size: LiteSize = "lite0", width: float = 1.0, same_padding: bool = True) -> Table:
    """EfficientNet without squeeze-and-excite and with ReLU6 (TensorFlow's EfficientNet-Lite, March 2020).

    Row 0 is a full convolution, then come 16, 21, 21, 24 or 30 inverted residuals: the size neither widens the
    first convolution nor repeats the first and the last stage. The last rows of strides 8, 16 and 32: of ``lite0``
    5, 11 and 16, ``lite1`` and ``lite2`` 7, 15 and 21, ``lite3`` 7, 17 and 24, ``lite4`` 9, 21 and 30. Every public
    weight file expects ``same_padding``; options as of ``efficientnet``.
    """
    wider, deeper = FACTORS[size]
    repeats = [stage[2] for stage in STAGES]
    repeats[1:-1] = [math.ceil(repeat * deeper) for repeat in repeats[1:-1]]
    options = {"act": "relu6", "same": same_padding}
    return _rows(scale_channels(32, width), wider * width, repeats, options, squeezes=False)


def _rows(stem: int, wider: float, repeats: Sequence[int], shared: Mapping[str, Any], squeezes: bool) -> Table:
    """A convolution of ``stem`` channels, then STAGES, ``wider`` times as wide, of ``repeats`` rows each; ``shared``
    are options of every row.
    """
    rows, channels = [Layer(Conv, stem, 2, shared)], stem
    for (expansion, base, _, first_stride, kernel), count in zip(STAGES, repeats, strict=True):
        out_channels = scale_channels(base, wider)
        for repeat in range(count):
            stride = first_stride if repeat == 0 else 1
            options: dict[str, Any] = {"hidden": channels * expansion, "expand": expansion > 1, "kernel": kernel}
            options |= {"residual": stride == 1 and channels == out_channels, **shared}
            if squeezes:
                options |= {"squeeze": max(1, channels // 4), "squeeze_act": shared["act"], "gate": "sigmoid"}
            rows.append(Layer(InvertedResidual, out_channels, stride, options))
            channels = out_channels
    return tuple(rows)
