"""Public data sets by name, as their official archives unpack."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from lib.data.formats.coco_json import first_few
from lib.data.formats.voc import XmlFile, read_files
from lib.utils.lookup import lookup


class Part(NamedTuple):
    """A folder of images and their annotations, all below the data set's root.

    Attributes:
        images, annotations: a folder, and a COCO JSON file or a folder of VOC XML.
        archives: those that ``images`` and ``annotations`` come from.
        image_set: VOC's list of the images that count; empty: all of the annotations.
    """

    images: str
    annotations: str
    archives: tuple[str, str]
    image_set: str = ""


class Layout(NamedTuple):
    """A data set: its usual root, the number of its classes, and the parts that training and testing join."""

    root: str
    num_classes: int
    train: tuple[Part, ...]
    val: tuple[Part, ...]


class Split(NamedTuple):
    """The images' folder of a split, and its annotations: a COCO JSON file, or content in COCO's form."""

    images: Path
    annotations: Path | dict[str, Any]


def _coco(split: str) -> tuple[Part, ...]:
    archives = (f"{split}.zip", f"annotations_trainval{split[-4:]}.zip")
    return (Part(split, f"annotations/instances_{split}.json", archives),)


def _voc(year: int, image_set: str, archive: str) -> Part:
    folder = f"VOCdevkit/VOC{year}"
    names = (f"{folder}/JPEGImages", f"{folder}/Annotations")
    return Part(*names, (archive, archive), f"{folder}/ImageSets/Main/{image_set}.txt")


_VOC07, _VOC12 = "VOCtrainval_06-Nov-2007.tar", "VOCtrainval_11-May-2012.tar"
_TRAIN07, _TRAIN12 = _voc(2007, "trainval", _VOC07), _voc(2012, "trainval", _VOC12)
_TEST07 = _voc(2007, "test", "VOCtest_06-Nov-2007.tar")

LAYOUTS = {
    "coco2017": Layout("data/coco", 80, _coco("train2017"), _coco("val2017")),
    "coco2014": Layout("data/coco", 80, _coco("train2014"), _coco("val2014")),
    "voc0712": Layout("data/voc", 20, (_TRAIN07, _TRAIN12), (_TEST07,)),
    "voc2007": Layout("data/voc", 20, (_TRAIN07,), (_TEST07,)),
    "voc2012": Layout("data/voc", 20, (_voc(2012, "train", _VOC12),), (_voc(2012, "val", _VOC12),)),
}


def open_layout(name: str, root: str | Path | None, split: str) -> Split:
    """A split of a data set whose archives were unpacked.

    Args:
        name: a row of LAYOUTS.
        root: where the archives were unpacked; None: the row's own.
        split: train or val.
    """
    layout: Layout = lookup(LAYOUTS, name, "data.layout")
    root, parts = Path(root or layout.root), layout.train if split == "train" else layout.val
    for part in parts:
        _check(root, part.images, part.archives[0], name)
        for path in (part.annotations, part.image_set):
            _check(root, path, part.archives[1], name)
    if parts[0].image_set:
        return Split(root, read_files(file for part in parts for file in _xml_files(root, part)))
    return Split(root / parts[0].images, root / parts[0].annotations)


def _check(root: Path, wanted: str, archive: str, name: str) -> None:
    """Raises if a file or folder of the layout is not there."""
    if not (root / wanted).exists():
        held = first_few(sorted(path.name for path in root.iterdir())) if root.is_dir() else ""
        fault = f"it holds {held or 'nothing'}" if root.is_dir() else "there is no such folder"
        raise FileNotFoundError(
            f"data.layout={name} must find {wanted} in {root}; {fault}: unpack {archive} there, or choose data.root"
        )


def _xml_files(root: Path, part: Part) -> Iterator[XmlFile]:
    """The XML files of the images of a VOC set.

    Ids are the digits of the names, such as 2008000002: 2007's six and 2012's ten never meet.
    """
    path = root / part.image_set
    for line in filter(str.strip, path.read_text(encoding="utf-8").splitlines()):
        stem = line.split()[0]
        if not stem.replace("_", "").isdecimal():
            raise ValueError(
                f"{path} must list images such as 000005 or 2008_000002; got {stem!r}: unpack {part.archives[1]} again"
            )
        xml = root / part.annotations / f"{stem}.xml"
        if not xml.is_file():
            raise FileNotFoundError(
                f"{xml} must be there, as {path.name} lists it; there is none: unpack {part.archives[1]} again"
            )
        yield XmlFile(int(stem.replace("_", "")), xml, f"{part.images}/{stem}.jpg")
