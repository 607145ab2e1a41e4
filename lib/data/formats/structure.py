"""Whether the content of a JSON file has the form of COCO's."""

from collections.abc import Mapping
from typing import Any

from lib.utils.fields import first_few, shown
from lib.utils.objects import ObjectTable

URL = "coco_url"  # of an image, by which it is named where it has no file_name, as in LVIS
_REQUIRED = {"images": ("id", "file_name"), "annotations": ("image_id", "category_id"), "categories": ("id", "name")}
_OTHERS = "LabelMe, VIA, Label Studio's own, BDD100K, GeoJSON, one object per line"
OTHER_JSON = f"other JSON ({_OTHERS}) is not read: export or convert to COCO"


def check_structure(content: Any, where: str) -> None:
    """Checks that ``content`` has the lists of a COCO file, with the keys that tell their entries apart."""
    lists = ", ".join(_REQUIRED)
    if not isinstance(content, Mapping):
        raise ValueError(
            f"{where} must be a COCO file, a JSON object with {lists}; it is a {type(content).__name__} (a list is "
            f"what detections are stored in): choose the annotation file; {OTHER_JSON}"
        )
    for key, fields in _REQUIRED.items():
        if not isinstance(content.get(key), (list, ObjectTable)):
            fault = f"{key} is missing, the file has {first_few(content) or 'nothing'}"
            if key in content:
                kind = "an object" if isinstance(content[key], Mapping) else shown(content[key])
                fault = f"{key} must be a list; got {kind}"
            advice = f"choose the annotations of a detection set; {OTHER_JSON}"
            raise ValueError(f"{where} must be a COCO file with the lists {lists}; {fault}: {advice}")
        if isinstance(content[key], ObjectTable):
            continue
        for index, entry in enumerate(content[key]):
            known = (*entry, "file_name") if isinstance(entry, Mapping) and key == "images" and URL in entry else entry
            if not isinstance(entry, Mapping) or not all(field in known for field in fields):
                raise ValueError(f"{where}: {key}[{index}] must have {' and '.join(fields)}; got {shown(entry)}")
