"""Which classes and which boxes of a data set count: the same for training, testing, evaluation and the survey."""

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from lib.data.formats.content import Content, Record, is_region_class
from lib.utils.fields import Problems, first_few, one_line, shown
from lib.utils.lookup import suggest
from lib.utils.objects import ObjectTable, places_of

CLIP_TOLERANCE = 1.0  # pixels by which rounding may lead a box out of its image


def choose_categories(
    categories: list[Record] | list[dict[str, Any]], classes: Iterable[str] | None, where: str, add: bool = False
) -> dict[int, str]:
    """Category id -> name, in the order of the labels 1, 2, ...: that of ``classes``; None: all but ignored regions, by
    rising id.

    If ``add``, classes that are not among the categories get new ids, unless all of them are unknown.
    """
    by_name = {str(entry["name"]): entry["id"] for entry in categories}
    if len(by_name) < len(categories):
        double = [name for name, count in Counter(str(entry["name"]) for entry in categories).items() if count > 1]
        must = f"{where}: categories that have annotations must have different names"
        raise ValueError(f"{must}; got {first_few(double)} twice: rename one of them")
    names = sorted(by_name, key=lambda name: by_name[name])
    wanted = [name for name in names if not is_region_class(name)] if classes is None else list(classes)
    for name in wanted if not (add and set(wanted) & set(by_name)) else ():
        if name not in by_name:
            raise ValueError(
                f"the classes of the model (data.classes) must be among the categories of {where}, "
                f"{one_line(', '.join(by_name) or 'none', 200)}; got {shown(name)}{suggest(name, by_name)}: give the "
                "annotations that the model was trained for, or set data.classes"
            )
    if not wanted or len(set(wanted)) < len(wanted):
        raise ValueError(f"data.classes must list at least one name, and none twice; got {shown(wanted)} for {where}")
    new_ids = (number for number in itertools.count(1) if number not in set(by_name.values()))
    for name in wanted:
        if name not in by_name:
            by_name[name] = next(new_ids)
    return {by_name[name]: name for name in wanted}


def distinct_categories(content: Content, problems: Problems) -> list[Record]:
    """The categories, but for those that have the name of another one and no annotation; these are noted."""
    used = set(content.objects.columns.category_id.tolist())
    by_name: dict[str, list[Record]] = {}
    for entry in content.categories:
        by_name.setdefault(entry["name"], []).append(entry)
    spare: list[int] = []
    for name, entries in by_name.items():
        unused = [entry["id"] for entry in entries if entry["id"] not in used]
        left_out = unused[1:] if len(unused) == len(entries) else unused
        spare += left_out
        problems.add(
            "categories without annotations that have the name of another one (left out)",
            *(f"{name} (id {key})" for key in left_out),
        )
    return [entry for entry in content.categories if entry["id"] not in spare]


def objects_of(content: Content, category_ids: Sequence[int]) -> Content:
    """The data set with only the objects of some categories, and all ignored regions.

    Regions belong to no class; those of other categories get the first of these, so that no choice loses one.
    """
    table = content.objects
    is_wanted = np.isin(table.columns.category_id, category_ids)
    table = table.select(is_wanted | table.has_any(["ignored_region"]))
    ids = table.columns.category_id
    ids = np.where(np.isin(ids, category_ids), ids, category_ids[0])
    return content._replace(objects=ObjectTable(table.columns._replace(category_id=ids), table.unread))


def box_faults(xywh: np.ndarray, sizes: np.ndarray) -> dict[str, np.ndarray]:
    """Kind of fault -> (G,) bool, the xywh boxes (G, 4) with it, in images of sizes (G, 2) (height, width), px.

    A box has one fault at most; those that only leave their image in part are not among them.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        low = np.maximum(xywh[:, :2], 0)
        high = np.minimum(xywh[:, :2] + xywh[:, 2:], sizes[:, ::-1])
        has_no_numbers = ~np.isfinite(xywh).all(axis=1)
        has_no_area = (xywh[:, 2:] <= 0).any(axis=1) & ~has_no_numbers
        is_outside = (high <= low).any(axis=1) & ~has_no_numbers & ~has_no_area
    return {
        "boxes that are not four finite numbers": has_no_numbers,
        "boxes of no area": has_no_area,
        "boxes outside their image": is_outside,
    }


def leaves_image(xywh: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """(G,) bool, whether a part of the box is outside the image, by more than rounding explains."""
    with np.errstate(over="ignore", invalid="ignore"):
        over = xywh[:, :2] + xywh[:, 2:] - sizes[:, ::-1]
        return (np.maximum(-xywh[:, :2], over) > CLIP_TOLERANCE).any(axis=1)


def object_text(content: Content, files: Mapping[int, str], row: int) -> str:
    """An object for messages: its id, its file, its box. ``files`` is image id -> file name."""
    columns = content.objects.columns
    name = files.get(int(columns.image_id[row]), "?")
    return f"annotation {columns.id[row] or '?'} of {name}: {content.objects.box_text(row)}"


def sizes_of(image_ids: np.ndarray, sizes: Mapping[int, tuple[float, float]]) -> np.ndarray:
    """(G, 2) float64 (height, width) of the images of objects; ``sizes`` has that of each image id."""
    table = np.array(list(sizes.values()), np.float64).reshape(-1, 2)
    return table[places_of(list(sizes), image_ids)]


def usable_objects(content: Content, sizes: Mapping[int, tuple[float, float]], problems: Problems) -> np.ndarray:
    """(G,) bool, which objects can be used in images of ``sizes`` (id -> height, width); the others are named."""
    columns = content.objects.columns
    of_object = sizes_of(columns.image_id, sizes)
    files = {record["id"]: record["file_name"] for record in content.images}
    is_bad = np.zeros(len(content.objects), bool)
    for kind, mask in box_faults(columns.xywh, of_object).items():
        problems.add(kind, *(object_text(content, files, row) for row in np.flatnonzero(mask).tolist()))
        is_bad |= mask
    return ~is_bad


def number_objects(table: ObjectTable) -> tuple[ObjectTable, bool]:
    """The objects with ids from 1 if one is missing, double or 0, and whether they were numbered so.

    pycocotools stores the matched id and takes 0 for "no match", so an id 0 would never count as detected.
    """
    ids = np.sort(table.columns.id)
    if (ids > 0).all() and (ids[1:] > ids[:-1]).all():
        return table, False
    return ObjectTable(table.columns._replace(id=np.arange(1, len(ids) + 1)), table.unread), True
