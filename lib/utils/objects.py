"""The objects of a data set as arrays: what annotations in COCO's form become, whatever file they come from."""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np

from lib.utils.fields import (
    MISSING,
    TEXTS,
    Entries,
    Problems,
    flag_column,
    id_column,
    number,
    number_column,
    shown,
    whole_id,
)

FLAGS = ("iscrowd", "ignore", "difficult", "uncertain", "ignored_region")  # of an annotation, each is 0 or 1
KEYS = ("id", "image_id", "category_id", "bbox", "area", "segmentation", *FLAGS)
_NUMBERS = {int, float}
NO_AREA = "annotations without area (the box's is taken)"
ZERO_AREA = "areas of 0 of boxes that have one (they decide the size range; leave the key out to have the box's area)"
NO_BOX = "annotations without bbox (that of the polygon is taken)"


def places_of(ids: Sequence[int], values: np.ndarray) -> np.ndarray:
    """(G,) int64, the place in ``ids`` of each of the values (G,), all of which are among them."""
    known = np.array(ids, np.int64)
    order = np.argsort(known)
    return order[np.searchsorted(known[order], values)]


class Objects(NamedTuple):
    """The columns of an ObjectTable."""

    id: np.ndarray  # (G,) int64; 0: none
    image_id: np.ndarray  # (G,) int64
    category_id: np.ndarray  # (G,) int64
    xywh: np.ndarray  # (G, 4) float64, pixels of the image; NaN where the file has no four numbers
    area: np.ndarray  # (G,) float64, the mask's where the file tells it, else the box's
    flags: np.ndarray  # (G,) uint8, a bit for each of FLAGS


class ObjectTable(Sequence[Mapping[str, Any]]):
    """Objects as arrays. As a sequence it gives the annotations one by one, as COCO has them."""

    def __init__(self, columns: Objects, unread: Mapping[int, str] | None = None):
        self.columns = columns
        self.unread = dict(unread or {})  # row -> what stood in the file in place of a box

    def __len__(self) -> int:
        return len(self.columns.id)

    def __getitem__(self, index: Any) -> Any:
        columns = self.columns
        flags = {name: 1 for bit, name in enumerate(FLAGS) if columns.flags[index] >> bit & 1}
        ids = {key: int(getattr(columns, key)[index]) for key in ("id", "image_id", "category_id")}
        box = columns.xywh[index].tolist()
        return {**ids, "bbox": box, "area": float(columns.area[index]), "iscrowd": 0, **flags}

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        return (self[index] for index in range(len(self)))

    def has_any(self, names: Sequence[str]) -> np.ndarray:
        """(G,) bool, whether any of the flags is set."""
        bits = sum(1 << FLAGS.index(name) for name in set(names) & set(FLAGS))
        return (self.columns.flags & bits) != 0

    def with_flag(self, name: str, rows: np.ndarray) -> "ObjectTable":
        """The same objects, with a flag set for some: a mask over G."""
        flags = self.columns.flags | (rows.astype(np.uint8) << np.uint8(FLAGS.index(name)))
        return ObjectTable(self.columns._replace(flags=flags), self.unread)

    def select(self, rows: np.ndarray) -> "ObjectTable":
        """Only some objects, by an index or a mask over G."""
        rows = np.flatnonzero(rows) if rows.dtype == bool else rows
        new = {int(row): index for index, row in enumerate(rows)} if self.unread else {}
        unread = {new[row]: value for row, value in self.unread.items() if row in new}
        return ObjectTable(Objects(*(column[rows] for column in self.columns)), unread)

    def box_text(self, row: int) -> str:
        """The box of a row, as its file has it."""
        return self.unread.get(row) or "[" + ", ".join(f"{value:.15g}" for value in self.columns.xywh[row]) + "]"


def join_tables(tables: Sequence[ObjectTable]) -> ObjectTable:
    """The objects of several tables, one after the other; at least one table."""
    starts = np.cumsum([0, *map(len, tables)]).tolist()
    unread: dict[int, str] = {}
    for table, start in zip(tables, starts, strict=False):
        unread |= {row + start: value for row, value in table.unread.items()}
    columns = zip(*(table.columns for table in tables), strict=True)
    return ObjectTable(Objects(*(np.concatenate(parts) for parts in columns)), unread)


def object_table(columns: Mapping[str, Sequence[Any]], entries: Entries) -> ObjectTable:
    """Annotations as arrays, from one list of values, as the file has them, for each of KEYS.

    Boxes without four numbers become those of the polygons or NaN; areas that are no numbers become the box's. Ids of
    annotations that are no whole numbers become 0. All of this is noted.

    Raises:
        ValueError: an id of an image or a category, or a flag, cannot be understood.
    """
    xywh, unread = _boxes(columns["bbox"], columns["segmentation"], entries)
    flags = np.zeros(len(xywh), np.uint8)
    for bit, key in enumerate(FLAGS):
        flags |= flag_column(columns[key], key, entries).astype(np.uint8) << np.uint8(bit)
    image_id, category_id = (id_column(columns[key], key, entries) for key in ("image_id", "category_id"))
    ids, areas = _ids(columns["id"], entries), _areas(columns["area"], xywh, entries)
    return ObjectTable(Objects(ids, image_id, category_id, xywh, areas, flags), unread)


def _ids(values: Sequence[Any], entries: Entries) -> np.ndarray:
    """(G,) int64, 0 where there is none or none that is a whole number."""

    def read(value: Any, where: str) -> int:
        try:
            return whole_id(value, where)
        except ValueError:
            entries.problems.add("annotation ids that are no whole numbers", shown(value))
            return 0

    if not isinstance(values, np.ndarray):
        values = [0 if value is MISSING or value is None else value for value in values]
    try:
        return id_column(values, "id", entries)
    except ValueError:
        return np.array(entries.read(values, "id", read), np.int64)


def as_table(annotations: Any, where: str, problems: Problems | None = None) -> ObjectTable:
    """Annotations in COCO's form, a list of mappings, as arrays; an ObjectTable stays as it is."""
    if isinstance(annotations, ObjectTable):
        return annotations
    columns = {key: [entry.get(key, MISSING) for entry in annotations] for key in KEYS}
    return object_table(columns, Entries(where, 0, Problems() if problems is None else problems))


def _areas(values: Sequence[Any], xywh: np.ndarray, entries: Entries) -> np.ndarray:
    """(G,) float64: the given areas, and that of the box where there is none."""
    try:
        areas = number_column(values, "area", entries)
    except ValueError:
        areas = number_column([value if type(value) in _NUMBERS else math.nan for value in values], "area", entries)
    for row in np.flatnonzero((areas == 0) & (xywh[:, 2:] > 0).all(axis=1)).tolist():
        entries.problems.add(ZERO_AREA, entries.place(row, "area"))
    is_good = np.isfinite(areas) & (areas >= 0)
    if is_good.all():
        return areas
    for row in np.flatnonzero(~is_good & np.isfinite(xywh).all(axis=1)).tolist():
        is_told = values[row] is not MISSING and values[row] is not None
        kind = "areas that are negative or not numbers (the box's area is used)" if is_told else NO_AREA
        entries.problems.add(kind, f"{entries.place(row, 'area')} {shown(values[row])}")
    with np.errstate(over="ignore", invalid="ignore"):
        return np.where(is_good, areas, xywh[:, 2] * xywh[:, 3])


def box_column(boxes: Sequence[Any]) -> np.ndarray | None:
    """(G, 4) float64 of lists of four numbers; None where one is something else. An array is taken as it is."""
    if isinstance(boxes, np.ndarray):
        return boxes
    if set(map(type, boxes)) <= {list, tuple} and set(map(len, boxes)) <= {4}:
        flat = list(chain.from_iterable(boxes))
        if set(map(type, flat)) <= _NUMBERS:
            try:
                return np.fromiter(flat, np.float64, len(flat)).reshape(-1, 4)
            except OverflowError:
                return None
    return None


def _boxes(boxes: Sequence[Any], polygons: Sequence[Any], entries: Entries) -> tuple[np.ndarray, dict[int, str]]:
    """(G, 4) float64 xywh, and what stood in place of those that are NaN."""
    table, unread = box_column(boxes), {}
    if table is None:
        table = np.full((len(boxes), 4), math.nan)
        for row, (box, polygon) in enumerate(zip(boxes, polygons, strict=True)):
            kind = None
            if isinstance(box, (list, tuple)) and len(box) == 4:
                table[row] = _numbers(box)
                kind = TEXTS if any(isinstance(value, str) for value in box) else None
            elif box is None or box is MISSING or box == []:
                table[row], kind = polygon_box(polygon), NO_BOX
            if not np.isfinite(table[row]).all():
                unread[row] = shown(box)
            elif kind:
                entries.problems.add(kind, entries.place(row, "bbox"))
    bad = np.flatnonzero(~np.isfinite(table).all(axis=1))
    table[bad] = math.nan
    return table, {row: unread.get(row) or shown(boxes[row]) for row in bad.tolist()}


def _numbers(values: Sequence[Any]) -> list[float]:
    """The values as floats; NaN for each that is no number."""
    result = []
    for value in values:
        try:
            result.append(number(value, ""))
        except ValueError:
            result.append(math.nan)
    return result


def polygon_box(polygons: Any) -> list[float]:
    """The box (x, y, width, height) around COCO's polygons, [[x, y, x, y, ...], ...]; NaN where there is none."""
    if isinstance(polygons, list) and polygons and not any(isinstance(part, list) for part in polygons):
        polygons = [polygons]  # one polygon, without the list around it
    if not isinstance(polygons, list) or not all(isinstance(part, list) and len(part) % 2 == 0 for part in polygons):
        return [math.nan] * 4
    xs, ys = (_numbers([value for part in polygons for value in part[axis::2]]) for axis in (0, 1))
    if len(xs) < 2 or not all(map(math.isfinite, chain(xs, ys))):
        return [math.nan] * 4
    return [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)]
