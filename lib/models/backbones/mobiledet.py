"""MobileDets as layer tables: CPU, DSP, EdgeTPU and GPU (Xiong et al. 2021, figures 7 to 10 and their code)."""

from typing import Literal, NamedTuple

from lib.models.backbones.base import Layer, Table
from lib.models.backbones.mobilenet import scale_channels
from lib.models.blocks import Conv
from lib.models.bottlenecks import InvertedResidual, Tucker

Target = Literal["cpu", "dsp", "edgetpu", "gpu"]


class Row(NamedTuple):
    """One row: kind, channels, expansion (of Tucker: the share of each rank), stride, kernel, repeats.

    A row has a residual connection where its input and output agree, except for rows that are ``new``: there the
    search starts a stage, even if the channels stay.
    """

    kind: str
    channels: int
    expansion: int | tuple[float, float]
    stride: int = 1
    kernel: int = 3
    repeats: int = 1
    new: bool = False


IBN, FUSED, TUCKER = "inverted", "fused", "tucker"
TABLES = {
    "cpu": (
        *(Row(IBN, 16, 4, 2), Row(IBN, 32, 8, 2), Row(IBN, 32, 4, repeats=3)),
        *(Row(IBN, 72, 8, 2, 5), Row(IBN, 72, 8), Row(IBN, 72, 4, kernel=5), Row(IBN, 72, 4)),
        *(Row(IBN, 72, 8, new=True), Row(IBN, 72, 8, repeats=3)),
        *(Row(IBN, 104, 8, 2, 5), Row(IBN, 104, 4, kernel=5, repeats=2), Row(IBN, 104, 4), Row(IBN, 144, 8)),
    ),
    "dsp": (
        *(Row(FUSED, 32, 4, 2), Row(FUSED, 32, 4), Row(IBN, 32, 4), Row(TUCKER, 32, (0.25, 0.75))),
        *(Row(FUSED, 64, 8, 2), Row(IBN, 64, 4), Row(FUSED, 64, 4, repeats=2)),
        *(Row(FUSED, 120, 8, 2), Row(IBN, 120, 4), Row(IBN, 120, 8, repeats=2)),
        *(Row(FUSED, 144, 8), Row(IBN, 144, 8, repeats=3)),
        *(Row(IBN, 160, 4, 2), Row(IBN, 160, 4), Row(FUSED, 160, 4), Row(TUCKER, 160, (0.75, 0.75))),
        Row(IBN, 240, 8),
    ),
    "edgetpu": (
        *(Row(FUSED, 16, 8, 2), Row(FUSED, 16, 4), Row(FUSED, 16, 8), Row(FUSED, 16, 4)),
        *(Row(FUSED, 40, 8, 2, 5), Row(FUSED, 40, 4, repeats=3)),
        *(Row(IBN, 72, 8, 2), Row(IBN, 72, 8), Row(FUSED, 72, 4, repeats=2)),
        *(Row(IBN, 96, 8, kernel=5), Row(IBN, 96, 8, kernel=5), Row(IBN, 96, 8, repeats=2)),
        *(Row(IBN, 120, 8, 2, 5), Row(IBN, 120, 8), Row(IBN, 120, 4, kernel=5), Row(IBN, 120, 8)),
        Row(IBN, 384, 8, kernel=5),
    ),
    "gpu": (
        *(Row(FUSED, 32, 8, 2), Row(TUCKER, 32, (0.25, 0.25), repeats=3)),
        *(Row(FUSED, 64, 8, 2), Row(FUSED, 64, 8, repeats=2), Row(FUSED, 64, 4)),
        *(Row(FUSED, 128, 8, 2), Row(FUSED, 128, 4, repeats=3)),
        *(Row(FUSED, 128, 8, new=True), Row(FUSED, 128, 8, repeats=3)),
        *(Row(FUSED, 128, 4, 2), Row(FUSED, 128, 4, repeats=3), Row(IBN, 384, 8)),
    ),
}
# target -> channels of row 0, row 1, activation
STEMS = {
    "cpu": (16, Row(IBN, 8, 1), "hard_swish"),
    "dsp": (32, Row(IBN, 24, 1), "relu6"),
    "edgetpu": (32, Row(TUCKER, 16, (0.25, 0.75)), "relu6"),
    "gpu": (32, Row(TUCKER, 16, (0.25, 0.25)), "relu6"),
}


def mobiledet(width: float = 1.0, target: Target = "cpu") -> Table:
    """Row 0 is a full convolution, then a narrow row, then the rows of the search.

    SSDLite taps the last row of stride 16 and the last one: of ``cpu`` 14 and 19, ``dsp`` 17 and 22, ``edgetpu``
    17 and 22, ``gpu`` 17 and 22.

    Args:
        width: channel multiplier.
        target: the device that the table was searched for; ``cpu`` has squeeze-and-excite stages.
    """
    stem, first, act = STEMS[target]
    channels = scale_channels(stem, width)
    rows = [Layer(Conv, channels, 2, {"act": act})]
    for row in (first, *TABLES[target]):
        for _ in range(row.repeats):
            out_channels = scale_channels(row.channels, width)
            residual = row.stride == 1 and channels == out_channels and not row.new
            options = {"kernel": row.kernel, "act": act, "residual": residual}
            if isinstance(row.expansion, tuple):
                before, after = row.expansion
                ranks = (scale_channels(channels, before), scale_channels(out_channels, after))
                rows.append(Layer(Tucker, out_channels, row.stride, {**options, "ranks": ranks}))
            else:
                hidden = channels * row.expansion
                options |= {"hidden": hidden, "expand": row.expansion > 1, "fused": row.kind == FUSED}
                if target == "cpu":
                    squeeze = scale_channels(hidden, 0.25)
                    options |= {"squeeze": squeeze, "squeeze_act": act, "gate": "sigmoid"}
                rows.append(Layer(InvertedResidual, out_channels, row.stride, options))
            channels = out_channels
    return tuple(rows)
