"""Pascal VOC's XML files, one an image.

VOC counts pixels from 1 and both ends of a box belong to it; here the left and upper edge move by one, after
which IoU is that of VOC's own kit. XML from strangers is read without document types and entities.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.parsers import expat

from lib.data.formats.folder import annotations_by_image, image_ids, number_text, output_files

NAMES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *(
        "diningtable",
        "dog",
        "horse",
        "motorbike",
        "person",
        "pottedplant",
        "sheep",
        "sofa",
        "train",
        "tvmonitor",
    ),
)
_FLAGS = ("difficult", "truncated", "occluded", "iscrowd", "ignore", "ignored_region")


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
        raise ValueError(
            f"{path} must be an XML file; it is broken ({error}): write or fetch it again"
        ) from None
    return builder.close()


def read_voc(folder: Path, images: Path | None = None) -> dict[str, Any]:
    """A folder of XML files, or a devkit's ``VOC2007`` above ``Annotations``, in COCO form.

    ``images`` is not needed: the XML tells names and sizes.
    """
    folder = folder / "Annotations" if (folder / "Annotations").is_dir() else folder
    paths = sorted(folder.rglob("*.xml"))
    ids = image_ids([path.stem for path in paths])
    return read_files([(image_id, path, None) for image_id, path in zip(ids, paths, strict=True)])


def read_files(files: Iterable[tuple[int, Path, str | None]]) -> dict[str, Any]:
    """XML files in COCO form, each with the id of its image and its file name; None: the name that it tells."""
    records, annotations, names = [], [], []
    for image_id, path, name in files:
        root = parse_xml(path)
        height, width = (_number(root, f"size/{key}", path) for key in ("height", "width"))
        name = name or root.findtext("filename") or f"{path.stem}.jpg"
        records.append({"id": image_id, "file_name": name, "height": int(height), "width": int(width)})
        for element in root.iter("object"):
            names.append((element.findtext("name") or "").strip())
            annotations.append({"id": len(annotations) + 1, "image_id": image_id, **_object(element, path)})
    known = NAMES if set(names) <= set(NAMES) else sorted(set(names))
    for annotation, name in zip(annotations, names, strict=True):
        annotation["category_id"] = known.index(name) + 1
    categories = [{"id": index, "name": name} for index, name in enumerate(known, 1)]
    return {"images": records, "annotations": annotations, "categories": categories}


def _object(element: ElementTree.Element, path: Path) -> dict[str, Any]:
    """Box, area and flags of an object."""
    x1, y1, x2, y2 = (_number(element, f"bndbox/{key}", path) for key in ("xmin", "ymin", "xmax", "ymax"))
    box = [x1 - 1, y1 - 1, x2 - x1 + 1, y2 - y1 + 1]
    flags = {key: int(float(element.findtext(key) or 0)) for key in _FLAGS if element.find(key) is not None}
    area = element.find("area")
    return {
        "bbox": box,
        "area": box[2] * box[3] if area is None else _number(element, "area", path),
        "iscrowd": 0,
        **flags,
    }


def _number(element: ElementTree.Element, key: str, path: Path) -> float:
    text = element.findtext(key)
    try:
        value = float(text)
    except (TypeError, ValueError):
        raise ValueError(f"{path} must have a number at {key}; got {text!r}: mend the file") from None
    return int(value) if value.is_integer() else value


def write_voc(coco: Mapping[str, Any], folder: Path) -> None:
    """``Annotations/*.xml``. Flags and areas that VOC does not know are written as further elements."""
    names = {category["id"]: str(category["name"]) for category in coco["categories"]}
    grouped = annotations_by_image(coco)
    for record, path in output_files(folder / "Annotations", coco["images"], ".xml"):
        root = ElementTree.Element("annotation")
        _add(root, "filename", record["file_name"])
        size = ElementTree.SubElement(root, "size")
        for key, value in (("width", record.get("width")), ("height", record.get("height")), ("depth", 3)):
            _add(size, key, "" if value is None else number_text(value))
        for annotation in grouped[record["id"]]:
            _add_object(root, annotation, names[annotation["category_id"]])
        ElementTree.indent(root)
        ElementTree.ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)


def _add_object(root: ElementTree.Element, annotation: Mapping[str, Any], name: str) -> None:
    element = ElementTree.SubElement(root, "object")
    _add(element, "name", name)
    for key in _FLAGS:
        if annotation.get(key) or key == "difficult":
            _add(element, key, number_text(annotation.get(key, 0)))
    x, y, width, height = annotation["bbox"]
    if annotation.get("area") not in (None, width * height):
        _add(element, "area", number_text(annotation["area"]))
    box = ElementTree.SubElement(element, "bndbox")
    for key, value in (("xmin", x + 1), ("ymin", y + 1), ("xmax", x + width), ("ymax", y + height)):
        _add(box, key, number_text(value))


def _add(parent: ElementTree.Element, key: str, text: str) -> None:
    ElementTree.SubElement(parent, key).text = str(text)
