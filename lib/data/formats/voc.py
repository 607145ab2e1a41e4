"""Pascal VOC's XML files, one per image.

VOC counts pixels from 1, and the pixels at both ends belong to a box. Here the left and upper edge move by one, which
gives the IoU of VOC's own development kit.
"""

import contextlib
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from xml.etree import ElementTree

from lib.data.formats.coco_json import IGNORED, CocoBuilder
from lib.data.formats.content import Record
from lib.data.formats.folder import (
    IMAGE_SUFFIXES,
    files_below,
    image_ids,
    images_beside,
    inner_folder,
    number_text,
    pages,
    stem_of,
    with_regions_apart,
)
from lib.data.formats.image_sets import is_image_set, listed_files, voc_root
from lib.data.formats.listing import SPELLINGS, Names
from lib.data.formats.xml_file import parse_xml, root_tag
from lib.data.image import image_size
from lib.utils.fields import MAX_SIDE, Problems, flag, number, one_line, reading, text, whole

NAMES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog"),
    *("horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
_FLAGS = ("difficult", "iscrowd", "ignore", "ignored_region")
_DEGREES = ("truncated", "occluded")  # 0 or 1 in VOC, up to 2 in VisDrone


class XmlFile(NamedTuple):
    """An annotation file with the id of its image.

    ``name`` is the image's file, None: to be found by ``stem``, the file's own path without .xml, and what it says.
    """

    image_id: int
    path: Path
    name: str | None = None
    stem: str = ""


def is_voc(path: Path) -> bool:
    """Whether a folder holds XML files of VOC, or a file is one of VOC's lists of images."""
    files = _xml_below(inner_folder(path, "Annotations"))
    return is_image_set(path) or any(root_tag(file) == "annotation" for file in files)


def _xml_below(folder: Path) -> list[Path]:
    """The XML files of a folder and its subfolders, but for those in which GDAL keeps statistics of images."""
    return [path for path in files_below(folder, {".xml"}) if not path.name.lower().endswith(".aux.xml")]


def voc_images(path: Path, split: str = "train") -> Path:
    """The folder of the images beside XML files."""
    return images_beside(voc_root(path), split)


def read_voc(folder: Path, images: Path | None = None, split: str = "train", upright: bool = False) -> dict[str, Any]:
    """A folder of XML files, or a devkit's ``VOC2007`` above ``Annotations``, or one of its lists, in COCO form.

    The images may be missing. Where they are there, an XML file belongs to the image of its own name, whatever
    ``filename`` says; else to that of ``filename``, also without a suffix or with another one. ``upright``: whether
    sizes that the XML does not tell are those of upright pictures.
    """
    texts, notes = inner_folder(voc_root(folder), "Annotations"), Problems()
    paths = _xml_below(texts)
    if is_image_set(folder):
        paths = listed_files(folder, {stem_of(texts, path): path for path in paths}, notes)
    with contextlib.suppress(FileNotFoundError):
        images = images or voc_images(folder, split)
    names = ImageNames(images)
    ids = image_ids([path.stem for path in paths])
    files = (XmlFile(*pair, stem=stem_of(texts, pair[1])) for pair in zip(ids, paths, strict=True))
    coco = read_files(files, names, images, upright)
    if not is_image_set(folder):
        left_out = sorted(names.names.difference(record["file_name"] for record in coco["images"]))
        notes.add("images without an XML file (left out)", *left_out)
    notes.add(SPELLINGS, *(f"{told}: {found}" for told, found in names.spellings.items()))
    notes.add(
        "XML files whose `filename` names another image (the image with the XML's own name is used)", *names.others
    )
    return {**coco, "notes": notes}


class ImageNames:
    """Finds the image of an XML file among the files of a folder; None: no image is there."""

    def __init__(self, folder: Path | None):
        paths = files_below(folder, IMAGE_SUFFIXES) if folder and folder.is_dir() else []
        self.names = {path.relative_to(folder).as_posix() for path in paths} if folder else set()
        self.of_stem: dict[str, list[str]] = {}
        for name in sorted(self.names):
            self.of_stem.setdefault(_stem(name), []).append(name)
        self._stems = Names(self.of_stem)
        self.spellings: dict[str, str] = {}  # stems that are spelled otherwise -> those of the images
        self.others: list[str] = []  # XML files that name another image than their own, though both are there

    def find(self, stem: str, told: str) -> str:
        """The image's file of the XML file ``stem`` (its path without .xml), in which ``filename`` is ``told``."""
        told = PurePosixPath(told.replace("\\", "/")).as_posix() if told else ""
        last, above = PurePosixPath(told).name, PurePosixPath(stem).parent
        places = (told, (above / told).as_posix(), last, (above / last).as_posix()) if told else ()
        own, wanted = self._pick(stem, told), next(filter(None, map(self._named, places)), None)
        if own and wanted and _stem(wanted) != _stem(own):
            self.others.append(f"{stem}.xml names {wanted}")
        if own or wanted or not told:
            return own or wanted or f"{stem}.jpg"
        return (
            told if "/" in told else (above / told).as_posix()
        )  # without any image, it lies in the subfolder of the XML file

    def _named(self, name: str) -> str | None:
        """The image of a name, whose suffix may be missing or another one."""
        return name if name in self.names else self._pick(_stem(name), name) or self._pick(name, name)

    def _pick(self, stem: str, told: str) -> str | None:
        """The image of a stem, with the suffix of ``told`` if there are several."""
        found, suffix = self._stems.find(stem), PurePosixPath(told).suffix
        if found and found != stem:
            self.spellings[stem] = found
        names = self.of_stem[found] if found else []
        return min(names, key=lambda name: PurePosixPath(name).suffix != suffix, default=None)


def _stem(name: str) -> str:
    """A path without its suffix."""
    return PurePosixPath(name).with_suffix("").as_posix() if PurePosixPath(name).name else name


def read_files(
    files: Iterable[XmlFile], found: ImageNames | None = None, images: Path | None = None, upright: bool = False
) -> dict[str, Any]:
    """XML files in COCO form. Categories are VOC's, or, where a file has another one, those that occur.

    Sizes that the XML does not tell are those of the files in ``images``.
    """
    builder, names, found = CocoBuilder(), [], found or ImageNames(None)
    for file in files:
        with reading(file.path):
            root = parse_xml(file.path)
            if root.tag != "annotation":
                raise ValueError(f"{file.path} must be an annotation of VOC; its element is {one_line(root.tag)}")
            name = file.name or found.find(file.stem or file.path.stem, (root.findtext("filename") or "").strip())
            image = images / name if images and name in found.names else None
            builder.add_image(file.image_id, name, _size(root, file.path, image, upright))
            for element in root.iter("object"):
                names.append(text((element.findtext("name") or "").strip(), f"{file.path}: object/name"))
                _add_object(builder, file.image_id, element, file.path)
    known = NAMES if set(names) <= set(NAMES) else sorted(set(names))
    numbers = {name: index for index, name in enumerate(known, 1)}
    for annotation, name in zip(builder.annotations, names, strict=True):
        annotation["category_id"] = numbers[name]
    return builder.content(dict(enumerate(known, 1)))


def _size(root: ElementTree.Element, path: Path, image: Path | None, upright: bool) -> tuple[int, int] | None:
    """(height, width): those of the XML; where these are 0 or missing, the image's; None: unknown."""
    texts = [(root.findtext(f"size/{key}") or "0").strip() or "0" for key in ("height", "width")]
    height, width = (
        whole(value, f"{path}: size/{key}", 0, MAX_SIDE) for value, key in zip(texts, ("height", "width"), strict=True)
    )
    if height and width:
        return height, width
    return None if image is None else image_size(image, upright)


def _add_object(builder: CocoBuilder, image_id: int, element: ElementTree.Element, path: Path) -> None:
    """Adds box, area and flags of an object; its category is not known yet."""
    x1, y1, x2, y2 = (_number(element, f"bndbox/{key}", path) for key in ("xmin", "ymin", "xmax", "ymax"))
    present = [key for key in _FLAGS if element.find(key) is not None]
    fields = {key: flag(element.findtext(key) or "", f"{path}: object/{key}") for key in present}
    for key in _DEGREES:
        if (given := (element.findtext(key) or "").strip()).isdecimal():
            fields[key] = whole(given, f"{path}: object/{key}", 0, 100)
        elif given:
            fields[key] = flag(given, f"{path}: object/{key}")
    if element.find("area") is not None:
        fields["area"] = _number(element, "area", path)
    builder.add_object(image_id, 0, (x1 - 1, y1 - 1, x2 - x1 + 1, y2 - y1 + 1), **fields)


def _number(element: ElementTree.Element, key: str, path: Path) -> Any:
    """The number at ``key``, an int if it is whole."""
    given = element.findtext(key)
    if given is None:
        raise ValueError(f"{path} must have a number at {key}; got none: fix the file")
    value = number(given, f"{path}: {key}")
    return int(value) if value.is_integer() else value


def write_voc(coco: Record, folder: Path) -> None:
    """Writes ``Annotations/*.xml``. Flags and areas that VOC does not know become further elements; what is ignored is
    ``difficult``, too, for programs that do not know them.
    """
    coco = with_regions_apart(coco)
    names = {category["id"]: str(category["name"]) for category in coco["categories"]}
    for page in pages(folder / "Annotations", coco, ".xml"):
        root = ElementTree.Element("annotation")
        _add(root, "filename", page.record["file_name"])
        size = _add(root, "size")
        for key in ("width", "height", "depth"):
            value = 3 if key == "depth" else page.record.get(key)
            _add(size, key, "" if value is None else number_text(value))
        for annotation in page.annotations:
            _write_object(root, annotation, names[annotation["category_id"]])
        ElementTree.indent(root)
        ElementTree.ElementTree(root).write(page.path, encoding="utf-8", xml_declaration=True)


def _write_object(root: ElementTree.Element, annotation: Record, name: str) -> None:
    element = _add(root, "object")
    _add(element, "name", name)
    _add(element, "difficult", int(any(annotation.get(key) for key in IGNORED)))
    for key in (*_FLAGS, *_DEGREES):
        if annotation.get(key) and key != "difficult":
            _add(element, key, number_text(annotation[key]))
    x, y, width, height = annotation["bbox"]
    if annotation.get("area") not in (None, width * height):
        _add(element, "area", number_text(annotation["area"]))
    box = _add(element, "bndbox")
    for key, value in (("xmin", x + 1), ("ymin", y + 1), ("xmax", x + width), ("ymax", y + height)):
        _add(box, key, number_text(value))


def _add(parent: ElementTree.Element, key: str, text: object = None) -> ElementTree.Element:
    element = ElementTree.SubElement(parent, key)
    element.text = None if text is None else str(text)
    return element
