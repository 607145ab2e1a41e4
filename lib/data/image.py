"""Reading an image file, in full or at a reduced scale, with a message that says what is wrong; writing one."""

import struct
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np

from lib.utils.files import write_bytes

# A JPEG ends with its end marker, after its last start of scan (a thumbnail inside has both as well).
JPEG_START, JPEG_SCAN, JPEG_END = b"\xff\xd8", b"\xff\xda", b"\xff\xd9"
PNG_START, PNG_END = b"\x89PNG", b"IEND"
_JPEG_SIZES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # markers of a frame header
# Scales 1 / n at which a JPEG can be decoded: each 8 x 8 block becomes one of 8 / n pixels a side.
REDUCED = {1: cv2.IMREAD_COLOR_BGR}
REDUCED |= {2: cv2.IMREAD_REDUCED_COLOR_2, 4: cv2.IMREAD_REDUCED_COLOR_4, 8: cv2.IMREAD_REDUCED_COLOR_8}


class ImageError(ValueError):
    """An image file is not what it must be; the user can replace it."""


class StoredImage:
    """An image of ``size`` (height, width) that is decoded when its pixels are asked for, once for each scale.

    ``read`` gives the pixels for a ``shrink``, as ``read_image`` does.
    """

    def __init__(self, size: tuple[int, int], read: Callable[[int], np.ndarray]):
        self.shape = (*size, 3)
        self._read = read
        self._decoded: dict[int, np.ndarray] = {}

    def pixels(self, shrink: int = 1) -> np.ndarray:
        """(ceil(H / shrink), ceil(W / shrink), 3) uint8 BGR, for a ``shrink`` of REDUCED."""
        if shrink not in self._decoded:
            self._decoded[shrink] = self._read(shrink)
        return self._decoded[shrink]


def read_image(path: str | Path, shrink: int = 1) -> np.ndarray:
    """The stored pixels of an image file in a format of OpenCV: (ceil(H / shrink), ceil(W / shrink), 3) uint8 BGR.

    Gray images get three equal channels, 16-bit ones are scaled to 8, an alpha channel is left out. A rotation noted
    in EXIF data is not applied: annotations count the stored pixels. ``shrink`` is 1, 2, 4 or 8: a JPEG is decoded at
    1 / ``shrink``, which is close to the average over blocks of that size and costs less; others are averaged.

    Raises:
        FileNotFoundError: there is no such file. ImageError: it is no whole image.
    """
    try:
        content = np.fromfile(path, np.uint8)
    except (FileNotFoundError, IsADirectoryError):
        raise FileNotFoundError(f"image {path} must be a file; there is none: check the folder") from None
    is_jpeg = content[:2].tobytes() == JPEG_START
    # From memory, because cv2.imread silently fills a truncated JPEG up with gray.
    mode = REDUCED[shrink if is_jpeg else 1] | cv2.IMREAD_IGNORE_ORIENTATION
    image = cv2.imdecode(content, mode) if content.size else None
    if image is None:
        raise ImageError(f"image {path} must be readable; {_fault(content.tobytes())}: replace the file")
    return image if is_jpeg else block_average(image, shrink, shrink)


def image_size(path: Path) -> tuple[int, int]:
    """(height, width) of the stored pixels; from the header of a JPEG or PNG file, without decoding it."""
    with path.open("rb") as file:
        start = file.read(24)
        if start.startswith(PNG_START) and len(start) == 24:
            width, height = struct.unpack(">II", start[16:24])
            return height, width
        if start.startswith(JPEG_START):
            file.seek(2)
            while len(head := file.read(4)) == 4 and head[0] == 0xFF:
                if head[1] in _JPEG_SIZES and len(frame := file.read(5)) == 5:
                    height, width = struct.unpack(">xHH", frame)
                    return height, width
                file.seek(struct.unpack(">H", head[2:])[0] - 2, 1)
    height, width = read_image(path).shape[:2]
    return height, width


def write_picture(path: Path, image: np.ndarray, options: Sequence[int] = ()) -> None:
    """Writes an image (H, W, 3) uint8 BGR, whole, in the format that the name of the file says.

    Raises:
        ValueError: OpenCV does not know the format, or it cannot hold the image.
        OSError: the file could not be written.
    """
    try:
        done, content = cv2.imencode(path.suffix, image, options)
    except cv2.error as error:
        raise ValueError(f"{path} must have the suffix of an image format, such as .png; {error.err}") from None
    if not done:
        raise ValueError(f"{path} must have a format that can hold an image of {image.shape}: choose .png")
    write_bytes(path, content.tobytes(), is_synced=False)


def block_average(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """Averages over blocks of ``width`` x ``height`` pixels; the last ones are filled up by repeating the edge.

    From (H, W, 3) uint8 to (ceil(H / height), ceil(W / width), 3) uint8, rounded.
    """
    if width == height == 1:
        return image
    missing_x, missing_y = -image.shape[1] % width, -image.shape[0] % height
    if missing_x or missing_y:
        image = cv2.copyMakeBorder(image, 0, missing_y, 0, missing_x, cv2.BORDER_REPLICATE)
    reduced = (image.shape[1] // width, image.shape[0] // height)
    # Halfway between two pixels the interpolation is their average, and several times faster.
    is_half = max(width, height) == 2
    return cv2.resize(image, reduced, interpolation=cv2.INTER_LINEAR if is_half else cv2.INTER_AREA)


def _fault(content: bytes) -> str:
    """Why an image could not be decoded."""
    if not content:
        return "it is empty"
    is_cut_jpeg = content.startswith(JPEG_START) and content.rfind(JPEG_END) <= content.rfind(JPEG_SCAN)
    if is_cut_jpeg or (content.startswith(PNG_START) and PNG_END not in content):
        return f"it is truncated ({len(content)} bytes, the end is missing)"
    return f"its {len(content)} bytes are no image that OpenCV can decode"
