"""COCO's JSON files of any size, read in pieces, without the polygons: a large file costs seconds and little memory.

A piece ends behind a record of the list. Where that is cannot be seen without reading from the start, so it is
guessed, at ``},{``, and the reader tells: a guess inside of a text or of a nested list leaves something open.
"""

import contextlib
import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from operator import attrgetter
from pathlib import Path
from types import GenericAlias
from typing import Any, BinaryIO, NamedTuple

import msgspec
import numpy as np

from lib.data.formats.content import Collector, fields_of
from lib.utils.fields import MISSING
from lib.utils.objects import FLAGS

PIECE = 2**20  # bytes that are read at once: they stay in the processor's cache
LONGEST = 2**26  # bytes of a record
_NUM_GUESSES = 20  # ends of a piece that are tried
_RAW_NULL = msgspec.Raw(b"null")
_NAME = re.compile(rb'\s*,?\s*"([^"\\]*)"\s*:\s*')
_NEXT = re.compile(rb"\}\s*,\s*\{")
_END = re.compile(rb"\}\s*\](?=\s*[,}])")


def _record(name: str, keys: tuple[str, ...], more: tuple[tuple[str, Any, Any], ...] = ()) -> Any:
    """A type of records with any values at some keys; whatever else the file has there is skipped."""
    return msgspec.defstruct(name, [*((key, Any, MISSING) for key in keys), *more], gc=False)


_ANNOTATION = _record(
    "Annotation", ("id", "image_id", "category_id", "bbox", "area", *FLAGS), (("segmentation", msgspec.Raw, _RAW_NULL),)
)
# Annotations as nearly all files have them: no field has to be looked at to know what it is.
_PLAIN_ANNOTATION: Any = msgspec.defstruct(
    "PlainAnnotation",
    [
        *((key, int) for key in ("id", "image_id", "category_id")),
        ("bbox", tuple[float, float, float, float]),
        ("area", float),
        *((key, int, 0) for key in FLAGS),
    ],
    gc=False,
)
_PLAIN = msgspec.json.Decoder(list[_PLAIN_ANNOTATION])
_TYPES = {
    "annotations": _ANNOTATION,
    "images": _record("Image", fields_of("images")),
    "categories": _record("Category", fields_of("categories")),
}


class NotStreamed(ValueError):
    """The file is not plain enough to be read in pieces, or it is broken."""


class _Buffer:
    """The part of a file that has been read and is still needed."""

    def __init__(self, file: BinaryIO):
        self.file, self.data, self.place = file, b"", 0
        self.is_whole = False  # whether the file ends with the data
        self.more()
        if self.data.startswith(b"\xef\xbb\xbf"):
            self.place = 3

    def more(self) -> None:
        """Reads on."""
        new = self.file.read(PIECE)
        self.is_whole = len(new) < PIECE
        self.data, self.place = b"".join((memoryview(self.data)[self.place :], new)), 0

    def match(self, pattern: re.Pattern[bytes]) -> re.Match[bytes] | None:
        """Takes what a pattern matches here."""
        if not self.is_whole and len(self.data) - self.place < PIECE // 2:
            self.more()
        found = pattern.match(self.data, self.place)
        self.place = found.end() if found else self.place
        return found


def stream_coco(path: Path, collector: Collector) -> None:
    """Gives the images, categories and annotations of a COCO file to a collector.

    Raises:
        NotStreamed: the file has to be read as a whole.
    """
    seen = set()
    try:
        with path.open("rb") as file:
            buffer = _Buffer(file)
            if not buffer.match(re.compile(rb"\s*\{")):
                raise NotStreamed
            while name := buffer.match(_NAME):
                key = name[1].decode()
                if key in seen:
                    raise NotStreamed
                seen.add(key)
                if key in _TYPES:
                    for columns in _stream_list(buffer, key):
                        collector.add(key, columns)
                else:
                    _skip_value(buffer)
            if not buffer.match(re.compile(rb"\s*\}\s*\Z")) or not buffer.is_whole or not seen.issuperset(_TYPES):
                raise NotStreamed
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError, UnicodeDecodeError, RecursionError):
        raise NotStreamed from None


def _decoder(key: str) -> Callable[[bytes], dict[str, Sequence[Any]]]:
    """A function from a JSON list of records to field -> the values of all. Polygons are read where there is no box."""
    decode = msgspec.json.Decoder(GenericAlias(list, (_TYPES[key],))).decode

    def read(content: bytes) -> dict[str, Sequence[Any]]:
        if key == "annotations":
            with contextlib.suppress(msgspec.ValidationError, OverflowError):
                if columns := _plain_columns(content):
                    return columns
        return _columns(decode(content), key)

    return read


def _plain_columns(content: bytes) -> dict[str, Any] | None:
    """The columns of annotations as arrays; None, or an error, if one has anything odd, that others must look at."""
    records = _PLAIN.decode(content)
    number, get = len(records), lambda key: map(attrgetter(key), records)  # noqa: E731
    columns: dict[str, Any] = {"segmentation": ()}
    columns |= {key: np.fromiter(get(key), np.int64, number) for key in ("id", "image_id", "category_id", *FLAGS)}
    boxes = np.fromiter(itertools.chain.from_iterable(get("bbox")), np.float64, 4 * number)
    columns |= {"bbox": boxes.reshape(-1, 4), "area": np.fromiter(get("area"), np.float64, number)}
    is_plain = np.isfinite(boxes).all() and np.isfinite(columns["area"]).all() and (columns["area"] >= 0).all()
    return columns if is_plain and not any((columns[key] & ~1).any() for key in FLAGS) else None


def _columns(records: list[Any], key: str) -> dict[str, Sequence[Any]]:
    """Field -> the values of all records."""
    names = [name for name in fields_of(key) if name != "segmentation"]
    columns: dict[str, Sequence[Any]] = {name: list(map(attrgetter(name), records)) for name in names}
    if key == "annotations":
        columns["segmentation"] = [
            msgspec.json.decode(record.segmentation) if not record.bbox or record.bbox is MISSING else None
            for record in records
        ]
    return columns


def _stream_list(buffer: _Buffer, key: str) -> Iterator[dict[str, Sequence[Any]]]:
    """Gives the records of a list, piece by piece, as columns."""
    decode = _decoder(key)
    if not buffer.match(re.compile(rb"\[")):
        raise NotStreamed
    if buffer.match(re.compile(rb"\s*\]")):
        return
    while True:
        if not buffer.is_whole:
            buffer.more()
        piece = _first_good(buffer, decode)
        if piece is None:
            if buffer.is_whole or len(buffer.data) > LONGEST:
                raise NotStreamed
            continue
        yield piece.columns
        buffer.place = piece.end
        buffer.match(re.compile(rb"\s*\]" if piece.is_last else rb"\s*,\s*"))
        if piece.is_last:
            return


class _Piece(NamedTuple):
    """Records of a list, where they end in the buffer, and whether the list ends there."""

    columns: dict[str, Sequence[Any]]
    end: int
    is_last: bool


def _first_good(buffer: _Buffer, decode: Callable[[bytes], dict[str, Sequence[Any]]]) -> _Piece | None:
    """The records up to the first of the guessed ends that is one."""
    for end, is_last in _guesses(buffer):
        with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError):
            content = b"".join((b"[", memoryview(buffer.data)[buffer.place : end], b"]"))
            return _Piece(decode(content), end, is_last)
    return None


def _guesses(buffer: _Buffer) -> list[tuple[int, bool]]:
    """Places behind a record, and whether it is the last of its list, the likely ones first."""
    data, start = buffer.data, buffer.place
    ends = [
        (found.start() + 1, True) for found, _ in zip(_END.finditer(data, start), range(_NUM_GUESSES), strict=False)
    ]
    place = len(data)
    for _ in range(_NUM_GUESSES):
        place = data.rfind(b"}", start, place)
        if place < 0:
            break
        if _NEXT.match(data, place):
            # Records before the end of the list are taken as one piece with it, if the end is in the buffer.
            return [(place + 1, False), *ends]
    return ends


def _skip_value(buffer: _Buffer) -> None:
    """Passes over the value of a key that is not needed, such as info and licenses."""
    text = buffer.data[buffer.place : buffer.place + 2**18]
    places = (found.start() for found in re.finditer(rb'(?=\s*(,\s*"|\}))', text) if found.start())
    for end in itertools.islice(places, 300):
        with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError):
            msgspec.json.decode(text[:end])
            buffer.place += end
            return
    raise NotStreamed
