"""Size and depth of images in formats that are seldom met, from their headers: GIF, AVIF, JPEG 2000, PNM and PFM."""

import re
import struct
from collections.abc import Callable, Iterator

At = Callable[[int, int], bytes]  # (first byte, how many) -> these bytes of a file, fewer at its end
_SPACE = rb"(?:\s|#[^\r\n]*[\r\n])+"  # between the numbers of a PNM file, with its comments
_PNM = re.compile(rb"P[1-6fF]" + _SPACE + rb"(\d{1,9})" + _SPACE + rb"(\d{1,9})(?=\s)(?:" + _SPACE + rb"(\d{1,9}))?")
_HAS_MOST = b"2356"  # kinds of PNM whose third number is the highest one of the pixels
_MOST_BOXES = 1000


def rare_format(at: At, length: int) -> tuple[str, tuple[int, int], int] | None:
    """(the format, (height, width), bits of a sample) of a file of ``length`` bytes; None: it is none of them.

    Raises:
        struct.error, IndexError: it begins as one of them, but its header is not whole.
    """
    start = at(0, 12)
    if start.startswith((b"GIF87a", b"GIF89a")):
        return "GIF", struct.unpack_from("<HH", start, 6)[::-1], 8
    if start[4:] in (b"ftypavif", b"ftypavis"):
        sizes = [struct.unpack(">II", at(first + 4, 8)) for first in boxes_inside(at, 0, length, (*AVIF, b"ispe"))]
        bits = [_AV1_BITS.get(at(first + 2, 1)[0] & 0x60, 8) for first in boxes_inside(at, 0, length, (*AVIF, b"av1C"))]
        return "AVIF", max(sizes, key=lambda size: size[0] * size[1], default=(0, 0))[::-1], max(bits, default=8)
    if start == b"\0\0\0\x0cjP  \r\n\x87\n":
        return "JPEG 2000", *_codestream(at, list(boxes_inside(at, 0, length, (b"jp2c",)))[0])
    if start.startswith(b"\xff\x4f\xff\x51"):
        return "JPEG 2000", *_codestream(at, 0)
    if match := _PNM.match(at(0, 4096)):
        size, is_deep = (int(match[2]), int(match[1])), start[1:2] in _HAS_MOST and int(match[3] or 0) > 255
        return ("PFM", size, 32) if start[1:2] in b"fF" else ("PNM", size, 16 if is_deep else 8)
    return None


AVIF = (b"meta", b"iprp", b"ipco")  # where an AVIF has sizes and depths of its parts; the picture is the largest
_AV1_BITS = {0x40: 10, 0x60: 12}  # by the two flags in the configuration of the decoder; else 8


def boxes_inside(at: At, start: int, end: int, path: tuple[bytes, ...]) -> Iterator[int]:
    """Where each box begins that a path of kinds leads to, behind its header, in a file of ISO base format."""
    for _ in range(_MOST_BOXES):
        if start + 8 > end:
            return
        size, kind = struct.unpack(">I4s", at(start, 8))
        first = start + 8
        if size == 1:
            size, first = struct.unpack(">Q", at(first, 8))[0], first + 8
        size = size or end - start  # 0: to the end of the file
        if size < first - start:
            raise struct.error("a box that is smaller than its own header")
        if kind == path[0] and len(path) == 1:
            yield first
        elif kind == path[0]:
            yield from boxes_inside(at, first + (4 if kind == b"meta" else 0), min(start + size, end), path[1:])
        start += size


def _codestream(at: At, start: int) -> tuple[tuple[int, int], int]:
    """(height, width) and bits of a JPEG 2000 codestream."""
    right, bottom, left, top = struct.unpack(">IIII", at(start + 8, 16))
    return (bottom - top, right - left), (at(start + 42, 1)[0] & 0x7F) + 1
