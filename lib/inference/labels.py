"""Detections as first labels for other tools, CVAT, Label Studio, FiftyOne and Ultralytics, where people correct them.

They are made of ``detections.json`` when it has come to its end, and written whole.
"""

import contextlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any, NamedTuple
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

import yaml

from lib.data.formats.coco_json import CocoBuilder, write_coco
from lib.data.formats.folder import IMAGE_SUFFIXES
from lib.data.header import file_header
from lib.inference.sources import Files, Video, is_video
from lib.inference.tables import JSON
from lib.utils.draw import class_color
from lib.utils.files import new_folder, write_json, write_text
from lib.utils.lookup import lookup

log = logging.getLogger(__name__)
COCO, TASKS, CONFIG, YOLO = "coco.json", "labelstudio.json", "labelstudio.xml", "yolo"
SPLIT = "train"  # CVAT takes YOLO's files only below a split's name
IMAGES = "images"  # Ultralytics has the labels of an image where the last folder of this name is called labels
LOCAL_FILES = "/data/local-files/?d="  # of Label Studio; what follows counts from its document root
FRAME = "frame_{:06d}.png"  # of a video, as CVAT calls it


class Labels(NamedTuple):
    """Which labels are wanted, and of what."""

    formats: tuple[str, ...]  # of FORMATS
    source: Files | Video
    version: str  # of the model, shown by Label Studio


class Labeled(NamedTuple):
    """An image and its objects."""

    name: str  # relative to the folder of the images
    size: tuple[int, int]  # (height, width)
    rows: list[dict[str, Any]]  # as in detections.json, but those of no area


def plan_labels(texts: Sequence[str], folder: Path, source: Files | Video, version: str) -> Labels | None:
    """What ``--save`` asks for, each text with one format or several between commas; None: nothing.

    Raises:
        ValueError, FileExistsError: there is no such format, or the labels have no place.
    """
    formats = tuple(dict.fromkeys(part.strip() for text in texts for part in text.split(",")))
    for name in formats:
        lookup(FORMATS, name, "--save")
    if YOLO in formats:
        if inside := [name for name in source.names if IMAGES in PurePath(name).parts[:-1]]:
            raise ValueError(
                f"--save=yolo needs images that are not below a folder called {IMAGES}, in place of which Ultralytics "
                f"looks for labels; got {inside[0]}: give that folder itself as SOURCE, or take --save=coco"
            )
        stems: dict[str, str] = {}
        for name in filter(_may_be_image, source.names):
            if (other := stems.setdefault(str(PurePath(name).with_suffix("")), name)) != name:
                raise ValueError(
                    f"--save=yolo needs images that differ by more than their suffix; got {other} and {name}: rename "
                    "one, or take --save=coco"
                )
        if (folder / YOLO).is_dir() and any((folder / YOLO).iterdir()):
            raise FileExistsError(
                f"--save=yolo needs a new folder; got {folder / YOLO}, which may hold corrected labels: move it"
            )
    return Labels(formats, source, version) if formats else None


def write_labels(folder: Path, names: Sequence[str], labels: Labels) -> None:
    """Writes the labels beside the ``detections.json`` of a folder; ``names`` are those of label 1, 2, ..."""
    for name in labels.formats:
        FORMATS[name](folder, names, labels)


def _images(folder: Path, source: Files | Video) -> Iterator[Labeled]:
    """The images of detections.json, one a line."""
    with (folder / JSON).open(encoding="utf-8") as lines:
        for line in lines:
            if not line.startswith("{"):
                continue
            entry = json.loads(line.rstrip().removesuffix(","))
            rows = [
                row for row in entry["detections"] if row["box"][2] > row["box"][0] and row["box"][3] > row["box"][1]
            ]
            name = PurePath(entry["file"]).as_posix()
            if isinstance(source, Video):
                name = FRAME.format(entry["frame"])
            elif is_video(name):
                name = f"{name}/{FRAME.format(entry['frame'])}"
            yield Labeled(name, (entry["height"], entry["width"]), rows)


def _may_be_image(name: str) -> bool:
    """Whether a file may be an image by its suffix, not one that lies beside images, such as a.xml or a.tfw."""
    suffix = PurePath(name).suffix.lower()
    return suffix == "" or suffix in IMAGE_SUFFIXES


def _xywh(row: Mapping[str, Any]) -> list[float]:
    x1, y1, x2, y2 = row["box"]
    return [x1, y1, round(x2 - x1, 2), round(y2 - y1, 2)]


def _write_coco(folder: Path, names: Sequence[str], labels: Labels) -> None:
    """A data set in COCO's form whose annotations have scores, and tracks if there are some."""
    builder = CocoBuilder()
    for number, image in enumerate(_images(folder, labels.source), 1):
        file = labels.source.folder / image.name if isinstance(labels.source, Files) else None
        header = file_header(file) if file and file.is_file() else None
        builder.add_image(number, image.name, header.size_to_tell(image.size, True) if header else image.size)
        for row in image.rows:
            more = {"track_id": row["track"]} if "track" in row else {}
            builder.add_object(number, row["label"], _xywh(row), score=row["score"], segmentation=[], **more)
    write_coco(builder.content(dict(enumerate(names, 1))), folder / COCO)


def _write_yolo(folder: Path, names: Sequence[str], labels: Labels) -> None:
    """A folder with data.yaml, a list of the images, and a text file for each, without scores: nobody reads those."""
    with new_folder(folder / YOLO) as root:
        listed = []
        for image in _images(folder, labels.source):
            path = root / "labels" / SPLIT / PurePath(image.name).with_suffix(".txt")
            if path.exists():
                log.warning("--save=yolo leaves out %s: one that differs only in its suffix has its labels", image.name)
                continue
            height, width = image.size
            lines = []
            for row in image.rows:
                x1, y1, x2, y2 = row["box"]
                values = ((x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height)
                lines.append(" ".join([str(row["label"] - 1), *(f"{value:.7g}" for value in values)]) + "\n")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(lines), encoding="utf-8")
            listed.append(f"./{IMAGES}/{SPLIT}/{image.name}\n")
        (root / f"{SPLIT}.txt").write_text("".join(listed), encoding="utf-8")
        text = yaml.safe_dump(
            {SPLIT: f"{SPLIT}.txt", "names": dict(enumerate(names))}, sort_keys=False, allow_unicode=True
        )
        (root / "data.yaml").write_text(text, encoding="utf-8")
        if isinstance(labels.source, Files):
            (root / IMAGES).mkdir()
            with contextlib.suppress(OSError):  # there are disks without links: then the user copies the images
                (root / IMAGES / SPLIT).symlink_to(labels.source.folder, target_is_directory=True)


def _write_tasks(folder: Path, names: Sequence[str], labels: Labels) -> None:
    """Label Studio's tasks with predictions, and the configuration of a project that takes them."""
    source, tasks = labels.source, []
    above = source.folder.name if isinstance(source, Files) else PurePath(source.name).stem
    for number, image in enumerate(_images(folder, source), 1):
        result = [_region(f"{number}-{place}", row, image.size) for place, row in enumerate(image.rows, 1)]
        score = sum(row["score"] for row in image.rows) / max(len(image.rows), 1)
        prediction = {"model_version": labels.version, "score": round(score, 4), "result": result}
        data = {"image": LOCAL_FILES + quote(f"{above}/{image.name}")}
        tasks.append({"data": data, "predictions": [prediction]})
    write_json(folder / TASKS, tasks)
    colors = [class_color(label)[::-1] for label in range(1, len(names) + 1)]
    choices = [
        f'    <Label value={quoteattr(name)} background="#{bytes(color).hex()}"/>\n'
        for name, color in zip(names, colors, strict=True)
    ]
    write_text(
        folder / CONFIG,
        '<View>\n  <Image name="image" value="$image"/>\n  <RectangleLabels name="label" toName="image">\n'
        + "".join(choices)
        + "  </RectangleLabels>\n</View>\n",
    )


def _region(key: str, row: Mapping[str, Any], size: tuple[int, int]) -> dict[str, Any]:
    """A rectangle of Label Studio, in percent of the image."""
    (height, width), (x, y, w, h) = size, _xywh(row)
    value = {"x": 100 * x / width, "y": 100 * y / height, "width": 100 * w / width, "height": 100 * h / height}
    return {
        "id": key,
        "type": "rectanglelabels",
        "from_name": "label",
        "to_name": "image",
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
        "score": row["score"],
        "value": {**value, "rotation": 0, "rectanglelabels": [row["name"]]},
    }


FORMATS: dict[str, Callable[[Path, Sequence[str], Labels], None]] = {
    "coco": _write_coco,
    "yolo": _write_yolo,
    "labelstudio": _write_tasks,
}
