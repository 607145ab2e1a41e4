"""Pascal VOC's XML files, one per image.

VOC counts pixels from 1, and the pixels at both ends belong to a box. Here the left and upper edge move by one, which
gives the IoU of VOC's own development kit.
"""

import contextlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

from lib.data.formats.coco_json import IGNORED, CocoBuilder
from lib.data.formats.content import Record, is_region_class
from lib.data.formats.folder import (
    files_below,
    image_ids,
    images_beside,
    inner_folder,
    number_text,
    pages,
    stem_of,
    with_regions_apart,
)
from lib.data.formats.image_names import ImageNames
from lib.data.formats.image_sets import is_image_set, listed_files, voc_root
from lib.data.formats.listing import SPELLINGS
from lib.data.formats.partners import are_left_out, measured
from lib.data.formats.xml_file import parse_xml, root_tag
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
    of_id = dict(zip(image_ids([path.stem for path in paths]), paths, strict=True))
    files = (XmlFile(*pair, stem=stem_of(texts, pair[1])) for pair in of_id.items())
    coco = read_files(files, names, images, upright, notes)
    strays = {record["id"] for record in coco["images"] if names.names and record["file_name"] not in names.names}
    missing = [of_id[key] for key in sorted(strays)]
    if images and missing and are_left_out(missing, len(paths), len(names.names), images, notes):
        coco["images"] = [record for record in coco["images"] if record["id"] not in strays]
        coco["annotations"] = [entry for entry in coco["annotations"] if entry["image_id"] not in strays]
    if not is_image_set(folder):
        known = {*(record["file_name"] for record in coco["images"]), *names.unreadable}
        left_out = sorted(names.names - known)
        notes.add("images without an XML file (left out)", *left_out)
    notes.add(SPELLINGS, *(f"{told}: {found}" for told, found in names.spellings.items()))
    notes.add("XML files whose image lies in another folder (the only image of its name)", *names.elsewhere)
    other = "XML files whose `filename` names another image (the image with the XML's own name is used)"
    notes.add(other, *names.others)
    return {**coco, "notes": notes}


def read_files(
    files: Iterable[XmlFile],
    found: ImageNames | None = None,
    images: Path | None = None,
    upright: bool = False,
    notes: Problems | None = None,
) -> dict[str, Any]:
    """XML files in COCO form. Categories are VOC's, or, where a file has another one, those that occur.

    Sizes that the XML does not tell are those of the files in ``images``; files that cannot be read are left out.
    """
    builder, names, found, notes = CocoBuilder(), [], found or ImageNames(None), Problems() if notes is None else notes
    for file in files:
        with reading(file.path):
            root = parse_xml(file.path)
            if root.tag != "annotation":
                raise ValueError(f"{file.path} must be an annotation of VOC; its element is {one_line(root.tag)}")
            name = file.name or found.find(file.stem or file.path.stem, (root.findtext("filename") or "").strip())
            size = _told_size(root, file.path)
            if size is None and images and name in found.names:
                size = measured(images / name, name, upright, notes)
                if size is None:
                    found.unreadable.append(name)
                    continue
            builder.add_image(file.image_id, name, size)
            for element in root.iter("object"):
                names.append(text((element.findtext("name") or "").strip(), f"{file.path}: object/name"))
                _add_object(builder, file.image_id, element, file.path)
    known = NAMES if set(names) <= set(NAMES) else sorted(set(names))
    numbers = {name: index for index, name in enumerate(known, 1)}
    for annotation, name in zip(builder.annotations, names, strict=True):
        annotation["category_id"] = numbers[name]
    return builder.content(dict(enumerate(known, 1)))


def _told_size(root: ElementTree.Element, path: Path) -> tuple[int, int] | None:
    """(height, width) that the XML tells; None: one of them is 0 or missing."""
    texts = [(root.findtext(f"size/{key}") or "0").strip() or "0" for key in ("height", "width")]
    height, width = (
        whole(value, f"{path}: size/{key}", 0, MAX_SIDE) for value, key in zip(texts, ("height", "width"), strict=True)
    )
    return (height, width) if height and width else None


def _add_object(builder: CocoBuilder, image_id: int, element: ElementTree.Element, path: Path) -> None:
    """Adds box, area and flags of an object; its category is not known yet."""
    if element.find("bndbox") is None and element.find("robndbox") is not None:
        advice = "oriented boxes are not read, so give the folder of the horizontal ones"
        raise ValueError(f"{path} must have a bndbox for each object; got a robndbox: {advice}")
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
    _add(element, "difficult", int(is_region_class(name) or any(annotation.get(key) for key in IGNORED)))
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
