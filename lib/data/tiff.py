"""TIFF files of more than 8 bits, or whose bands are not just gray or RGB: their stored numbers, band by band.

OpenCV hands out four bands at most, mixes up the bands of some files, and multiplies colors with a band that is marked
as transparency. It does read files of one band, of whatever depth and compression, so it is shown such ones.
"""

import struct
from collections.abc import Callable
from typing import Any

import numpy as np

from lib.data.header import ORIENTATION, BrokenHeader, Directory, Entry, bytes_of

WIDTH, BITS, COMPRESSION, PHOTOMETRIC, BANDS, PLANAR = 256, 258, 259, 262, 277, 284
PREDICTOR, TILE_WIDTH, EXTRA, FORMAT = 317, 322, 338, 339
_DATA = (273, 279, 324, 325)  # offsets and lengths of strips or tiles
_KEPT = (257, COMPRESSION, 266, 278, 323)
WHITE_IS_ZERO, GRAY, RGB, _YCBCR = 0, 1, 2, 6
_ALPHA = (1, 2)  # values of EXTRA
_JPEG = (6, 7)  # values of COMPRESSION
_SHORT, _LONG = 3, 4
_NOTHING, _LONGEST = 42113, 64  # GDAL's tag, and the most characters of its number
# What OpenCV can decode: nothing, CCITT's, LZW, JPEG, deflate, PackBits
KNOWN_COMPRESSIONS = (1, 2, 3, 4, 5, *_JPEG, 8, 32773, 32946)


class Tiff:
    """A TIFF file in memory, a buffer of bytes.

    Attributes:
        is_plain: whether OpenCV's decoder of color images is right for it.
        bands: how many there are. num_colors: how many of them are no transparency.
        nothing: the number of pixels that show nothing, as GDAL stores it; None: there is none, or the pixels are
            decoded to other numbers than those of the file.
    """

    def __init__(self, content: Any):
        self.content, self.directory = memoryview(content), Directory(bytes_of(content))
        value = self.directory.value
        self.bits, self.bands, self.photometric = value(BITS, 1), value(BANDS, 1), value(PHOTOMETRIC, GRAY)
        self.compression = value(COMPRESSION, 1)
        is_kept = self.bits >= 8 and self.photometric in (GRAY, RGB, _YCBCR)
        self.nothing = self._number(_NOTHING) if is_kept else None
        if not (1 <= self.bits <= 64 and 1 <= self.bands < 2**16):
            raise BrokenHeader(f"{self.bands} bands of {self.bits} bits")
        self.is_plain = (
            self.photometric not in (WHITE_IS_ZERO, GRAY, RGB)
            or self.bits < 8
            or self.compression in _JPEG
            or (self.bits == 8 and self.bands == (3 if self.photometric == RGB else 1) and value(FORMAT, 1) == 1)
        )
        self.num_colors = self.bands - sum(extra in _ALPHA for extra in self.directory.values(EXTRA))

    def _number(self, tag: int) -> float | None:
        """The number that a field has as text."""
        _, count, place = self.directory.entries.get(tag, Entry(0, 0, 0))
        try:
            return float(bytes(self.content[place : place + min(count, _LONGEST)]).strip(b"\0 "))
        except ValueError:
            return None

    def as_stored(self) -> bytes | memoryview:
        """The file without its orientation, which OpenCV would apply whatever it is told."""
        entry = self.directory.entries.get(ORIENTATION)
        if entry is None or entry.kind != _SHORT:
            return self.content
        content = bytearray(self.content)
        struct.pack_into(f"{self.directory.order}H", content, entry.place, 1)
        return bytes(content)

    def pixels(self, decode: Callable[[bytes], np.ndarray | None]) -> np.ndarray | None:
        """(H, W, bands) in the type of the file, by ``decode`` of files of one band; None: one was not decoded."""
        if self.directory.value(PLANAR, 1) == 2 and self.bands > 1:
            planes = [decode(self._one_band(plane)) for plane in range(self.bands)]
            return None if any(plane is None for plane in planes) else np.stack(planes, axis=2)  # type: ignore[arg-type]
        image = decode(self._one_band(None))
        if image is None:
            return None
        pixels = image.reshape(image.shape[0], -1, self.bands)
        if self._has_differences():
            numbers = pixels.view(f"u{pixels.itemsize}")  # the differences of floats are those of their bits
            tile = self.directory.value(TILE_WIDTH, pixels.shape[1])
            for left in range(0, pixels.shape[1], max(tile, 1)):
                part = numbers[:, left : left + tile]
                part[...] = np.cumsum(part, axis=1, dtype=part.dtype)
        return ~pixels if self.photometric == WHITE_IS_ZERO and pixels.dtype.kind in "iu" else pixels

    def _has_differences(self) -> bool:
        """Whether the numbers are stored as differences from those of the pixel before, which we have to add up."""
        predictor = self.directory.value(PREDICTOR, 1)
        if predictor > 2 and self.bands > 1:
            raise BrokenHeader("several bands with the predictor for floating-point numbers, which is not supported")
        return predictor == 2 and self.bands > 1

    def _one_band(self, plane: int | None) -> bytes:
        """The file as one of a single band: ``plane`` of it, or all bands of a pixel side by side."""
        directory = self.directory
        times = self.bands if plane is None else 1
        fields = {tag: self._field(tag) for tag in _KEPT if tag in directory.entries}
        fields |= {tag: self._field(tag, plane) for tag in _DATA if tag in directory.entries}
        for tag in (WIDTH, TILE_WIDTH):
            if tag in directory.entries:
                fields[tag] = self._new(_LONG, directory.value(tag) * times)
        fields |= {BITS: self._new(_SHORT, self.bits), PHOTOMETRIC: self._new(_SHORT, GRAY)}
        fields |= {BANDS: self._new(_SHORT, 1), FORMAT: self._new(_SHORT, directory.value(FORMAT, 1))}
        if PREDICTOR in directory.entries and not (plane is None and self._has_differences()):
            fields[PREDICTOR] = self._field(PREDICTOR)
        order, is_big = directory.order, directory.is_big
        body = b"".join(struct.pack(f"{order}H", tag) + fields[tag] for tag in sorted(fields))
        place = len(self.content) + len(self.content) % 2
        pointer = struct.pack(order + ("Q" if is_big else "I"), place)
        content = bytearray(self.content) + bytes(place - len(self.content))
        first = 8 if is_big else 4
        content[first : first + len(pointer)] = pointer
        count = struct.pack(order + ("Q" if is_big else "H"), len(fields))
        return bytes(content + count + body + bytes(len(pointer)))

    def _new(self, kind: int, value: int) -> bytes:
        """A field of one number, without its tag."""
        if value >= 2**16 and kind == _SHORT:
            raise BrokenHeader(f"a number of {value}")
        field = struct.pack(self.directory.order + Directory.CODES[kind], value)
        return self._packed(kind, 1, field)

    def _packed(self, kind: int, count: int, field: bytes) -> bytes:
        is_big = self.directory.is_big
        head = struct.pack(self.directory.order + ("HQ" if is_big else "HI"), kind, count)
        return head + field.ljust(8 if is_big else 4, b"\0")

    def _field(self, tag: int, plane: int | None = None) -> bytes:
        """A field as it is, or the part of it that belongs to a plane."""
        kind, count, place = self.directory.entries[tag]
        size = Directory.SIZES.get(kind, 1)
        if plane is not None:
            count //= self.bands
            place += plane * count * size
        room = 8 if self.directory.is_big else 4
        if count * size <= room:
            return self._packed(kind, count, bytes(self.content[place : place + count * size]))
        pointer = struct.pack(self.directory.order + ("Q" if room == 8 else "I"), place)
        return self._packed(kind, count, pointer)
