"""Reading an image file, in full or at a reduced scale, with a message that says what is wrong."""

import logging
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from lib.data.depth import FULL, Depth, limits, to_8_bit, uses_little
from lib.data.header import (
    JPEG_END,
    JPEG_SCAN,
    JPEG_START,
    PNG_END,
    PNG_START,
    BrokenHeader,
    Header,
    file_header,
    read_header,
)
from lib.data.pixels import block_average, turn
from lib.data.tiff import KNOWN_COMPRESSIONS, Tiff

log = logging.getLogger(__name__)
# Scales 1 / n at which a JPEG can be decoded: each 8 x 8 block becomes one of 8 / n pixels a side.
REDUCED = {1: cv2.IMREAD_COLOR_BGR}
REDUCED |= {2: cv2.IMREAD_REDUCED_COLOR_2, 4: cv2.IMREAD_REDUCED_COLOR_4, 8: cv2.IMREAD_REDUCED_COLOR_8}
MAX_PIXELS = 2**28  # 16,384 x 16,384, which take 0.8 GB when they are decoded
DARK_IMAGES = "images of more than 8 bits that use under a tenth of their range (see input.depth)"
DARK = (
    "uses under a tenth of the range of its numbers, so it comes out nearly uniform (as others may): choose "
    "input.depth=percentile, or the numbers of black and white, such as input.depth=[0, 4095]"
)
PAGED_IMAGES = "images of several pages, of which only the first is read"
PAGED = "has several pages, of which only the first is read: split it into files of one page"
# Formats whose sizes are known before decoding, and how their files are called in a data set
SUFFIXES = {
    **{"JPEG": (".jpg", ".jpeg", ".jfif"), "PNG": (".png",), "BMP": (".bmp",), "TIFF": (".tif", ".tiff")},
    **{"WebP": (".webp",), "GIF": (".gif",), "AVIF": (".avif",), "JPEG 2000": (".jp2", ".j2k")},
    **{"PNM": (".pnm", ".pbm", ".pgm", ".ppm"), "PFM": (".pfm",)},
}
FORMATS = ", ".join(SUFFIXES)
_HEIC = [b"ftyp" + brand for brand in (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")]
_MAX_BYTES = 8  # of the stored numbers, for each pixel of MAX_PIXELS


class ImageError(ValueError):
    """An image file is not what it must be; the user can replace it."""


class Reading(NamedTuple):
    """How stored numbers become pixels: ``depth`` (see ``limits``) is for images of more than 8 bits; ``bands`` are
    the numbers, from 1, of those that give red, green and blue, or the one that is shown as gray.
    """

    depth: Depth = FULL
    bands: tuple[int, ...] | None = None  # None: the first three, or the only one
    max_pixels: int = MAX_PIXELS  # of an image; larger ones are refused before they are decoded


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


class ImageFile:
    """An image file in memory, its header checked.

    Attributes:
        is_dark: whether ``pixels`` had more than 8 bits and used under a tenth of their full range.

    Raises:
        FileNotFoundError: there is no such file. ImageError: it is no whole image, or too large.
    """

    def __init__(self, path: str | Path, reading: Reading | None = None):
        self.path, self.reading, self.is_dark = path, reading or Reading(), False
        try:
            header, length = read_header(path)
        except (FileNotFoundError, IsADirectoryError):
            raise FileNotFoundError(f"image {path} must be a file; it does not exist: check the path") from None
        except BrokenHeader:
            header = None
        if header is None:  # its size cannot be limited before it is decoded
            raise _unreadable(path)
        check_header(path, header, length, self.reading.max_pixels)
        self.header, self.content = header, np.fromfile(path, np.uint8)
        try:
            self.tiff = Tiff(self.content) if header.kind == "TIFF" else None
        except BrokenHeader as error:
            raise _unreadable(path, f"it has {error}: convert or replace it") from None

    def pixels(self, shrink: int = 1, upright: bool = True) -> np.ndarray:
        """The pixels, as ``read_image`` gives them."""
        orientation = self.header.orientation
        if not upright or orientation == 1:
            return self._stored(shrink)
        if any(side % shrink for side in self.size()):  # blocks are to begin at the upright corner
            return block_average(turn(self._stored(1), orientation), shrink, shrink)
        return turn(self._stored(shrink), orientation)

    def size(self, upright: bool = True) -> tuple[int, int]:
        """(height, width) of the pixels."""
        return self.header.upright_size if upright else self.header.size

    def _stored(self, shrink: int) -> np.ndarray:
        """The pixels in the order in which they are stored."""
        is_reduced = False
        # OpenCV's decoder of color images leaves a gray PFM without channels.
        if self.reading.bands or self.header.kind == "PFM" or (self.tiff and not self.tiff.is_plain):
            bands, num_colors = self._bands()
            shown = shown_bands(self.path, bands.shape[2], num_colors, self.reading.bands)
            image = bands[..., [band - 1 for band in (shown if len(set(shown)) > 1 else shown[:1])]]
        else:
            is_reduced = self.content[:2].tobytes() == JPEG_START
            is_deep = self.header.bits > 8 and not self.tiff
            mode = REDUCED[shrink if is_reduced else 1] | (cv2.IMREAD_ANYDEPTH if is_deep else 0)
            image = bands = self._decoded(mode | cv2.IMREAD_IGNORE_ORIENTATION)
        nothing = self.tiff.nothing if self.tiff else None
        is_empty = None if nothing is None else _are(bands, nothing).all(axis=2)
        if image.dtype != np.uint8:
            image = self._scaled(image, nothing)
        if is_empty is not None:
            image[is_empty] = 0
        image = np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image
        return image if is_reduced else block_average(image, shrink, shrink)

    def _scaled(self, image: np.ndarray, nothing: float | None) -> np.ndarray:
        """(H, W, 1 or 3) uint8 of numbers of another type, of which ``nothing`` does not count."""
        depth, spare = self.reading.depth, 8 * image.itemsize - self.header.bits
        if self.header.bands == 1:
            image = image[..., :1]
        if depth == FULL and spare > 0 and not self.tiff:  # 10 or 12 bits fill the type
            image = image << spare
        known = image if nothing is None else image[~_are(image, nothing)]
        self.is_dark = depth == FULL and known.size > 0 and uses_little(known)
        try:
            return to_8_bit(image, *limits(known, depth, self.path))
        except ValueError as error:
            raise ImageError(str(error)) from None

    def _decoded(self, mode: int) -> np.ndarray:
        image = _decode(self.tiff.as_stored() if self.tiff else self.content, mode)
        if image is None:
            raise self._undecoded()
        return image

    def _bands(self) -> tuple[np.ndarray, int]:
        """(H, W, bands) in the type and the order of the file, and how many of them show colors; 0: it does not say."""
        if self.tiff and not self.tiff.is_plain:
            try:
                pixels = self.tiff.pixels(lambda content: _decode(content, cv2.IMREAD_UNCHANGED))
            except BrokenHeader as error:
                raise _unreadable(self.path, f"it has {error}: convert or replace it") from None
            if pixels is None:
                raise self._undecoded()
            num_colors = self.tiff.num_colors if pixels.shape[2] <= 4 else 0
        else:
            pixels = np.atleast_3d(self._decoded(cv2.IMREAD_UNCHANGED))
            pixels = pixels[..., [2, 1, 0, 3][: pixels.shape[2]]] if pixels.shape[2] > 2 else pixels
            num_colors = min(pixels.shape[2], 3)
        return pixels, num_colors

    def _undecoded(self) -> ImageError:
        """Why OpenCV did not decode it, although its header is whole."""
        if self.header.kind == "JPEG" and self.header.bits != 8:
            kind, advice = f"JPEG of {self.header.bits} bits, of which only those of 8 are", "export it as TIFF or PNG"
        elif self.tiff and (way := self.tiff.compression) not in KNOWN_COMPRESSIONS:
            kind, advice = f"TIFF of compression {way}, which is not", "save it anew by LZW or deflate"
        else:
            return _unreadable(self.path)
        return _unreadable(self.path, f"it is a {kind} supported: {advice}")


def _are(numbers: np.ndarray, number: float) -> np.ndarray:
    """Whether each of the numbers is this one."""
    with np.errstate(over="ignore"):  # of a number that is too large for floats of their type
        return numbers == number


def shown_bands(path: str | Path, number: int, num_colors: int, chosen: tuple[int, ...] | None) -> tuple[int, ...]:
    """The bands, from 1, that are shown as blue, green and red, of an image with so many bands.

    Args:
        num_colors: how many of them are no transparency; 0: that does not say what they show.
        chosen: those for red, green and blue, or for gray, by ``Reading.bands``.
    """
    if chosen is None:
        chosen = {1: (1,), 3: (1, 2, 3), 4: (1, 2, 3)}.get(num_colors, ())
    if not chosen:
        raise ImageError(
            f"image {path} must have 1, 3 or 4 bands; it has {number}: choose those for red, green and blue, "
            "such as input.bands=[3, 2, 1]"
        )
    if max(chosen) > number:
        raise ImageError(
            f"image {path} must have the bands of input.bands, {list(chosen)}; it has {number}: choose others"
        )
    return (chosen * 3)[2::-1]


_warnings: set[str] = set()  # each names the first file of a process only


def read_image(
    path: str | Path, shrink: int = 1, *, upright: bool = True, reading: Reading | None = None
) -> np.ndarray:
    """The pixels of an image file, in a format of FORMATS: (ceil(H / shrink), ceil(W / shrink), 3) uint8 BGR.

    Gray images get three equal channels, transparency is left out. ``upright``: turned as EXIF data say, as programs
    that show pictures do; otherwise in the order in which they are stored. ``shrink`` is 1, 2, 4 or 8: a JPEG is
    decoded at 1 / ``shrink``, which is close to the average over blocks of that size and costs less; others are
    averaged. It warns, once, of images of more than 8 bits that come out nearly uniform, and of several pages.

    Raises:
        FileNotFoundError: there is no such file. ImageError: it is no whole image, or cannot be read by ``reading``.
    """
    file = ImageFile(path, reading)
    pixels = file.pixels(shrink, upright)
    for is_true, warning in ((file.is_dark, DARK), (file.header.has_pages, PAGED)):
        if is_true and warning not in _warnings:
            _warnings.add(warning)
            log.warning("image %s %s", path, warning)
    return pixels


def image_size(path: Path, upright: bool = True) -> tuple[int, int]:
    """(height, width) of the pixels that ``read_image`` gives; from the header, where its format is known here."""
    header = file_header(path)
    if header is not None:
        return header.upright_size if upright else header.size
    height, width = read_image(path, upright=upright).shape[:2]
    return height, width


def check_header(path: str | Path, header: Header, length: int, max_pixels: int = MAX_PIXELS) -> None:
    """Refuses an image that is too large to be decoded, whose file of ``length`` bytes cannot hold it, or that is a
    small copy of what the file is about.
    """
    if header.is_thumbnail:
        raise ImageError(
            f"image {path} must begin with a whole picture; its first one is a small copy, as in the raw files of "
            "cameras (DNG, NEF): develop it, and save it as JPEG or TIFF"
        )
    height, width = header.size
    pixels = math.prod(header.size)
    if pixels > max_pixels or pixels * header.bands * header.bits > 8 * _MAX_BYTES * max_pixels:
        raise ImageError(
            f"image {path} must have at most {max_pixels} pixels; its header says {width}x{height} of {header.bands} "
            "bands: cut it into tiles by another tool, or choose a larger input.max_pixels"
        )
    if not header.fits_in(length):
        raise ImageError(
            f"image {path} must be readable; its header says {width}x{height}, more than {length} bytes can hold: "
            "replace the file"
        )


def _decode(content: bytes | np.ndarray, mode: int) -> np.ndarray | None:
    """What OpenCV makes of a file in memory; None: nothing, about which it is silent."""
    if len(content) == 0:
        return None
    logging_of_opencv = cv2.utils.logging
    level = logging_of_opencv.getLogLevel()
    logging_of_opencv.setLogLevel(logging_of_opencv.LOG_LEVEL_SILENT)
    try:
        # From memory, because cv2.imread silently fills a truncated JPEG up with gray.
        return cv2.imdecode(np.frombuffer(content, np.uint8), mode)
    except cv2.error:
        return None
    finally:
        logging_of_opencv.setLogLevel(level)


def _unreadable(path: str | Path, fault: str | None = None) -> ImageError:
    """``fault``: what is wrong with the image, and what to do; None: what its bytes tell."""
    return ImageError(f"image {path} must be readable; {fault or _fault(path)}")


def _fault(path: str | Path) -> str:
    with open(path, "rb") as file:
        content, length = file.read(12), os.fstat(file.fileno()).st_size
        is_jpeg, is_png = content.startswith(JPEG_START), content.startswith(PNG_START)
        content += file.read() if is_jpeg or is_png else b""
    if length == 0:
        return "it is empty: replace the file"
    if content[4:12] in _HEIC:
        return "it is a HEIC picture, which is not supported: export it as JPEG"
    if (is_jpeg and content.rfind(JPEG_END) <= content.rfind(JPEG_SCAN)) or (is_png and PNG_END not in content):
        return f"it is truncated ({length} bytes, the end is missing): replace the file"
    return f"its {length} bytes are no whole image in one of the formats {FORMATS}: replace the file"
