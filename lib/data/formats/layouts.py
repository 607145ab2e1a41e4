"""Public data sets by name, as their official archives unpack."""

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from lib.data.formats.coco_json import first_few
from lib.data.formats.folder import image_ids
from lib.data.formats.voc import XmlFile, read_files
from lib.utils.lookup import lookup


class Part(NamedTuple):
    """A folder of images and their annotations, all below the data set's root, and the archives of the two."""

    images: str
    annotations: str  # a COCO JSON file or a folder of VOC XML
    archives: tuple[str, str]
    image_set: str = ""  # VOC's list of the images that count; empty: all of the annotations


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
    return _image_set(f"VOCdevkit/VOC{year}", image_set, archive)


def _image_set(folder: str, image_set: str, archive: str = "") -> Part:
    """A list of images in a folder that is laid out as a devkit's VOC2007."""
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
    """The split (train or val) of a row of LAYOUTS whose archives were unpacked in ``root``; None: the row's own."""
    layout: Layout = lookup(LAYOUTS, name, "data.layout")
    root, parts = Path(root or layout.root), layout.train if split == "train" else layout.val
    for part in parts:
        first, second = part.archives
        for path, archive in ((part.images, first), (part.annotations, second), (part.image_set, second)):
            _check(root, path, f"data.layout={name}", f"unpack {archive} there, or choose data.root")
    if parts[0].image_set:
        return _join(root, parts)
    return Split(root / parts[0].images, root / parts[0].annotations)


def open_image_sets(folder: str | Path, sets: Sequence[str], split: str) -> Split:
    """The images that some lists of a VOC devkit name, one set after the other.

    Args:
        folder: the devkit, such as ``data/VOCdevkit``; or with sets without a folder, a folder like its VOC2007.
        sets: such as ``VOC2007/trainval``, which stands for ``VOC2007/ImageSets/Main/trainval.txt``.
        split: train or val, for messages.

    Raises:
        FileNotFoundError, ValueError: a list, or what it names, is not there.
    """
    parts = []
    for name in sets:
        inner, _, image_set = name.rpartition("/")
        parts.append(part := _image_set(inner or ".", image_set))
        for path in part.images, part.annotations, part.image_set:
            _check(Path(folder), path, f"{name} of data.{split}.sets", f"choose data.{split}.annotations or sets")
    return _join(Path(folder), parts)


def _check(root: Path, wanted: str, what: str, advice: str) -> None:
    """Raises if a file or folder of the data set is not there."""
    if not (root / wanted).exists():
        held = first_few(sorted(path.name for path in root.iterdir())) if root.is_dir() else ""
        fault = f"it holds {held or 'nothing'}" if root.is_dir() else "there is no such folder"
        raise FileNotFoundError(f"{what} must find {wanted} in {root}; {fault}: {advice}")


def _join(root: Path, parts: Sequence[Part]) -> Split:
    """The images of some VOC sets. Ids are the digits of the names, such as 2008000002, or else 1, 2, ...; 2007's six
    digits and 2012's ten never meet.
    """
    files = {file: part for part in parts for file in _listed(root, part)}
    ids = image_ids([file.stem.replace("_", "") for file in files])
    names = (f"{PurePosixPath(part.images)}/{file.stem}.jpg" for file, part in files.items())
    return Split(root, read_files(XmlFile(*file) for file in zip(ids, files, names, strict=True)))


def _listed(root: Path, part: Part) -> Iterator[Path]:
    """The XML files of the images that a set lists."""
    path = root / part.image_set
    again = f"unpack {part.archives[1]} again" if part.archives[1] else "check the list"
    for line in filter(str.strip, path.read_text(encoding="utf-8").splitlines()):
        stem = line.split()[0]
        if "/" in stem or "\\" in stem:
            raise ValueError(f"{path} must list images such as 000005 or 2008_000002; got {stem!r}: {again}")
        xml = root / part.annotations / f"{stem}.xml"
        if not xml.is_file():
            raise FileNotFoundError(f"{xml} must be there, as {path.name} lists it; there is none: {again}")
        yield xml
