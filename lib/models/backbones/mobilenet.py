"""MobileNetV1, V2 and V3, and MobileNeXt, as layer tables."""

import math
from typing import Literal

from lib.models.backbones.base import Layer, Table
from lib.models.blocks import Conv
from lib.models.bottlenecks import DepthwiseSeparable, InvertedResidual, Sandglass

# (channels, stride) of rows 1 to 13 (MobileNetV1, table 1)
V1 = (
    *((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)),
    *((512, 1), (512, 1), (512, 1), (512, 1), (512, 1), (1024, 2), (1024, 1)),
)
# (expansion, channels, repeats, first stride) of rows 1 to 17 (MobileNetV2, table 2)
V2 = (*((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2)), *((6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)))
# (kernel, hidden, channels, squeeze, activation, stride) of rows 1 on (MobileNetV3, tables 1 and 2)
RE, HS = "relu", "hard_swish"
V3 = {
    "large": (
        *((3, 16, 16, 0, RE, 1), (3, 64, 24, 0, RE, 2), (3, 72, 24, 0, RE, 1)),
        *((5, 72, 40, 1, RE, 2), (5, 120, 40, 1, RE, 1), (5, 120, 40, 1, RE, 1)),
        *((3, 240, 80, 0, HS, 2), (3, 200, 80, 0, HS, 1), (3, 184, 80, 0, HS, 1), (3, 184, 80, 0, HS, 1)),
        *((3, 480, 112, 1, HS, 1), (3, 672, 112, 1, HS, 1)),
        *((5, 672, 160, 1, HS, 2), (5, 960, 160, 1, HS, 1), (5, 960, 160, 1, HS, 1)),
    ),
    "small": (
        *((3, 16, 16, 1, RE, 2), (3, 72, 24, 0, RE, 2), (3, 88, 24, 0, RE, 1)),
        *((5, 96, 40, 1, HS, 2), (5, 240, 40, 1, HS, 1), (5, 240, 40, 1, HS, 1)),
        *((5, 120, 48, 1, HS, 1), (5, 144, 48, 1, HS, 1)),
        *((5, 288, 96, 1, HS, 2), (5, 576, 96, 1, HS, 1), (5, 576, 96, 1, HS, 1)),
    ),
}
# (reduction, channels, repeats, first stride) of rows 1 to 20 (MobileNeXt, table 2)
NEXT = (
    *((2, 96, 1, 2), (6, 144, 1, 1), (6, 192, 3, 2), (6, 288, 3, 2)),
    *((6, 384, 4, 1), (6, 576, 4, 2), (6, 960, 3, 1), (6, 1280, 1, 1)),
)


def scale_channels(channels: float, width: float, round_to: int = 8) -> int:
    """``channels * width`` rounded to a multiple of ``round_to``: 8 or more, never more than a tenth below it."""
    exact = channels * width
    rounded = max(8, int(exact + round_to / 2) // round_to * round_to)
    return rounded if rounded >= 0.9 * exact else rounded + round_to


def mobilenet_v1(width: float = 1.0) -> Table:
    """Row 0 is a full convolution, rows 1 to 13 are depthwise separable; taps of SSD: 11 and 13. Channels are
    multiplied by ``width``.
    """
    scaled = [(scale_channels(channels, width), stride) for channels, stride in V1]
    first = Layer(Conv, scale_channels(32, width), 2)
    return (first, *(Layer(DepthwiseSeparable, channels, stride) for channels, stride in scaled))


def mobilenet_v2(width: float = 1.0, round_to: int = 8, expand_first: bool = False) -> Table:
    """Row 0 is a full convolution, rows 1 to 17 are inverted residuals, row 18 is the last 1x1 convolution.

    Args:
        width: channel multiplier; the last row is never narrower than 1280.
        round_to: channels are rounded to a multiple of it.
        expand_first: gives row 1, whose expansion is 1, a 1x1 expansion all the same (as the BMVC code does).
    """
    channels = scale_channels(32, width, round_to)
    rows = [Layer(Conv, channels, 2, {"act": "relu6"})]
    for expansion, base, repeats, first_stride in V2:
        out_channels = scale_channels(base, width, round_to)
        for stride in (first_stride, *[1] * (repeats - 1)):
            options = {
                "hidden": channels * expansion,
                "expand": expansion > 1 or expand_first,
                "residual": stride == 1 and channels == out_channels,
            }
            rows.append(Layer(InvertedResidual, out_channels, stride, options))
            channels = out_channels
    last = scale_channels(1280, max(1.0, width), round_to)
    return (*rows, Layer(Conv, last, 1, {"kernel": 1, "act": "relu6"}))


def mobilenet_v3(
    width: float = 1.0,
    size: Literal["large", "small"] = "large",
    reduced_tail: bool = False,
    relu6: bool = False,
    squeeze_as_block: bool = False,
    squeeze_first: bool = False,
) -> Table:
    """Row 0 is a full convolution, then 15 (small: 11) inverted residuals and a 1x1 convolution.

    SSDLite taps the expansion of the last strided row and the last row: ``13.expand`` and 16 (small:
    ``9.expand`` and 12).

    Args:
        width: channel multiplier.
        reduced_tail: halves the channels after the last stride (MobileNetV3, section 6.3).
        relu6: ReLU6 instead of ReLU.
        squeeze_as_block: the squeeze's hidden layer has the row's activation instead of ReLU.
        squeeze_first: the squeeze comes before the depthwise convolution's activation, as in d-li14's weights.
    """
    relu = "relu6" if relu6 else "relu"
    channels = scale_channels(16, width)
    rows, tail = [Layer(Conv, channels, 2, {"act": "hard_swish"})], 1.0
    last_stride = max(row for row, values in enumerate(V3[size]) if values[-1] > 1)
    for row, (kernel, wide, base, squeezes, act, stride) in enumerate(V3[size]):
        tail = 0.5 if reduced_tail and row >= last_stride else 1.0
        act = relu if act == "relu" else act
        # the expansion of the last strided row still belongs to the stage before
        hidden = scale_channels(wide * (1.0 if row == last_stride else tail), width)
        out_channels = scale_channels(base * tail, width)
        options = {
            "hidden": hidden,
            "expand": hidden != channels,
            "kernel": kernel,
            "squeeze": scale_channels(hidden, 0.25) if squeezes else 0,
            "squeeze_act": act if squeeze_as_block else relu,
            "squeeze_first": squeeze_first,
            "residual": stride == 1 and channels == out_channels,
            "act": act,
        }
        rows.append(Layer(InvertedResidual, out_channels, stride, options))
        channels = out_channels
    return (*rows, Layer(Conv, 6 * channels, 1, {"kernel": 1, "act": "hard_swish"}))


def mobilenext(width: float = 1.0) -> Table:
    """Row 0 is a full convolution, rows 1 to 20 are sandglasses; SSDLite taps ``13.expand`` and ``20.expand``.

    A sandglass that changes the channels has no first depthwise convolution, nor a last one at stride 1, unless
    it is a stage of its own (the authors' code). Channels are multiplied by ``width``.
    """
    channels = scale_channels(32, width)
    rows = [Layer(Conv, channels, 2, {"act": "relu6"})]
    for reduction, base, repeats, first_stride in NEXT:
        out_channels = scale_channels(base, width)
        for stride in (first_stride, *[1] * (repeats - 1)):
            is_same, is_stage = channels == out_channels, repeats == 1
            hidden = channels // reduction
            if hidden < out_channels / 6:
                hidden = scale_channels(math.ceil(out_channels / 6), 1.0, 16)
            options = {
                "hidden": hidden,
                "first": is_same or is_stage,
                "last": is_same or is_stage or stride > 1,
                "residual": is_same and stride == 1,
            }
            rows.append(Layer(Sandglass, out_channels, stride, options))
            channels = out_channels
    return tuple(rows)
