"""How many of its frames an MP4 or QuickTime file shows: programs that trim videos may only hide the others."""

import struct
from pathlib import Path

import numpy as np

from lib.data.rare_formats import At, boxes_inside

MOST_FRAMES = 10**7  # 46 hours at 60 per second; of a video with more, all count as shown
TABLES = (b"mdia", b"minf", b"stbl")


def shown_frames(file: Path, stored: int) -> int:
    """Those of the ``stored`` frames that the file's edit list shows; all, if it has none that can be read."""
    with file.open("rb") as opened:

        def at(first: int, count: int) -> bytes:
            opened.seek(first)
            return opened.read(count)

        try:
            return _shown(at, file.stat().st_size, stored) if stored <= MOST_FRAMES else stored
        except (struct.error, ValueError, IndexError, ZeroDivisionError):  # another format, no list, or damaged
            return stored


def _shown(at: At, length: int, stored: int) -> int:
    """Frames of the first video track whose times lie in a part that its edit list names."""

    def box(start: int, *path: bytes) -> int:
        return list(boxes_inside(at, start, length, path))[0]

    def ticks(header: int) -> int:
        """Units of time in a second."""
        (result,) = struct.unpack(">I", at(header + (20 if at(header, 1)[0] else 12), 4))
        return int(result)

    def rows(table: int, columns: str) -> np.ndarray:
        (count,) = struct.unpack(">I", at(table + 4, 4))
        return np.frombuffer(at(table + 8, np.dtype(columns).itemsize * min(count, stored)), columns)

    def each(table: int, columns: str) -> np.ndarray:
        """(stored,) from a table of how often a value is repeated."""
        runs = rows(table, columns)
        if sum(runs["f0"].tolist()) != stored:
            raise ValueError("the frames lie in fragments, or the table is damaged")
        return np.repeat(runs["f1"].astype(np.int64), runs["f0"])

    # Boxes are looked for from a track on to the end of the file: those of its own come first.
    tracks = list(boxes_inside(at, 0, length, (b"moov", b"trak")))
    track = [track for track in tracks if at(box(track, b"mdia", b"hdlr") + 8, 4) == b"vide"][0]
    edits = box(track, b"edts", b"elst")
    steps = each(box(track, *TABLES, b"stts"), ">u4,>u4")
    times = steps.cumsum() - steps
    for delays in list(boxes_inside(at, track, length, (*TABLES, b"ctts")))[:1]:
        times = times + each(delays, ">u4,>i4")
    parts = rows(edits, ">u8,>i8,>u4" if at(edits, 1)[0] else ">u4,>i4,>u4")
    scale = ticks(box(track, b"mdia", b"mdhd")) / ticks(box(0, b"moov", b"mvhd"))
    begin, end = parts["f1"], parts["f1"] + parts["f0"] * scale
    first, last = np.searchsorted(np.sort(times), [begin, end])
    return int((last - first)[begin >= 0].sum())  # a part that begins at -1 shows nothing
