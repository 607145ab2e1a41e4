"""VisDrone's text files: ``x,y,width,height,score,category,truncation,occlusion``, one file an image.

Category 0 marks regions to ignore, whatever the class: they become crowds, so that training and evaluation pass
over them, with the key ``ignored_region``, by which the protocol ``visdrone`` and the writer know them again.
Category 11 ("others") is marked ``ignore``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lib.data.formats.folder import (
    annotations_by_image,
    image_ids,
    image_size,
    images_by_stem,
    number_text,
    output_files,
    read_lines,
)

NAMES = (
    *("pedestrian", "people", "bicycle", "car", "van", "truck"),
    *("tricycle", "awning-tricycle", "bus", "motor", "others"),
)
_REGION, _OTHERS = 0, 11


def read_visdrone(folder: Path, images: Path | None = None) -> dict[str, Any]:
    """A folder of text files, or the one above that holds ``annotations`` and ``images``, in COCO form."""
    texts = folder / "annotations" if (folder / "annotations").is_dir() else folder
    images = images or texts.parent / "images"
    files = images_by_stem(images)
    coco: dict[str, Any] = {
        "images": [],
        "annotations": [],
        "categories": [{"id": index, "name": name} for index, name in enumerate(NAMES, 1)],
    }
    paths = sorted(texts.rglob("*.txt"))
    for image_id, path in zip(image_ids([path.stem for path in paths]), paths, strict=True):
        file = files.get(path.relative_to(texts).with_suffix("").as_posix())
        if file is None:
            raise FileNotFoundError(
                f"the image of {path} must be there; there is none in {images}: name the folder by --images"
            )
        height, width = image_size(file)
        name = file.relative_to(images).as_posix()
        coco["images"].append({"id": image_id, "file_name": name, "height": height, "width": width})
        for where, numbers in read_lines(path, ",", range(8, 9)):
            coco["annotations"].append(_annotation(where, numbers, image_id, len(coco["annotations"]) + 1))
    return coco


def _annotation(where: str, numbers: list[float], image_id: int, annotation_id: int) -> dict[str, Any]:
    """One line as an annotation."""
    x, y, width, height, _, category, truncated, occluded = numbers
    if category not in range(len(NAMES) + 1):
        raise ValueError(f"{where}: the category must be 0 to {len(NAMES)}; got {category:g}: mend the line")
    is_region = category == _REGION
    return {
        "id": annotation_id,
        "image_id": image_id,
        "category_id": 1 if is_region else int(category),
        "bbox": [x, y, width, height],
        "area": width * height,
        "iscrowd": int(is_region),
        "truncated": int(truncated),
        "occluded": int(occluded),
        **({"ignored_region": 1} if is_region else {"ignore": 1} if category == _OTHERS else {}),
    }


def write_visdrone(coco: Mapping[str, Any], folder: Path) -> None:
    """One text file an image in ``folder/annotations``. Classes must be VisDrone's, by name."""
    numbers = {"ignored regions": _REGION} | {name: index for index, name in enumerate(NAMES, 1)}
    names = {
        category["id"]: str(category["name"]).lower().replace("_", "-") for category in coco["categories"]
    }
    unknown = sorted({names[a["category_id"]] for a in coco["annotations"]} - set(numbers))
    if unknown:
        raise ValueError(
            f"classes of VisDrone are {', '.join(NAMES)}; got {', '.join(unknown)}: choose another format"
        )
    grouped = annotations_by_image(coco)
    for record, path in output_files(folder / "annotations", coco["images"], ".txt"):
        lines = []
        for annotation in grouped[record["id"]]:
            number = (
                _REGION if annotation.get("ignored_region") else numbers[names[annotation["category_id"]]]
            )
            score = int(number not in (_REGION, _OTHERS))
            rest = (score, number, annotation.get("truncated", 0), annotation.get("occluded", 0))
            lines.append(",".join(map(number_text, (*annotation["bbox"], *rest))) + "\n")
        path.write_text("".join(lines), encoding="utf-8")
