"""COCO detection annotations: read, checked and mended, before any image is opened.

Errors of the file as a whole raise; a bad box is one of many and is reported, so that it can be dropped.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lib.utils.lookup import suggest

NAMED = 3  # how many of the faulty things a message lists


class Problems(dict[str, list[str]]):
    """What was wrong and where: kind of problem -> the things that had it."""

    def add(self, kind: str, thing: str) -> None:
        """Notes one more thing with a problem."""
        self.setdefault(kind, []).append(thing)

    def lines(self) -> list[str]:
        """One line a kind: how many, and the first of them."""
        return [f"{kind}: {len(things)} ({first_few(things)})" for kind, things in self.items()]


def first_few(things: Iterable[Any]) -> str:
    """The first things by name, and dots if there are more."""
    things = list(things)
    return ", ".join(map(str, things[:NAMED])) + (", ..." if len(things) > NAMED else "")


def read_json(path: str | Path) -> Any:
    """The content of a JSON file."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        raise FileNotFoundError(f"annotation file {path} must exist; there is none: check the path") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{path} must be a JSON file; it is broken ({error}): write or fetch it again"
        ) from None


def check_structure(content: Any, where: str) -> None:
    """Checks that ``content`` has the lists of a COCO file, with entries that can be told apart."""
    if not isinstance(content, Mapping):
        raise ValueError(
            f"{where} must be a COCO file, a JSON object with images, annotations and categories; it is a "
            f"{type(content).__name__} (a list is what detections are stored in): choose the annotation file"
        )
    required = {
        "images": ("id", "file_name"),
        "annotations": ("image_id", "category_id"),
        "categories": ("id", "name"),
    }
    for key, fields in required.items():
        if not isinstance(content.get(key), list):
            raise ValueError(
                f"{where} must be a COCO file with the lists {', '.join(required)}; {key} is missing, the "
                f"file has {first_few(content) or 'nothing'}: choose the annotations of a detection set"
            )
        for index, entry in enumerate(content[key]):
            missing = [field for field in fields if not isinstance(entry, Mapping) or field not in entry]
            if missing:
                raise ValueError(
                    f"{where}: {key}[{index}] must have {' and '.join(fields)}; got {entry!r:.100}"
                )
    for key in ("images", "categories"):
        _check_ids([entry["id"] for entry in content[key]], f"{where}: {key}")
    if not content["images"]:
        raise ValueError(
            f"{where} must list at least one image; it is an empty data set: choose another file"
        )


def _check_ids(ids: list[Any], where: str) -> None:
    """Checks that ids are whole numbers, each there once."""
    wrong = [value for value in ids if not isinstance(value, int)]
    if wrong:
        raise ValueError(f"{where} must have whole numbers as ids; got {first_few(map(repr, wrong))}")
    if len(set(ids)) < len(ids):
        seen: set[int] = set()
        double = sorted({value for value in ids if value in seen or seen.add(value)})
        raise ValueError(f"{where} must have each id once; found twice: {first_few(double)}")


def check_references(content: Mapping[str, Any], where: str) -> None:
    """Checks that each annotation belongs to an image and to a category that the file lists."""
    for key, listed in (("image_id", "images"), ("category_id", "categories")):
        known = {entry["id"] for entry in content[listed]}
        stray = [entry[key] for entry in content["annotations"] if entry[key] not in known]
        if stray:
            raise ValueError(
                f"{where}: each annotation must name one of the file's {listed}; {len(stray)} have an "
                f"unknown {key} ({first_few(dict.fromkeys(stray))}): add these {listed} to the file or "
                "remove the annotations"
            )


def choose_categories(
    categories: list[Mapping[str, Any]], classes: Iterable[str] | None, where: str
) -> dict[int, str]:
    """Category id -> name, in the order of the labels 1, 2, ...

    Args:
        categories: the file's list.
        classes: the names wanted, in the order of the labels; None for all of the file, by rising id.
        where: the file, for messages.
    """
    by_name = {str(entry["name"]): entry["id"] for entry in categories}
    if len(by_name) < len(categories):
        raise ValueError(
            f"{where}: categories must have different names; got {first_few(e['name'] for e in categories)}"
        )
    if classes is None:
        classes = sorted(by_name, key=by_name.get)
    classes = list(classes)
    for name in classes:
        if name not in by_name:
            raise ValueError(
                f"classes must be categories of {where}, which has {', '.join(by_name) or 'none'}; "
                f"got {name!r}{suggest(name, by_name)}"
            )
    if not classes or len(set(classes)) < len(classes):
        raise ValueError(f"classes must be at least one name, each once; got {classes} for {where}")
    return {by_name[name]: name for name in classes}


def box_fault(box: Any, height: int, width: int) -> str | None:
    """What makes an xywh box useless in an image of this size; None if it is good."""
    is_list = isinstance(box, (list, tuple)) and len(box) == 4
    if not is_list or not all(isinstance(v, (int, float)) and math.isfinite(v) for v in box):
        return "boxes that are not four finite numbers"
    x, y, w, h = box
    if w <= 0 or h <= 0:
        return "boxes of no area"
    if min(x + w, width) <= max(x, 0) or min(y + h, height) <= max(y, 0):
        return "boxes outside their image"
    return None


def normalised(annotation: Mapping[str, Any]) -> dict[str, Any]:
    """The annotation as an evaluator needs it: area and iscrowd filled in, no polygons."""
    result = {key: value for key, value in annotation.items() if key not in ("segmentation", "keypoints")}
    area = annotation.get("area")
    if not isinstance(area, (int, float)) or not math.isfinite(area) or area < 0:
        result["area"] = annotation["bbox"][2] * annotation["bbox"][3]
    result["iscrowd"] = int(bool(annotation.get("iscrowd", 0)))
    return result


def number_annotations(annotations: list[dict[str, Any]]) -> bool:
    """Gives the annotations ids from 1 if one is missing, double or 0; whether it did so.

    pycocotools stores the matched id and takes 0 for "no match", so that an id 0 would never count as found.
    """
    ids = [annotation.get("id") for annotation in annotations]
    if all(isinstance(value, int) and value > 0 for value in ids) and len(set(ids)) == len(ids):
        return False
    for index, annotation in enumerate(annotations):
        annotation["id"] = index + 1
    return True
