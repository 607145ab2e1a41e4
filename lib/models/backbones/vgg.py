"""VGG16 as SSD uses it (SSD, section 3.1): five stages of convolutions, then fc6 and fc7 as convolutions."""

from lib.models.backbones.base import Layer, Table
from lib.models.backbones.mobilenet import scale_channels
from lib.models.blocks import Conv, MaxPool

VGG16 = (64, 64, "pool", 128, 128, "pool", 256, 256, 256, "ceil", 512, 512, 512, "pool", 512, 512, 512)


def vgg16(norm: bool = False, width: float = 1.0) -> Table:
    """Rows count convolutions and pools: 12 is relu4_3 (stride 8), 17 is pool5, 19 is relu7 (stride 16).

    Args:
        norm: whether BatchNorm follows each convolution of the five stages; they keep their biases.
        width: channel multiplier.
    """
    first, last = {"norm": norm, "bias": True}, {"norm": False}
    rows = [
        Layer(MaxPool, None, 2, {"ceil": row == "ceil"})
        if isinstance(row, str)
        else Layer(Conv, scale_channels(row, width), 1, first)
        for row in VGG16
    ]
    wide = scale_channels(1024, width)
    return (
        *rows,
        Layer(MaxPool, None, 1, {"kernel": 3}),
        Layer(Conv, wide, 1, {"dilation": 6, **last}),
        Layer(Conv, wide, 1, {"kernel": 1, **last}),
    )
