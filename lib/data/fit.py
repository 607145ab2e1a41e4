"""How an image becomes the network's input: stretched to it, made to fit with padding, or at a scale of its own."""

import math
from collections.abc import Callable
from typing import NamedTuple

from lib.utils.lookup import lookup

Size = tuple[int, int]  # (height, width) in pixels
Sides = tuple[float, float]  # the same, not always whole


class Fit(NamedTuple):
    """Where an image lies in the network's input: its top left corner in that of the input, the rest padded."""

    canvas: Size  # of the network's input
    frame: Sides  # (height, width) of what the input shows, padding included, in pixels of the image

    @property
    def scale(self) -> Sides:
        """(y, x): pixels of the input for one of the image."""
        return self.canvas[0] / self.frame[0], self.canvas[1] / self.frame[1]


def stretch(image: Sides, size: Size, multiple: int, least: Size, scale: float) -> Fit:
    """The image fills the input; its aspect ratio changes, as in SSD."""
    return Fit(size, image)


def letterbox(image: Sides, size: Size, multiple: int, least: Size, scale: float) -> Fit:
    """The image is made as large as fits, with its aspect ratio; what is left at the right or below is padding."""
    factor = max(image[0] / size[0], image[1] / size[1])
    return Fit(size, (size[0] * factor, size[1] * factor))


def native(image: Sides, size: Size, multiple: int, least: Size, scale: float) -> Fit:
    """The image at ``scale``; one that is larger than ``size`` then is letterboxed. Either is padded to the next
    multiple, which may be beyond ``size``.
    """
    factor, sides = 1 / scale, (image[0] * scale, image[1] * scale)
    if sides[0] > size[0] or sides[1] > size[1]:
        factor, sides = max(image[0] / size[0], image[1] / size[1]), size
    wanted = (max(side, min(low, high)) for side, low, high in zip(sides, least, size, strict=True))
    height, width = (math.ceil(side / multiple) * multiple for side in wanted)
    return Fit((height, width), (height * factor, width * factor))


# input.resize -> what gives the Fit; the arguments are those of ``fit``
FITS: dict[str, Callable[[Sides, Size, int, Size, float], Fit]] = {
    "stretch": stretch,
    "letterbox": letterbox,
    "native": native,
}


def fit(resize: str, image: Sides, size: Size, multiple: int = 1, least: Size | None = None, scale: float = 1.0) -> Fit:
    """How an image of (height, width) becomes the input of a network, by a mode of FITS.

    Args:
        size: (height, width) of the network's input; for ``native`` the largest, before it is padded to the multiple.
        multiple: for ``native``: the stride of the coarsest map, of which the input's sides are multiples.
        least: for ``native``: the smallest input; None: of ``size``, so that all inputs are equally large.
        scale: for ``native``: pixels of the input for one of the image.
    """
    return lookup(FITS, resize, "input.resize")(image, size, multiple, least or size, scale)
