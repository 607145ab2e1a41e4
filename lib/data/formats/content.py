"""A data set of any format as it is used: every field checked once, and what had to be read otherwise noted."""

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np

from lib.data.formats.joined import repeats
from lib.data.formats.listing import SPELLINGS, Listing
from lib.data.formats.structure import URL, check_structure
from lib.data.image import image_size
from lib.utils.fields import (
    MAX_SIDE,
    MISSING,
    TEXTS,
    Entries,
    Problems,
    first_few,
    one_line,
    shown,
    text,
    whole,
    whole_id,
)
from lib.utils.objects import KEYS, ObjectTable, join_tables, object_table

Record = Mapping[str, Any]  # an image, an annotation, a category or a whole data set, as COCO has it
IMAGE_KEYS, CATEGORY_KEYS = ("id", "file_name", "height", "width", "corner"), ("id", "name")
REGIONS = "ignored regions"  # the name of a category of regions that belong to no class
FEW = 10  # boxes that may all lie in the first pixel of their images
_PLAIN_NAME = re.compile(r"[^./\\][^/\\]*(/[^./\\][^/\\]*)*")  # has no folder or file whose name begins with a dot

_SIMPLE_NAME = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)*", re.ASCII)  # a plain name of letters that all systems know


class Content(NamedTuple):
    """A data set. Ids are int64; one of an image that does not fit is kept, as the file has it, at ``file_id``."""

    where: str  # its file or folder, for messages
    images: list[dict[str, Any]]  # id, file_name below the image folder, height and width; None: unknown
    objects: ObjectTable  # a row for each annotation of the file, except the ``repeated`` ones
    categories: list[dict[str, Any]]  # id, name
    problems: Problems  # what was read otherwise than it stands in the file
    aliases: dict[int, int]  # id of an image record that was joined with another of the same file -> the other's
    repeated: frozenset[int] = frozenset()  # annotations that are no objects, as another record of their file has them
    # Whether boxes count the pixels of upright pictures where the EXIF data of an image have an orientation and the
    # sizes do not tell; None: where there are no sizes
    upright: bool | None = None

    def is_upright(self, record: Record) -> bool:
        """Whether boxes count the pixels of upright pictures where the size of an image does not tell."""
        return None in (record["height"], record["width"]) if self.upright is None else self.upright

    def size(self, record: Record, path: Path) -> tuple[int, int]:
        """(height, width) of an image: as told, else as its file has it."""
        if record["height"] is not None and record["width"] is not None:
            return record["height"], record["width"]
        return image_size(path, self.is_upright(record))

    def to_coco(self) -> dict[str, Any]:
        """The data set as an evaluator takes it."""
        keys = ("images", "categories", "aliases", "upright")
        return {**{key: getattr(self, key) for key in keys}, "annotations": self.objects}


class Collector:
    """Makes a Content of the records of a file, which come in one or many lists."""

    def __init__(self, where: str, folder: str | Path | None = None, lenient: bool = False):
        self.where, self.folder, self.lenient, self.problems = where, folder, lenient, Problems()
        self.lists: dict[str, list[Any]] = {"images": [], "categories": []}
        self.tables: list[ObjectTable] = []
        self.num_annotations = 0

    def add(self, key: str, columns: Mapping[str, Sequence[Any]]) -> None:
        """Takes further records of a list: field -> the values of all records, MISSING where one has none."""
        entries = Entries(f"{self.where}: {key}", self.num_annotations, self.problems)
        if key == "annotations":
            self.tables.append(object_table(columns, entries))
            self.num_annotations += len(self.tables[-1])
        elif key == "images":
            columns = {**columns, "file_name": list(map(self._told_name, columns["file_name"], columns[URL]))}
            self.lists[key] += zip(*(columns[name] for name in IMAGE_KEYS), strict=True)
        else:
            self.lists[key] += zip(*(columns[name] for name in fields_of(key)), strict=True)

    def _told_name(self, name: Any, url: Any) -> Any:
        """The name of an image: where it has none, the folder and the file at the end of its address, or the file."""
        if name is not MISSING or not isinstance(url, str) or "/" not in url:
            return name
        self.problems.add("images without file_name (named by their coco_url)", url)
        name, last = "/".join(url.split("/")[-2:]), url.rpartition("/")[2]
        here = Path(self.folder or "")
        return last if self.folder and (here / last).is_file() and not (here / name).is_file() else name

    def content(self) -> Content:
        """The data set, whose annotations each belong to an image and to a category that it lists.

        Raises:
            ValueError: a field cannot be understood, an id is double or unknown. If ``lenient``, annotations with an
                unknown id and sizes that are no sizes are noted only.
        """
        if not self.lists["images"]:
            raise ValueError(f"{self.where} must list at least one image; it is an empty data set: choose another")
        images = [self._image(index, *values) for index, values in enumerate(self.lists["images"])]
        self._find_files(images)
        categories = [self._category(index, *values) for index, values in enumerate(self.lists["categories"])]
        for key, records in (("images", images), ("categories", categories)):
            ids = Counter(record["id"] for record in records)
            if double := sorted(value for value, count in ids.items() if count > 1):
                raise ValueError(f"{self.where}: {key} must have each id once; found twice: {first_few(double)}")
        if not self.tables:
            self.add("annotations", {name: [] for name in KEYS})
        table = self._known(join_tables(self.tables), images, categories)
        self._check_unit(table)
        regions = [entry["id"] for entry in categories if is_region_class(entry["name"])]
        table = table.with_flag("ignored_region", np.isin(table.columns.category_id, regions))
        kept, aliases = self._joined(images)
        repeated = self._repeated(table, aliases) if aliases else []
        if aliases:
            image_ids = np.array([aliases.get(value, value) for value in table.columns.image_id.tolist()], np.int64)
            table = ObjectTable(table.columns._replace(image_id=image_ids), table.unread)
            table = table.select(~np.isin(np.arange(len(table)), repeated))
        return Content(self.where, kept, table, categories, self.problems, aliases, frozenset(repeated))

    def _image(self, index: int, number: Any, name: Any, height: Any, width: Any, corner: Any) -> dict[str, Any]:
        is_plain = type(number) is int and -(2**63) <= number < 2**63 and _is_size(height, width)
        if is_plain and type(name) is str and _SIMPLE_NAME.fullmatch(name):  # nearly all, of a large set
            return {"id": number, "file_name": name, "height": height, "width": width}
        place = f"{self.where}: images[{index}]"
        image_id = whole_id(number, f"{place}.id")
        name = text(name, f"{place}.file_name")
        record: dict[str, Any] = {"id": image_id, "file_name": self._name(name, f"{place}.file_name")}
        if type(number) is int and number != image_id:
            record["file_id"] = number
        return record | dict(zip(("height", "width"), self._size(place, name, height, width), strict=True))

    def _name(self, name: str, where: str) -> str:
        """The path of an image below the image folder."""
        if _PLAIN_NAME.fullmatch(name):
            return name
        if "\\" in name:
            self.problems.add("file names with backslashes (read as folders)", name)
            name = name.replace("\\", "/")
        path = PurePosixPath(name)
        if not path.is_absolute() and ".." not in path.parts:
            return path.as_posix()
        if self.folder is not None and (inner := inner_name(self.folder, name)):
            return inner
        if self.folder is None or self.lenient:
            self.problems.add("file names that lead out of the image folder (training refuses them)", name)
            return name
        raise ValueError(
            f"{where} must be a file inside of the image folder {one_line(self.folder)}; got {shown(name)}: fix the "
            "name, or choose an image folder that holds it"
        )

    def _find_files(self, images: list[dict[str, Any]]) -> None:
        """Gives images whose file is missing the name of the one that is meant, if it is there."""
        if self.folder is None or not Path(self.folder).is_dir():
            return
        listing = Listing(Path(self.folder))
        for record in images:
            found = listing.find(name := record["file_name"])
            if found and found != name:
                self.problems.add(SPELLINGS, f"{name}: {found}")
                record["file_name"] = found

    def _size(self, place: str, name: str, height: Any, width: Any) -> tuple[int | None, int | None]:
        if _is_size(height, width):
            return height, width
        unknown = (None, MISSING, 0, "")
        try:
            sizes = [
                None if v in unknown else whole(v, f"{place}.{key}", 0, MAX_SIDE) or None
                for key, v in (("height", height), ("width", width))
            ]
        except (ValueError, TypeError) as error:
            if not self.lenient:
                raise ValueError(f"{error} (image {one_line(name)}; without both keys they are measured)") from None
            self.problems.add("image sizes that are not whole numbers of 1 or more (training refuses them)", str(error))
            return None, None
        if any(isinstance(value, str) for value in (height, width)):
            self.problems.add(TEXTS, f"size of {name}")
        if None not in sizes:
            return sizes[0], sizes[1]
        if not all(value is MISSING or value is None for value in (height, width)):
            told = f"{name}: height {shown(height)}, width {shown(width)}"
            self.problems.add("image sizes that are 0 or incomplete (measured in the file)", told)
        return None, None

    def _category(self, index: int, number: Any, name: Any) -> dict[str, Any]:
        place = f"{self.where}: categories[{index}]"
        return {"id": whole_id(number, f"{place}.id"), "name": text(name, f"{place}.name")}

    def _known(self, table: ObjectTable, images: list[Any], categories: list[Any]) -> ObjectTable:
        """The objects whose ids are known; others are refused or, if lenient, left out."""
        for key, records, plural in (("image_id", images, "images"), ("category_id", categories, "categories")):
            ids = getattr(table.columns, key)
            is_known = np.isin(ids, np.array([record["id"] for record in records], np.int64))
            if is_known.all():
                continue
            if not self.lenient:
                stray = dict.fromkeys(ids[~is_known].tolist())
                raise ValueError(
                    f"{self.where}: each annotation must name one of the file's {plural}; {np.sum(~is_known)} have an "
                    f"unknown {key} ({first_few(stray)}): add these {plural} to the file or remove the annotations"
                )
            for row in np.flatnonzero(~is_known).tolist():
                thing = f"{table.columns.id[row]}: {ids[row]}"
                self.problems.add(f"annotations of an unknown {key}", thing)
            table = table.select(is_known)
        return table

    def _check_unit(self, table: ObjectTable) -> None:
        """Refuses, or if lenient notes, boxes that are fractions of their images."""
        xywh = table.columns.xywh[(table.columns.xywh[:, 2:] > 0).all(axis=1)]
        if len(xywh) <= FEW or (xywh[:, :2] < 0).any() or (xywh[:, :2] + xywh[:, 2:] > 1).any():
            return
        if not self.lenient:
            raise ValueError(
                f"{self.where}: bbox must be in pixels; all {len(xywh)} are within 0 to 1, as fractions: multiply them "
                "by width and height of the image"
            )
        self.problems.add("boxes that are fractions, not pixels (training refuses them)", f"all {len(xywh)}")

    def _repeated(self, table: ObjectTable, aliases: Mapping[int, int]) -> list[int]:
        """The rows of boxes that another record of the same image file has too."""
        rows = np.flatnonzero(np.isin(table.columns.image_id, [*aliases, *aliases.values()]))
        columns = table.select(rows).columns
        records = columns.image_id.tolist()
        files = [aliases.get(value, value) for value in records]
        places = repeats(records, files, columns.category_id.tolist(), columns.xywh.tolist())
        result: list[int] = rows[places].tolist() if places else []
        texts = (f"annotation {table.columns.id[row] or '?'}: {table.box_text(row)}" for row in result)
        self.problems.add("boxes that another record of the same image file has too (left out)", *texts)
        return result

    def _joined(self, images: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], dict[int, int]]:
        """The records without those that list a file again, and which these are: their id -> the first one's."""
        first: dict[str, dict[str, Any]] = {}
        aliases = {}
        corners: dict[int, Any] = {}
        for record, (*_, corner) in zip(images, self.lists["images"], strict=True):
            kept = first.setdefault(record["file_name"], record)
            if corners.setdefault(kept["id"], corner) != corner:
                raise ValueError(
                    f"{self.where}: images must be whole files; {shown(record['file_name'])} is listed by its windows "
                    "(`corner`): give the annotations of whole images, and cut them with tools/make_tiles.py"
                )
            if kept is not record:
                aliases[record["id"]] = kept["id"]
                kind = "image files listed more than once (joined)"
                self.problems.add(kind, record["file_name"])
        return list(first.values()) if aliases else images, aliases


def is_region_class(name: str) -> bool:
    """Whether a category of this name holds regions that belong to no class."""
    return re.sub("[-_]", " ", name.lower()) == REGIONS


def _is_size(height: Any, width: Any) -> bool:
    return type(height) is int and type(width) is int and 0 < height <= MAX_SIDE and 0 < width <= MAX_SIDE


def fields_of(key: str) -> tuple[str, ...]:
    """The fields of the records of a list that are read."""
    return {"images": (*IMAGE_KEYS, URL), "categories": CATEGORY_KEYS, "annotations": KEYS}[key]


def content_of(coco: Any, where: str, folder: str | Path | None = None, lenient: bool = False) -> Content:
    """A data set in COCO's form, checked; ``folder`` is that of the images. See ``Collector``.

    ``notes`` of the data set, if there are any, are what its reader noted; ``upright`` is that of ``Content``.
    """
    check_structure(coco, where)
    collector = Collector(where, folder, lenient)
    for key in ("images", "categories", "annotations"):
        if isinstance(coco[key], ObjectTable):
            collector.tables.append(coco[key])
        else:
            fields = fields_of(key)
            collector.add(key, {name: [entry.get(name, MISSING) for entry in coco[key]] for name in fields})
    collector.problems.update(coco.get("notes") or {})
    return collector.content()._replace(upright=coco.get("upright"))


def inner_name(folder: str | Path, name: str) -> str | None:
    """The path below ``folder`` of a file that is given by an absolute path or by one with "..": None if outside."""
    for base in {os.path.abspath(folder), os.path.realpath(folder)}:
        path = os.path.normpath(os.path.join(base, name))
        if path.startswith(base.rstrip("/") + "/"):
            return os.path.relpath(path, base)
    return None
