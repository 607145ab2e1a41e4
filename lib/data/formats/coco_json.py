"""COCO's JSON files: data sets, read and checked before any image is opened, and detections.

An error of the file as a whole raises. A bad box is one of many, so it is only reported, and can be dropped.
"""

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from lib.utils.files import write_json
from lib.utils.lookup import suggest

Record = Mapping[str, Any]  # an image, an annotation, a category or a whole data set, as COCO has it
NUM_NAMED = 3  # how many of the faulty things a message lists
CLIP_TOLERANCE = 1.0  # pixels by which rounding may lead a box out of its image
IGNORED = ("iscrowd", "ignore", "difficult")  # flags of regions where neither an object nor none is learned
_REQUIRED = {"images": ("id", "file_name"), "annotations": ("image_id", "category_id"), "categories": ("id", "name")}


class Problems(dict[str, list[str]]):
    """What is wrong with a data set and where: kind of problem -> the things that have it."""

    def add(self, kind: str, thing: str) -> None:
        """Notes one more thing with a problem."""
        self.setdefault(kind, []).append(thing)

    def lines(self) -> list[str]:
        """One line for each kind: how many things have it, and the first of them."""
        return [f"{kind}: {len(things)} ({first_few(things)})" for kind, things in self.items()]


class CocoBuilder:
    """Collects a data set in COCO's form."""

    def __init__(self) -> None:
        self.images: list[dict[str, Any]] = []
        self.annotations: list[dict[str, Any]] = []

    def add_image(self, image_id: int, file_name: str, size: tuple[int, int]) -> None:
        """Adds an image of ``size`` (height, width)."""
        self.images.append({"id": image_id, "file_name": file_name, "height": size[0], "width": size[1]})

    def add_object(self, image_id: int, category_id: int, box: Sequence[float], **fields: Any) -> None:
        """Adds an object by its box (x, y, width, height) in pixels; its area is the box's unless given."""
        ids = {"id": len(self.annotations) + 1, "image_id": image_id, "category_id": category_id}
        defaults = {"bbox": list(box), "area": box[2] * box[3], "iscrowd": 0}
        self.annotations.append({**ids, **defaults, **fields})

    def content(self, names: Mapping[int, str]) -> dict[str, Any]:
        """The data set, with the categories that ``names`` (id -> name) tells."""
        categories = [{"id": key, "name": name} for key, name in names.items()]
        return {"images": self.images, "annotations": self.annotations, "categories": categories}


def first_few(things: Iterable[Any]) -> str:
    """The first things by name, and dots if there are more."""
    things = list(things)
    return ", ".join(map(str, things[:NUM_NAMED])) + (", ..." if len(things) > NUM_NAMED else "")


def read_json(path: str | Path) -> Any:
    """The content of a JSON file."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        raise FileNotFoundError(f"annotation file {path} must exist; there is none: check the path") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} must be a JSON file; it is broken ({error}): fetch it again") from None


def is_coco(path: Path) -> bool:
    """Whether a path can be that of a COCO JSON file: any file, whatever its name."""
    return path.suffix == ".json" or path.is_file()


def read_coco(path: Path, images: Path | None = None) -> dict[str, Any]:
    """The data set of a COCO JSON file; ``images`` is not needed."""
    return checked(read_json(path), str(path))


def write_coco(coco: Record, path: Path) -> None:
    """Writes a data set as a COCO JSON file."""
    write_json(path, coco, indent=None)


def check_structure(content: Any, where: str) -> None:
    """Checks that ``content`` has the lists of a COCO file, with the keys that tell their entries apart."""
    lists = ", ".join(_REQUIRED)
    if not isinstance(content, Mapping):
        raise ValueError(
            f"{where} must be a COCO file, a JSON object with {lists}; it is a {type(content).__name__} (a list is "
            "what detections are stored in): choose the annotation file"
        )
    for key, fields in _REQUIRED.items():
        if not isinstance(content.get(key), list):
            raise ValueError(
                f"{where} must be a COCO file with the lists {lists}; {key} is missing, the file has "
                f"{first_few(content) or 'nothing'}: choose the annotations of a detection set"
            )
        for index, entry in enumerate(content[key]):
            if not isinstance(entry, Mapping) or not all(field in entry for field in fields):
                raise ValueError(f"{where}: {key}[{index}] must have {' and '.join(fields)}; got {entry!r:.99}")
    for key in ("images", "categories"):
        ids = [entry["id"] for entry in content[key]]
        if wrong := [value for value in ids if not isinstance(value, int)]:
            raise ValueError(f"{where}: {key} must have whole numbers as ids; got {first_few(map(repr, wrong))}")
        if double := sorted(value for value, count in Counter(ids).items() if count > 1):
            raise ValueError(f"{where}: {key} must have each id once; found twice: {first_few(double)}")
    if not content["images"]:
        raise ValueError(f"{where} must list at least one image; it is an empty data set: choose another")


def checked(content: Any, where: str) -> dict[str, Any]:
    """The content, whose annotations each belong to an image and to a category that it lists; see check_structure."""
    check_structure(content, where)
    for key, listed in (("image_id", "images"), ("category_id", "categories")):
        known = {entry["id"] for entry in content[listed]}
        if stray := [entry[key] for entry in content["annotations"] if entry[key] not in known]:
            raise ValueError(
                f"{where}: each annotation must name one of the file's {listed}; {len(stray)} have an unknown {key} "
                f"({first_few(dict.fromkeys(stray))}): add these {listed} to the file or remove the annotations"
            )
    return content  # type: ignore[no-any-return]


def choose_categories(categories: list[Record], classes: Iterable[str] | None, where: str) -> dict[int, str]:
    """Category id -> name, in the order of the labels 1, 2, ...: that of ``classes``; None: all, by rising id."""
    by_name = {str(entry["name"]): entry["id"] for entry in categories}
    if len(by_name) < len(categories):
        names = first_few(entry["name"] for entry in categories)
        raise ValueError(f"{where}: categories must have different names; got {names}")
    wanted = sorted(by_name, key=lambda name: by_name[name]) if classes is None else list(classes)
    for name in wanted:
        if name not in by_name:
            raise ValueError(
                f"classes must be categories of {where}, which has {', '.join(by_name) or 'none'}; "
                f"got {name!r}{suggest(name, by_name)}"
            )
    if not wanted or len(set(wanted)) < len(wanted):
        raise ValueError(f"classes must be at least one name, each once; got {wanted} for {where}")
    return {by_name[name]: name for name in wanted}


def box_fault(box: Any, height: float, width: float) -> str | None:
    """What makes an xywh box unusable in an image of this size; None if it can be used."""
    is_list = isinstance(box, (list, tuple)) and len(box) == 4
    if not is_list or not all(isinstance(v, (int, float)) and math.isfinite(v) for v in box):
        return "boxes that are not four finite numbers"
    x, y, w, h = box
    if w <= 0 or h <= 0:
        return "boxes of no area"
    if min(x + w, width) <= max(x, 0) or min(y + h, height) <= max(y, 0):
        return "boxes outside their image"
    return None


def leaves_image(box: Sequence[float], height: float, width: float) -> bool:
    """Whether a part of an xywh box is outside the image, by more than rounding explains."""
    x, y, w, h = box
    return max(-x, -y, x + w - width, y + h - height) > CLIP_TOLERANCE


def normalized(annotation: Record) -> dict[str, Any]:
    """The annotation as an evaluator needs it: area and iscrowd filled in, no polygons."""
    result = {key: value for key, value in annotation.items() if key not in ("segmentation", "keypoints")}
    area = annotation.get("area")
    if not isinstance(area, (int, float)) or not math.isfinite(area) or area < 0:
        result["area"] = annotation["bbox"][2] * annotation["bbox"][3]
    result["iscrowd"] = int(bool(annotation.get("iscrowd", 0)))
    return result


def number_annotations(annotations: list[dict[str, Any]]) -> bool:
    """Gives the annotations ids from 1 if one is missing, double or 0; returns whether it did so.

    pycocotools stores the matched id and takes 0 for "no match", so an id 0 would never count as detected.
    """
    ids = [annotation.get("id") for annotation in annotations]
    if all(isinstance(value, int) and value > 0 for value in ids) and len(set(ids)) == len(ids):
        return False
    for index, annotation in enumerate(annotations):
        annotation["id"] = index + 1
    return True


def read_results(path: str | Path, coco: Record) -> Any:
    """The content of a file of detections, usually a list of COCO results, on a data set in COCO's form.

    ``image_id`` may be the name of an image file, with or without folder and suffix, ``category_id`` that of a
    class: they are replaced by the ids.
    """
    results = read_json(path)
    if not isinstance(results, list):
        return results
    files = [(record["id"], PurePosixPath(str(record["file_name"]))) for record in coco["images"]]
    images = [(key, {str(n), n.name, str(n.parent / n.stem), n.stem}) for key, n in files]
    classes = [(category["id"], {str(category["name"])}) for category in coco["categories"]]
    return _with_ids(_with_ids(results, "image_id", images, path), "category_id", classes, path)


def _with_ids(results: list[Any], key: str, named: list[tuple[int, set[str]]], path: str | Path) -> list[Any]:
    """The results with an id for each name at ``key``. A name that two things share stands for neither."""
    counts = Counter(name for _, names in named for name in names)
    ids = {name: number for number, names in named for name in names if counts[name] == 1}

    def is_named(entry: Any) -> bool:
        return isinstance(entry, Mapping) and isinstance(entry.get(key), str)

    if unknown := sorted({entry[key] for entry in results if is_named(entry)} - set(ids)):
        raise ValueError(
            f"{key} of each detection in {path} must be a number or a name of the ground truth; got "
            f"{', '.join(unknown[:5])} ({len(unknown)} unknown names): choose the file of the same data set and split"
        )
    return [{**entry, key: ids[entry[key]]} if is_named(entry) else entry for entry in results]
