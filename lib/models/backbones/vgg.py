"""VGG16 as SSD uses it (SSD, section 3.1): its first five stages, then fc6 and fc7 as convolutions."""

from lib.models.backbones.base import Layer, Table
from lib.models.blocks import Conv, MaxPool

PLAIN = {"norm": False}
VGG16 = (64, 64, "pool", 128, 128, "pool", 256, 256, 256, "ceil", 512, 512, 512, "pool", 512, 512, 512)


def vgg16() -> Table:
    """Rows count convolutions and pools: 12 is relu4_3 (stride 8), 17 is pool5, 19 is relu7 (stride 16)."""
    rows = [
        Layer(MaxPool, None, 2, {"ceil": row == "ceil"}) if isinstance(row, str) else Layer(Conv, row, 1, PLAIN)
        for row in VGG16
    ]
    return (
        *rows,
        Layer(MaxPool, None, 1, {"kernel": 3}),
        Layer(Conv, 1024, 1, {"dilation": 6, **PLAIN}),
        Layer(Conv, 1024, 1, {"kernel": 1, **PLAIN}),
    )
