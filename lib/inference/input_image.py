"""What a predictor takes for an image: an array, a file, an image of PIL; and what to write instead of others."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, Union

import numpy as np
import torch

from lib.data.image import Reading, read_image
from lib.data.pixels import turn

if TYPE_CHECKING:  # without PIL nobody has an image of it
    import PIL.Image

Image: TypeAlias = Union[np.ndarray, str, Path, "PIL.Image.Image"]
MUST = "an image must be (H, W, 3) uint8 in BGR"
ORIENTATION = 0x0112  # of EXIF data
# Number of channels -> what OpenCV calls the way from them to BGR
TO_BGR = {1: "cv2.COLOR_GRAY2BGR", 3: None, 4: "cv2.COLOR_BGRA2BGR"}


def is_one_image(images: Any) -> bool:
    """Whether a predictor is given a single image, or what was meant as one, and not several."""
    if isinstance(images, np.ndarray):
        return images.ndim < 4
    return isinstance(images, (str, torch.Tensor)) or not isinstance(images, Iterable)


def as_array(image: Image, reading: Reading) -> np.ndarray:
    """An image as (H, W, 3) uint8 BGR, read where it is a path; upright where EXIF data say how.

    Raises:
        ValueError, TypeError: it is none; the message says what to write instead.
    """
    if isinstance(image, (str, Path)):
        return read_image(image, reading=reading)
    pillow = sys.modules.get("PIL.Image")
    if pillow is not None and isinstance(image, pillow.Image):
        return _of_pil(image)
    if isinstance(image, torch.Tensor):
        array = image.detach().cpu()
        array = array.float() if array.is_floating_point() else array
        got, way = f"a tensor {tuple(image.shape)} {image.dtype}", _way(array.numpy(), "image.numpy(force=True)")
        raise TypeError(f"{MUST}; got {got}: {way}")
    if not isinstance(image, np.ndarray):
        raise TypeError(f"{MUST}, an image of PIL, or the path of a file; got {type(image).__name__}")
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
        raise ValueError(f"{MUST}; got {image.shape} {image.dtype}: {_way(image, 'image')}")
    return image


def _of_pil(image: "PIL.Image.Image") -> np.ndarray:
    if image.mode.startswith(("I", "F")):
        raise ValueError(
            f"an image of PIL must have 8 bits; got the mode {image.mode!r}, which PIL would clip at 255: give the "
            "path of the file, which is read as input.depth says"
        )
    orientation = image.getexif().get(ORIENTATION, 1)
    return turn(np.asarray(image.convert("RGB"))[..., ::-1], orientation if orientation in range(1, 9) else 1)


def _way(array: np.ndarray, code: str) -> str:
    """Advice for an array that is no image: the code that makes one of ``code``, as far as its form tells."""
    shape = array.shape
    if array.size == 0:
        return "it has no pixels, leave it out"
    if array.ndim > 3:
        return "give several images as a list of arrays"
    if array.ndim == 3 and shape[0] in TO_BGR and shape[2] not in TO_BGR:
        code, shape = f"{code}.transpose(1, 2, 0)", (*shape[1:], shape[0])
    channels = {2: 1, 3: shape[-1]}.get(array.ndim, 0)
    if channels not in TO_BGR:
        return "give a gray image, or choose the channels for blue, green and red, such as image[..., :3]"
    if array.dtype.kind in "fb" and array.max() <= 1:
        code = f"(255 * {code}).astype(np.uint8)"
    elif array.dtype == np.uint16:
        code = f"({code} >> 8).astype(np.uint8)"
    elif array.dtype != np.uint8:
        code = f"{code}.astype(np.uint8)"
    if TO_BGR[channels]:
        code = f"cv2.cvtColor({code}, {TO_BGR[channels]})"
    other = {3: ", and [..., ::-1] behind it if it is RGB", 4: ", or cv2.COLOR_RGBA2BGR if it is RGBA"}
    return f"write {code}{other.get(channels, '')}"
