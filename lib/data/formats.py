"""Data sets as others keep them, read into COCO's form and written from it: no box is lost on the way."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from lib.data.annotations import check_references, check_structure, read_json
from lib.data.visdrone import read_visdrone, write_visdrone
from lib.data.voc import read_voc, write_voc
from lib.data.yolo import read_yolo, write_yolo
from lib.utils.lookup import lookup


class Format(NamedTuple):
    """``read(path, images)`` gives a data set in COCO's form, ``write(coco, path)`` writes one."""

    read: Callable[[Path, Path | None], dict[str, Any]]
    write: Callable[[Mapping[str, Any], Path], None]


def _read_coco(path: Path, images: Path | None = None) -> dict[str, Any]:
    content = read_json(path)
    check_structure(content, str(path))
    check_references(content, str(path))
    return content


def _write_coco(coco: Mapping[str, Any], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(coco), encoding="utf-8")


FORMATS = {
    "coco": Format(_read_coco, _write_coco),
    "voc": Format(read_voc, write_voc),
    "yolo": Format(read_yolo, write_yolo),
    "visdrone": Format(read_visdrone, write_visdrone),
}


def guess_format(path: Path) -> str:
    """The format of a file or folder by what lies there."""
    if path.is_file():
        return "coco"
    if not path.is_dir():
        raise FileNotFoundError(
            f"annotations {path} must be a JSON file or a folder; there is none: check the path"
        )
    if next(path.rglob("*.xml"), None):
        return "voc"
    for text in sorted(path.rglob("*.txt")):
        line = text.read_text(encoding="utf-8", errors="replace").split("\n", 1)[0]
        if line.strip() and text.name != "classes.txt":
            return "visdrone" if "," in line else "yolo"
    raise ValueError(
        f"{path} must hold VOC's *.xml, or YOLO's or VisDrone's *.txt; it holds neither: choose another"
    )


def read_dataset(
    path: str | Path, images: str | Path | None = None, name: str | None = None
) -> dict[str, Any]:
    """A data set in COCO's form.

    Args:
        path: a COCO JSON file, or a folder of VOC, YOLO or VisDrone files.
        images: the folder of the images, where it is not where the format has it; YOLO and VisDrone need it.
        name: the format; None to tell it from the files.
    """
    path = Path(path)
    chosen = lookup(FORMATS, name or guess_format(path), "format")
    coco = chosen.read(path, Path(images) if images else None)
    if not coco["images"]:
        raise ValueError(f"{path} must hold at least one image; it holds none: check the path and the format")
    return coco


def write_dataset(coco: Mapping[str, Any], path: str | Path, name: str) -> None:
    """Writes a data set in COCO's form as a file (coco) or a folder (voc, yolo, visdrone)."""
    lookup(FORMATS, name, "format").write(coco, Path(path))


def read_results(path: str | Path, coco: Mapping[str, Any]) -> Any:
    """The content of a file of detections; images that it names instead of numbering them get their ids.

    Args:
        path: a JSON file, a list of COCO results as a rule.
        coco: the data set; ``image_id`` may be the name of one of its files, with its suffix or without.
    """
    results = read_json(path)
    if not isinstance(results, list) or not any(_names_image(entry) for entry in results):
        return results
    named: dict[str, set[int]] = {}
    for record in coco["images"]:
        name = PurePosixPath(str(record["file_name"]))
        for key in (str(name), name.name, str(name.parent / name.stem), name.stem):
            named.setdefault(key, set()).add(record["id"])
    ids = {
        key: min(found) for key, found in named.items() if len(found) == 1
    }  # a name of two images names none
    unknown = sorted({entry["image_id"] for entry in results if _names_image(entry)} - set(ids))
    if unknown:
        raise ValueError(
            f"image_id of each detection in {path} must be the number or file name of an image of the ground truth; "
            f"got {', '.join(unknown[:5])} ({len(unknown)} such): choose the file of the same data set and split"
        )
    return [
        {**entry, "image_id": ids[entry["image_id"]]} if _names_image(entry) else entry for entry in results
    ]


def _names_image(entry: Any) -> bool:
    return isinstance(entry, Mapping) and isinstance(entry.get("image_id"), str)
