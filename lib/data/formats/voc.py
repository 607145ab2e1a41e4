"""Pascal VOC's XML files, one per image.

VOC counts pixels from 1, and the pixels at both ends belong to a box. Here the left and upper edge move by one, which
gives the IoU of VOC's own development kit. Document types and entities are refused, as the XML may come from strangers.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree
from xml.parsers import expat

from lib.data.formats.coco_json import CocoBuilder
from lib.data.formats.folder import image_ids, inner_folder, number_text, pages

NAMES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa"),
    *("train", "tvmonitor"),
)
_FLAGS = ("difficult", "truncated", "occluded", "iscrowd", "ignore", "ignored_region")


class XmlFile(NamedTuple):
    """An annotation file with the id of its image; ``name`` is the image's file, None: as the XML says."""

    image_id: int
    path: Path
    name: str | None = None


def parse_xml(path: Path) -> ElementTree.Element:
    """The root of an XML file that may come from anybody: a document type or an entity is refused."""
    builder = ElementTree.TreeBuilder()
    parser = expat.ParserCreate()

    def refuse(*_: object) -> None:
        raise ValueError(f"{path} must be plain XML; it declares a document type or entities: remove them")

    parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = refuse
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    try:
        parser.Parse(path.read_bytes(), True)
    except expat.ExpatError as error:
        raise ValueError(f"{path} must be an XML file; it is broken ({error}): fetch it again") from None
    return builder.close()


def is_voc(path: Path) -> bool:
    """Whether a folder holds XML files."""
    return next(path.rglob("*.xml"), None) is not None


def read_voc(folder: Path, images: Path | None = None) -> dict[str, Any]:
    """A folder of XML files, or a devkit's ``VOC2007`` above ``Annotations``, in COCO form.

    ``images`` is not needed: the XML tells names and sizes.
    """
    paths = sorted(inner_folder(folder, "Annotations").rglob("*.xml"))
    return read_files(map(XmlFile, image_ids([path.stem for path in paths]), paths))


def read_files(files: Iterable[XmlFile]) -> dict[str, Any]:
    """XML files in COCO form. Categories are VOC's, or, where a file has another one, those that occur."""
    builder, names = CocoBuilder(), []
    for image_id, path, given_name in files:
        root = parse_xml(path)
        height, width = (int(_number(root, f"size/{key}", path)) for key in ("height", "width"))
        name = given_name or root.findtext("filename") or f"{path.stem}.jpg"
        builder.add_image(image_id, name, (height, width))
        for element in root.iter("object"):
            names.append((element.findtext("name") or "").strip())
            _add_object(builder, image_id, element, path)
    known = NAMES if set(names) <= set(NAMES) else sorted(set(names))
    for annotation, name in zip(builder.annotations, names, strict=True):
        annotation["category_id"] = known.index(name) + 1
    return builder.content(dict(enumerate(known, 1)))


def _add_object(builder: CocoBuilder, image_id: int, element: ElementTree.Element, path: Path) -> None:
    """Adds box, area and flags of an object; its category is not known yet."""
    x1, y1, x2, y2 = (_number(element, f"bndbox/{key}", path) for key in ("xmin", "ymin", "xmax", "ymax"))
    fields = {key: int(float(element.findtext(key) or 0)) for key in _FLAGS if element.find(key) is not None}
    if element.find("area") is not None:
        fields["area"] = _number(element, "area", path)
    builder.add_object(image_id, 0, (x1 - 1, y1 - 1, x2 - x1 + 1, y2 - y1 + 1), **fields)


def _number(element: ElementTree.Element, key: str, path: Path) -> Any:
    """The number at ``key``, an int if it is whole."""
    text = element.findtext(key)
    try:
        value = float(text or "")
    except ValueError:
        raise ValueError(f"{path} must have a number at {key}; got {text!r}: fix the file") from None
    return int(value) if value.is_integer() else value


def write_voc(coco: Mapping[str, Any], folder: Path) -> None:
    """Writes ``Annotations/*.xml``. Flags and areas that VOC does not know become further elements."""
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


def _write_object(root: ElementTree.Element, annotation: Mapping[str, Any], name: str) -> None:
    element = _add(root, "object")
    _add(element, "name", name)
    for key in _FLAGS:
        if annotation.get(key) or key == "difficult":
            _add(element, key, number_text(annotation.get(key, 0)))
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
