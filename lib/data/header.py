"""What an image file says about itself, read from its header: size, orientation, depth and number of bands."""

import math
import os
import re
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from lib.data.rare_formats import At, rare_format

# A JPEG ends with its end marker, after its last start of scan (a thumbnail inside has both as well).
JPEG_START, JPEG_SCAN, JPEG_END = b"\xff\xd8", b"\xff\xda", b"\xff\xd9"
PNG_START, PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND"
TIFF_STARTS = {b"II*\0": "<", b"MM\0*": ">", b"II+\0": "<", b"MM\0+": ">"}  # + : BigTIFF
_JPEG_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # markers of a frame header
_MARKER, _MOST_SEGMENTS = re.compile(rb"\xff[^\x00\xff]", re.DOTALL), 10**5
_ALONE = {0x01, *range(0xD0, 0xD8)}  # markers that no length follows
_PNG_BANDS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # of a PNG's color type
ORIENTATION = 274  # EXIF's tag, which is TIFF's
_KIND, _OTHERS, _REDUCED, _MASK = 254, 330, 1, 4  # TIFF's tags for the kind of a picture and for others; kinds
_MOST_DIRECTORIES = 32  # that are looked at for a second page
# Bits of an image that one byte of its file holds at most: of deflate, which makes 1032 bytes of one; of a JPEG, which
# has a bit at least for each block of 64 pixels; of TIFF's compressions, without those that have no such limit.
_DEFLATE, _JPEG = 1032 * 8, 512 * 32
_TIFF = {1: 8, 5: 1500 * 8, 8: _DEFLATE, 32946: _DEFLATE, 32773: 64 * 8}


class Header(NamedTuple):
    """What the header of an image file says."""

    kind: str  # JPEG, PNG, BMP, TIFF, WebP, or one of lib/data/rare_formats.py
    size: tuple[int, int]  # (height, width) of the stored pixels
    bits: int = 8  # of a sample
    bands: int = 3  # samples of a pixel
    orientation: int = 1  # 1 to 8, as EXIF counts; 1: the stored pixels are upright
    most_bits: float = math.inf  # of pixels, in one byte of the file
    is_thumbnail: bool = False  # whether this first picture of the file is a small copy of another one
    has_pages: bool = False  # whether another picture of the same size follows

    @property
    def upright_size(self) -> tuple[int, int]:
        """(height, width) of the picture as it is meant to be seen."""
        return self.size[::-1] if self.orientation > 4 else self.size

    def is_upright(self, told: Sequence[int | None], default: bool) -> bool:
        """Whether boxes count the pixels of the upright picture: by the (height, width) that annotations tell, where
        it is that of one reading only, else ``default``.
        """
        if self.size != self.upright_size and tuple(told) in (self.size, self.upright_size):
            return tuple(told) == self.upright_size
        return default

    def size_to_tell(self, size: tuple[int, int], upright: bool) -> tuple[int, int] | None:
        """The (height, width) to tell in a COCO file whose boxes count the pixels of an ``upright`` or stored picture
        of ``size``; None: it must not be told, as boxes would be read as those of the stored picture.
        """
        is_lost = upright and self.orientation != 1 and not self.is_upright(size, False)
        return None if is_lost else size

    def fits_in(self, length: int) -> bool:
        """Whether a file of ``length`` bytes can hold so many pixels."""
        return math.prod(self.size) * self.bits * self.bands <= self.most_bits * length


class BrokenHeader(Exception):
    """A file begins as an image does, but its header cannot be."""


class Entry(NamedTuple):
    """A field of a TIFF directory: its type, the number of its values, and where they lie in the file."""

    kind: int
    number: int
    place: int


class Directory:
    """The first directory of a TIFF file, or of the EXIF data of another one, which have the same form.

    ``offset``: where another directory of the file begins. ``next``: the offset of the one that follows; 0: none.
    """

    SIZES = {3: 2, 4: 4, 5: 8, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}  # bytes by type; others: 1
    CODES = {1: "B", 3: "H", 4: "I", 16: "Q"}
    MOST = 4096  # fields

    def __init__(self, at: At, offset: int = 0):
        start = at(0, 16)
        self.at, self.order, self.is_big = at, TIFF_STARTS[start[:4]], start[2:4].strip(b"\0") == b"+"
        pointer, entry = ("Q", "HHQ8s") if self.is_big else ("I", "HHI4s")
        offset = offset or self._unpack(pointer, start[8 if self.is_big else 4 :])
        count = self._unpack("Q" if self.is_big else "H", at(offset, 8))
        if count > self.MOST:
            raise BrokenHeader("too many fields")
        first, step = offset + (8 if self.is_big else 2), struct.calcsize(self.order + entry)
        self.entries: dict[int, Entry] = {}
        for place in range(first, first + count * step, step):
            tag, kind, number, field = struct.unpack(self.order + entry, at(place, step))
            is_far = self.SIZES.get(kind, 1) * number > len(field)
            values = self._unpack(pointer, field) if is_far else place + step - len(field)
            self.entries.setdefault(tag, Entry(kind, number, values))
        after = at(first + count * step, 8)
        self.next = self._unpack(pointer, after) if len(after) >= struct.calcsize(pointer) else 0

    def _unpack(self, code: str, content: bytes) -> int:
        return int(struct.unpack_from(self.order + code, content)[0])

    def values(self, tag: int) -> tuple[int, ...]:
        """The whole numbers of a field; () where there are none."""
        entry = self.entries.get(tag)
        if entry is None or entry.kind not in self.CODES:
            return ()
        if entry.number > self.MOST:
            raise BrokenHeader("too many values")
        code = f"{self.order}{entry.number}{self.CODES[entry.kind]}"
        try:
            return struct.unpack(code, self.at(entry.place, struct.calcsize(code)))
        except struct.error:
            raise BrokenHeader("values that lie outside of the file") from None

    def value(self, tag: int, default: int | None = None) -> int:
        """The first number of a field."""
        values = self.values(tag)
        if not values and default is None:
            raise BrokenHeader(f"no field {tag}")
        return values[0] if values else int(default or 0)

    @property
    def orientation(self) -> int:
        """1 to 8; 1 where it says nothing sensible."""
        values = self.values(ORIENTATION)
        return values[0] if values and 1 <= values[0] <= 8 else 1


def bytes_of(content: Any) -> At:
    """Reads from a file that is in memory, a buffer of bytes."""
    view = memoryview(content)
    return lambda start, number: bytes(view[start : start + number])


def read_header(path: str | Path) -> tuple[Header | None, int]:
    """What ``parse_header`` says of a file, of which nothing else is read, and its length in bytes."""
    with open(path, "rb", buffering=0) as file:
        number, size = file.fileno(), os.fstat(file.fileno()).st_size

        def at(start: int, length: int) -> bytes:
            return os.pread(number, length, start) if start < size else b""

        return parse_header(at, size), size


def file_header(path: Path) -> Header | None:
    """The header of a file, of which nothing else is read; None: it is of another format, or its header is broken."""
    try:
        return read_header(path)[0]
    except BrokenHeader:
        return None


def parse_header(at: At, length: int) -> Header | None:
    """What a file of ``length`` bytes says of its image; None: it is none of the formats known here.

    Raises:
        BrokenHeader: it begins as one of them, but its header is not whole.
    """
    start = at(0, 12)
    reader = next((read for mark, read in _READERS.items() if start.startswith(mark)), _rare)
    try:
        header = reader(at, length)
    except (struct.error, IndexError, KeyError, OverflowError) as error:
        raise BrokenHeader(str(error)) from None
    if header is not None and min(header.size) < 1:
        raise BrokenHeader(f"a size of {header.size[1]}x{header.size[0]}")
    return header


def _exif_orientation(content: bytes) -> int:
    """That of EXIF data; 1 where these are broken, as for whoever shows the picture."""
    try:
        return Directory(bytes_of(content.removeprefix(b"Exif\0\0"))).orientation
    except (struct.error, IndexError, KeyError, OverflowError, BrokenHeader):
        return 1


def _jpeg(at: At, length: int) -> Header:
    place, orientation = 2, 1
    for _ in range(_MOST_SEGMENTS):
        window = at(place, 4096)
        match = _MARKER.search(window)
        if match is None or match.start():  # bytes between the segments, which decoders skip
            place += match.start() if match else max(len(window) - 1, 1)
            continue
        if (marker := window[1]) in _ALONE:
            place += 2
            continue
        size = struct.unpack_from(">H", window, 2)[0]
        if marker in _JPEG_FRAMES:
            bits, height, width, bands = struct.unpack_from(">BHHB", window, 4)
            return Header("JPEG", (height, width), bits, bands, orientation, _JPEG)
        if marker == 0xE1 and window[4:10] == b"Exif\0\0" and orientation == 1:
            orientation = _exif_orientation(at(place + 4, size - 2))
        place += 2 + size
        if place >= length:
            break
    raise BrokenHeader("no frame")


def _png(at: At, length: int) -> Header:
    width, height, bits, color = struct.unpack(">IIBB", at(16, 10))
    place, orientation, kind = 8, 1, b""
    while kind != PNG_END:
        size, kind = struct.unpack(">I4s", at(place, 8))
        if place + 12 + size > length:
            raise BrokenHeader("a chunk leaves the file")
        if kind == b"eXIf":
            orientation = _exif_orientation(at(place + 8, size))
        place += 12 + size
    return Header("PNG", (height, width), bits, _PNG_BANDS[color], orientation, _DEFLATE)


def _bmp(at: At, length: int) -> Header:
    info = at(14, 16)
    if struct.unpack_from("<I", info)[0] == 12:  # of OS/2
        width, height, _, bits = struct.unpack_from("<HHHH", info, 4)
    else:
        width, height, _, bits = struct.unpack_from("<iiHH", info, 4)
    size = abs(height), width  # a height below 0: the rows begin at the top
    if bits > 8:
        return Header("BMP", size, most_bits=16)  # three samples in 16 bits or more
    return Header("BMP", size, bits, 1)  # of colors by number, maybe as runs


def _webp(at: At, length: int) -> Header | None:
    if at(8, 4) != b"WEBP":  # another file in pieces, such as a sound
        return None
    place, size, orientation = 12, None, 1
    while place + 8 <= length and (size is None or at(12, 4) == b"VP8X"):
        kind, number = struct.unpack("<4sI", at(place, 8))
        data = at(place + 8, 10)
        if kind == b"VP8X":
            size = 1 + int.from_bytes(data[7:10], "little"), 1 + int.from_bytes(data[4:7], "little")
        elif kind == b"VP8 " and size is None:
            width, height = struct.unpack_from("<HH", data, 6)
            size = height & 0x3FFF, width & 0x3FFF
        elif kind == b"VP8L" and size is None:
            field = struct.unpack_from("<I", data, 1)[0]
            size = 1 + (field >> 14 & 0x3FFF), 1 + (field & 0x3FFF)
        elif kind == b"EXIF":
            orientation = _exif_orientation(at(place + 8, number))
        place += 8 + number + number % 2
    if size is None:
        raise BrokenHeader("no frame")
    return Header("WebP", size, orientation=orientation)


def _tiff(at: At, length: int) -> Header:
    directory = Directory(at)
    size = directory.value(257), directory.value(256)
    value, most_bits = directory.value, _TIFF.get(directory.value(259, 1), math.inf)
    is_thumbnail = value(_KIND, 0) & _REDUCED != 0 and _OTHERS in directory.entries
    pages = _has_pages(directory, size)
    return Header("TIFF", size, value(258, 1), value(277, 1), directory.orientation, most_bits, is_thumbnail, pages)


def _has_pages(directory: Directory, size: tuple[int, int]) -> bool:
    """Whether a directory after the first is a picture of the same size, neither a smaller copy nor a mask."""
    try:
        for _ in range(_MOST_DIRECTORIES):
            if directory.next == 0:
                return False
            directory = Directory(directory.at, directory.next)
            kind = directory.value(_KIND, 0)
            if kind & (_REDUCED | _MASK) == 0 and (directory.value(257), directory.value(256)) == size:
                return True
    except (struct.error, IndexError, KeyError, BrokenHeader):  # nobody asked for it
        pass
    return False


def _rare(at: At, length: int) -> Header | None:
    found = rare_format(at, length)
    return Header(*found) if found else None


_READERS: dict[bytes, Callable[[At, int], Header | None]] = {
    JPEG_START: _jpeg,
    PNG_START: _png,
    b"BM": _bmp,
    b"RIFF": _webp,
    **dict.fromkeys(TIFF_STARTS, _tiff),
}
