"""COCO's JSON files: data sets and detections."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from lib.data.formats.coco_stream import NotStreamed, stream_coco
from lib.data.formats.content import Collector, Content, Record, content_of
from lib.data.formats.joined import repeats
from lib.data.formats.structure import OTHER_JSON, check_structure
from lib.utils.fields import first_few, reading
from lib.utils.files import write_json
from lib.utils.reading import read_json
from lib.utils.runtime import paused_gc

log = logging.getLogger(__name__)
# Flags of regions where neither an object nor none is learned
IGNORED = ("iscrowd", "ignore", "difficult", "uncertain", "ignored_region")


class CocoBuilder:
    """Collects a data set in COCO's form."""

    def __init__(self) -> None:
        self.images: list[dict[str, Any]] = []
        self.annotations: list[dict[str, Any]] = []

    def add_image(self, image_id: int, file_name: str, size: tuple[int, int] | None) -> None:
        """Adds an image of ``size`` (height, width); None: unknown."""
        known = {} if size is None else {"height": size[0], "width": size[1]}
        self.images.append({"id": image_id, "file_name": file_name, **known})

    def add_object(self, image_id: int, category_id: int, box: Sequence[float], **fields: Any) -> None:
        """Adds an object by its box (x, y, width, height) in pixels; its area is the box's unless given."""
        ids = {"id": len(self.annotations) + 1, "image_id": image_id, "category_id": category_id}
        defaults = {"bbox": list(box), "area": box[2] * box[3], "iscrowd": 0}
        self.annotations.append({**ids, **defaults, **fields})

    def content(self, names: Mapping[int, str]) -> dict[str, Any]:
        """The data set, with the categories that ``names`` (id -> name) tells."""
        categories = [{"id": key, "name": name} for key, name in names.items()]
        return {"images": self.images, "annotations": self.annotations, "categories": categories}


def is_coco(path: Path) -> bool:
    """Whether a path can be that of a COCO JSON file: by its name, or by its first character."""
    if path.suffix == ".json" or not path.is_file():
        return path.suffix == ".json"
    with path.open("rb") as file:
        begin = file.read(2**12).lstrip(b"\xef\xbb\xbf\xfe\xff\0 \t\r\n")  # in any encoding of Unicode
    return begin.startswith((b"{", b"["))


def read_coco(path: Path, images: Path | None = None, split: str = "train", upright: bool = True) -> dict[str, Any]:
    """The data set of a COCO JSON file, as it is; nothing else is needed."""
    content = read_json(path, OTHER_JSON)
    check_structure(content, str(path))
    return content  # type: ignore[no-any-return]


def open_coco(path: Path, images: Path | None = None, lenient: bool = False) -> Content:
    """The data set of a COCO JSON file, checked; see ``Collector``. It costs little memory, whatever its size."""
    collector = Collector(str(path), images, lenient)
    try:
        with paused_gc():
            stream_coco(path, collector)
    except NotStreamed:  # broken, or written in an unusual way: the slow reader finds out
        return content_of(read_json(path, OTHER_JSON), str(path), images, lenient)
    return collector.content()


def write_coco(coco: Record, path: Path) -> None:
    """Writes a data set as a COCO JSON file."""
    write_json(path, coco, indent=None)


def read_results(path: str | Path, coco: Record) -> Any:
    """The content of a file of detections, usually a list of COCO results, on a data set in COCO's form.

    ``image_id`` may be the name of an image file, with or without folder and suffix, ``category_id`` that of a
    class: they are replaced by the ids. Detections of an image record that was joined with another of the same file
    count for that one; those that both have count once.
    """
    with reading(path):
        results = read_json(path, OTHER_JSON)
        if not isinstance(results, list):
            return results
        files = [(record["id"], PurePosixPath(str(record["file_name"]))) for record in coco["images"]]
        images = [(key, {str(n), n.name, str(n.parent / n.stem), n.stem}) for key, n in files]
        classes = [(category["id"], {str(category["name"])}) for category in coco["categories"]]
        named = _with_ids(_with_ids(results, "image_id", images, path), "category_id", classes, path)
        return _of_joined(named, coco.get("aliases") or {})


def _with_ids(results: list[Any], key: str, named: list[tuple[int, set[str]]], path: str | Path) -> list[Any]:
    """The results with an id for each name at ``key``. A name that two things share stands for neither."""

    def is_named(entry: Any) -> bool:
        return isinstance(entry, Mapping) and isinstance(entry.get(key), str)

    if not any(map(is_named, results)):
        return results
    counts = Counter(name for _, names in named for name in names)
    ids = {name: number for number, names in named for name in names if counts[name] == 1}
    known = {number for number, _ in named}

    def number_of(entry: Any) -> Any:
        name = entry[key]
        number = ids.get(name, int(name) if name.isdecimal() and len(name) < 20 else None)
        return number if name in ids or number in known else None

    if unknown := sorted({entry[key] for entry in results if is_named(entry) and number_of(entry) is None}):
        raise ValueError(
            f"{key} of each detection in {path} must be a number or a name of the ground truth; got "
            f"{first_few(unknown)} ({len(unknown)} unknown names): choose the file of the same data set and split"
        )
    return [{**entry, key: number_of(entry)} if is_named(entry) else entry for entry in results]


def _of_joined(results: list[Any], aliases: Mapping[int, int]) -> list[Any]:
    """The results with the kept image id in place of that of a record that was joined with it.

    A detector that saw both records found each object twice: what another record of the file has too is left out.
    """
    shared = {*aliases, *aliases.values()}
    ids = [entry.get("image_id") if isinstance(entry, Mapping) else None for entry in results]
    rows = [row for row, value in enumerate(ids) if isinstance(value, int) and value in shared]
    records: list[int] = [results[row]["image_id"] for row in rows]
    files = [aliases.get(record, record) for record in records]
    classes = [str(results[row].get("category_id")) for row in rows]
    left_out = {rows[place] for place in repeats(records, files, classes, [results[row].get("bbox") for row in rows])}
    kept_ids = dict(zip(rows, files, strict=True))
    if left_out:
        log.warning("%d detections are left out, as another id of the same image file has them too", len(left_out))
    return [
        {**entry, "image_id": kept_ids[row]} if row in kept_ids else entry
        for row, entry in enumerate(results)
        if row not in left_out
    ]
