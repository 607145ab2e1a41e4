"""MobileNetV1 and MobileNetV2 as layer tables."""

from lib.models.backbones.base import Layer, Table
from lib.models.blocks import Conv, DepthwiseSeparable, InvertedResidual

# (channels, stride) of rows 1 to 13 (MobileNetV1, table 1)
V1 = (
    *((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)),
    *((512, 1), (512, 1), (512, 1), (512, 1), (512, 1), (1024, 2), (1024, 1)),
)
# (expansion, channels, repeats, first stride) of rows 1 to 17 (MobileNetV2, table 2)
V2 = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))


def scale_channels(channels: int, width: float, round_to: int) -> int:
    """``channels * width`` rounded to a multiple of ``round_to``, never more than a tenth below it."""
    exact = channels * width
    rounded = max(round_to, int(exact + round_to / 2) // round_to * round_to)
    return rounded if rounded >= 0.9 * exact else rounded + round_to


def mobilenet_v1(width: float = 1.0) -> Table:
    """Row 0 is a full convolution, rows 1 to 13 are depthwise separable; taps of SSD: 11 and 13.

    Args:
        width: channel multiplier.
    """
    scaled = [(scale_channels(channels, width, 8), stride) for channels, stride in V1]
    first = Layer(Conv, scale_channels(32, width, 8), 2)
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
        for repeat in range(repeats):
            stride = first_stride if repeat == 0 else 1
            options = {
                "expansion": expansion,
                "expand": expansion > 1 or expand_first,
                "residual": stride == 1 and channels == out_channels,
            }
            rows.append(Layer(InvertedResidual, out_channels, stride, options))
            channels = out_channels
    last = scale_channels(1280, max(1.0, width), round_to)
    return (*rows, Layer(Conv, last, 1, {"kernel": 1, "act": "relu6"}))
