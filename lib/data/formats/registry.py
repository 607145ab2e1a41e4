"""Data sets as others keep them, read into COCO's form and written from it: no box is lost on the way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from lib.data.formats.coco_json import check_references, check_structure, read_json
from lib.data.formats.visdrone import read_visdrone, write_visdrone
from lib.data.formats.voc import read_voc, write_voc
from lib.data.formats.yolo import YAML, read_yolo, write_yolo, yolo_images
from lib.utils.files import write_json
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
    write_json(path, coco, indent=None)


FORMATS = {
    "coco": Format(_read_coco, _write_coco),
    "voc": Format(read_voc, write_voc),
    "yolo": Format(read_yolo, write_yolo),
    "visdrone": Format(read_visdrone, write_visdrone),
}


def guess_format(path: Path) -> str:
    """The format of a file or folder by what lies there."""
    if path.suffix in YAML:
        return "yolo"
    if path.is_file() or path.suffix == ".json":
        return "coco"
    if not path.is_dir():
        raise FileNotFoundError(
            f"annotations {path} must be a COCO JSON file, a data.yaml or a folder; there is none: check the path"
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


def find_images(path: str | Path, split: str) -> Path:
    """The folder of a data set's images, where its format keeps it.

    Args:
        path: a folder of VOC, YOLO or VisDrone files, or a YOLO data.yaml.
        split: train or val, of a data.yaml.
    """
    path = Path(path)
    name = guess_format(path)
    if name == "coco":
        raise ValueError(f"data.{split}.images must be given, the folder of the images of {path}; got null")
    if name == "yolo":
        return yolo_images(path, split)
    above = path.parent if path.name.lower() == "annotations" else path
    for folder in (above / "JPEGImages", above / "images"):
        if folder.is_dir():
            return folder
    raise FileNotFoundError(
        f"{above} must have its images in JPEGImages or images; it has neither: set data.{split}.images"
    )


def read_dataset(
    path: str | Path, images: str | Path | None = None, name: str | None = None
) -> dict[str, Any]:
    """A data set in COCO's form.

    Args:
        path: a COCO JSON file, a folder of VOC, YOLO or VisDrone files, or a YOLO data.yaml.
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
    """The content of a file of detections; images and classes that it names instead of numbering get their ids.

    Args:
        path: a JSON file, a list of COCO results as a rule.
        coco: the data set. ``image_id`` may be the name of an image file, with or without folder and suffix,
            ``category_id`` the name of a class.
    """
    results = read_json(path)
    if not isinstance(results, list):
        return results
    files = [(record["id"], PurePosixPath(str(record["file_name"]))) for record in coco["images"]]
    names = {
        "image_id": [(key, {str(n), n.name, str(n.parent / n.stem), n.stem}) for key, n in files],
        "category_id": [(category["id"], {str(category["name"])}) for category in coco["categories"]],
    }
    for key, named in names.items():
        if any(_is_named(entry, key) for entry in results):
            results = _with_ids(results, key, named, path)
    return results


def _with_ids(results: list[Any], key: str, named: list[tuple[int, set[str]]], path: str | Path) -> list[Any]:
    """The results with a number for each name at ``key``; a name of two things names none."""
    counts = Counter(name for _, names in named for name in names)
    ids = {name: number for number, names in named for name in names if counts[name] == 1}
    given = {
        entry[key] for entry in results if isinstance(entry, Mapping) and isinstance(entry.get(key), str)
    }
    unknown = sorted(given - set(ids))
    if unknown:
        raise ValueError(
            f"{key} of each detection in {path} must be a number or a name of the ground truth; got "
            f"{', '.join(unknown[:5])} ({len(unknown)} unknown names): choose the file of the same data set and split"
        )
    return [{**entry, key: ids[entry[key]]} if _is_named(entry, key) else entry for entry in results]


def _is_named(entry: Any, key: str) -> bool:
    return isinstance(entry, Mapping) and isinstance(entry.get(key), str)
