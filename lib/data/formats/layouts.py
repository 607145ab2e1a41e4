"""Public data sets by name, as their official archives unpack."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from lib.data.formats.coco_json import read_coco
from lib.data.formats.voc import XmlFile, read_files
from lib.utils.fields import first_few
from lib.utils.lookup import lookup

LARGEST_TO_COUNT = 2**25  # bytes; the published annotations of COCO's training sets are ten times as large


class Part(NamedTuple):
    """A set of images and their annotations, by their paths below the data set's root, and the archives of the two."""

    images: str
    annotations: str  # a COCO JSON file or a folder of VOC XML
    archives: tuple[str, str]
    num_images: int  # as published
    image_set: str = ""  # VOC's list of the images that count; empty: all of the annotations

    @property
    def root(self) -> str:
        """The data set's usual root."""
        return "data/voc" if self.image_set else "data/coco"

    @property
    def num_classes(self) -> int:
        """Classes, without background."""
        return 20 if self.image_set else 80


class Split(NamedTuple):
    """The images' folder of a split, and its annotations: a COCO JSON file, or content in COCO's form."""

    images: Path
    annotations: Path | dict[str, Any]


def _coco(year: int, name: str, num_images: int, images: str | None = None) -> Part:
    folder = f"{images or name}{year}"
    archives = (f"{folder}.zip", f"annotations_trainval{year}.zip")
    return Part(folder, f"annotations/instances_{name}{year}.json", archives, num_images)


def _voc(year: int, image_set: str, num_images: int, archive: str) -> Part:
    folder = f"{DEVKIT}VOC{year}"
    names = (f"{folder}/JPEGImages", f"{folder}/Annotations")
    return Part(*names, (archive, archive), num_images, f"{folder}/ImageSets/Main/{image_set}.txt")


DEVKIT = "VOCdevkit/"  # the folder that VOC's archives unpack to; it may be left out
_VOC07, _VOC12 = "VOCtrainval_06-Nov-2007.tar", "VOCtrainval_11-May-2012.tar"

# Minival and its rest are the halves of COCO's val2014 that older papers test on and train with.
SETS = {
    "coco_2014_train": _coco(2014, "train", 82783),
    "coco_2014_val": _coco(2014, "val", 40504),
    "coco_2014_minival": _coco(2014, "minival", 5000, images="val"),
    "coco_2014_valminusminival": _coco(2014, "valminusminival", 35504, images="val"),
    "coco_2017_train": _coco(2017, "train", 118287),
    "coco_2017_val": _coco(2017, "val", 5000),
    "voc_2007_train": _voc(2007, "train", 2501, _VOC07),
    "voc_2007_val": _voc(2007, "val", 2510, _VOC07),
    "voc_2007_trainval": _voc(2007, "trainval", 5011, _VOC07),
    "voc_2007_test": _voc(2007, "test", 4952, "VOCtest_06-Nov-2007.tar"),
    "voc_2012_train": _voc(2012, "train", 5717, _VOC12),
    "voc_2012_val": _voc(2012, "val", 5823, _VOC12),
    "voc_2012_trainval": _voc(2012, "trainval", 11540, _VOC12),
}

# Layout -> the sets that training and testing join
LAYOUTS: dict[str, dict[str, Sequence[str]]] = {
    "coco2017": {"train": ["coco_2017_train"], "val": ["coco_2017_val"]},
    "coco2014": {"train": ["coco_2014_train"], "val": ["coco_2014_val"]},
    "voc0712": {"train": ["voc_2007_trainval", "voc_2012_trainval"], "val": ["voc_2007_test"]},
    "voc2007": {"train": ["voc_2007_trainval"], "val": ["voc_2007_test"]},
    "voc2012": {"train": ["voc_2012_train"], "val": ["voc_2012_val"]},
}


def parts_of(layout: str | Mapping[str, Sequence[str]], split: str, where: str = "data.layout") -> list[Part]:
    """The sets of a split (train or val): of a row of LAYOUTS, or of ``{train: [names of SETS], val: [...]}``."""
    row = layout if isinstance(layout, Mapping) else lookup(LAYOUTS, layout, where)
    for name, sets in row.items():
        lookup(("train", "val"), name, f"a key of {where}")
        if not isinstance(sets, Sequence) or isinstance(sets, str) or not sets:
            raise TypeError(f"{where}.{name} must be a list of sets, such as [voc_2007_trainval]; got {sets!r}")
    if split not in row:
        raise ValueError(f"{where} must name the sets of {split}; got only {', '.join(row) or 'nothing'}")
    parts = [lookup(SETS, name, f"{where}.{split}") for name in row[split]]
    if len({part.root for part in parts}) > 1:
        raise ValueError(f"{where}.{split} must be sets of one family, COCO or VOC; got {', '.join(row[split])}")
    return parts


def has_split(layout: str | Mapping[str, Sequence[str]] | None, split: str) -> bool:
    """Whether a value of ``data.layout`` has sets for a split."""
    return bool(layout) and (not isinstance(layout, Mapping) or split in layout)


def open_layout(
    layout: str | Mapping[str, Sequence[str]], root: str | Path | None, split: str, where: str = "data.layout"
) -> Split:
    """The sets of a split, joined, whose archives were unpacked in ``root``; None: their usual one."""
    parts = parts_of(layout, split, where)
    root, name = Path(root or parts[0].root), layout if isinstance(layout, str) else ", ".join(layout[split])
    parts = [_as_unpacked(root, part) for part in parts]
    for part in parts:
        _check(root, part.images, part.archives[0], name)
        for path in filter(None, (part.annotations, part.image_set)):
            _check(root, path, part.archives[1], name)
    if parts[0].image_set:
        return Split(root, read_files(file for part in parts for file in _xml_files(root, part)))
    if len(parts) == 1:
        return Split(root / parts[0].images, root / parts[0].annotations)
    return Split(root, _joined(root, parts))


def are_there(names: Sequence[str], root: str | Path) -> bool:
    """Whether the annotations of sets of SETS are in ``root``."""
    parts = parts_of({"train": list(names)}, "train")
    return all((Path(root) / _as_unpacked(Path(root), part).annotations).exists() for part in parts)


def count_images(names: Sequence[str], root: str | Path | None) -> tuple[int, bool]:
    """How many images the sets of SETS have, and whether that was counted; else it is the published number.

    It is counted where all files are there, except in a JSON file that is as large as the published ones.
    """
    parts = parts_of({"train": list(names)}, "train")
    root = Path(root or parts[0].root)
    counts = [_count(root, _as_unpacked(root, part)) for part in parts]
    counted = [count for count in counts if count is not None]
    is_counted = len(counted) == len(parts)
    return sum(counted if is_counted else [part.num_images for part in parts]), is_counted


def _count(root: Path, part: Part) -> int | None:
    """The images of a set whose files are there; None where they are not, or too large to be read twice."""
    path = root / (part.image_set or part.annotations)
    if not path.is_file() or path.stat().st_size > LARGEST_TO_COUNT:
        return None
    return len(_stems(path)) if part.image_set else len(read_coco(path)["images"])


def _as_unpacked(root: Path, part: Part) -> Part:
    """The paths of a set, where the root is VOC's devkit itself, or where COCO's images lie in a folder ``images``."""
    if (root / part.images).is_dir():
        return part
    if (root / "images" / part.images).is_dir():
        return part._replace(images=f"images/{part.images}")
    if not part.image_set or not (root / part.images.removeprefix(DEVKIT)).is_dir():
        return part
    paths = (part.images, part.annotations, part.image_set)
    images, annotations, image_set = (path.removeprefix(DEVKIT) for path in paths)
    return part._replace(images=images, annotations=annotations, image_set=image_set)


def _joined(root: Path, parts: Sequence[Part]) -> dict[str, Any]:
    """The content of several COCO JSON files, the names of their images counted from the root."""
    contents = [read_coco(root / part.annotations) for part in parts]
    images = [
        {**image, "file_name": f"{part.images}/{image['file_name']}"}
        for part, content in zip(parts, contents, strict=True)
        for image in content["images"]
    ]
    names = ", ".join(part.annotations for part in parts)
    if len({image["id"] for image in images}) < len(images):
        raise ValueError(f"{names} must have different images to be joined; some ids of images are in two of them")
    if any(content["categories"] != contents[0]["categories"] for content in contents):
        raise ValueError(f"{names} must have the same categories to be joined; they differ")
    annotations = [annotation for content in contents for annotation in content["annotations"]]
    return {"images": images, "annotations": annotations, "categories": contents[0]["categories"]}


def _check(root: Path, wanted: str, archive: str, name: str) -> None:
    """Raises if a file or folder of the layout is not there."""
    if not (root / wanted).exists():
        held = first_few(sorted(path.name for path in root.iterdir())) if root.is_dir() else ""
        fault = f"it holds {held or 'nothing'}" if root.is_dir() else "there is no such folder"
        own = "name your own data by data.train.annotations and data.val.annotations"
        advice = f"unpack {archive} there, choose data.root, or {own}"
        raise FileNotFoundError(f"data.layout={name} must find {wanted} in {root}; {fault}: {advice}")


def _stems(path: Path) -> list[str]:
    """The first word of each line of a VOC list."""
    return [line.split()[0] for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def _xml_files(root: Path, part: Part) -> Iterator[XmlFile]:
    """The XML files of the images of a VOC set.

    Ids are the digits of the names, such as 2008000002: 2007's six and 2012's ten never meet.
    """
    path, again = root / part.image_set, f"unpack {part.archives[1]} again"
    for stem in _stems(path):
        if not stem.replace("_", "").isdecimal():
            raise ValueError(f"{path} must list images such as 000005 or 2008_000002; got {stem!r}: {again}")
        xml = root / part.annotations / f"{stem}.xml"
        if not xml.is_file():
            raise FileNotFoundError(f"{xml} must exist, as {path.name} lists it; there is no such file: {again}")
        yield XmlFile(int(stem.replace("_", "")), xml, f"{part.images}/{stem}.jpg")
