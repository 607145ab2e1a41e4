"""What is in a data set and what is wrong with it, before anything is trained."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lib.data.formats.coco_json import IGNORED
from lib.data.formats.content import Content, Record, content_of
from lib.data.formats.listing import Listing
from lib.data.formats.usable import distinct_categories, leaves_image, object_text, sizes_of, usable_objects
from lib.data.header import file_header
from lib.data.image import DARK_IMAGES, PAGED_IMAGES, ImageFile, Reading, check_header, image_size
from lib.data.truth import image_sizes
from lib.utils.fields import Problems, reading
from lib.utils.objects import places_of

CROWDS = "crowds, more than half of all boxes (CVAT exports masks as crowds: set iscrowd to 0 if they are objects)"
NOTHING_TO_LEARN = "boxes that are all crowds, ignored, difficult or uncertain (training refuses them)"
SMALL_AREA = 0.001  # share of its box that an object's area has at least, if it is no mistake


class Survey(NamedTuple):
    """The content and the faults of a data set."""

    num_images: int  # images listed
    num_empty: int  # of them without an object
    problems: Problems  # empty if all is well
    classes: dict[str, int]  # name -> number of objects
    boxes: np.ndarray  # (G, 4) float64 xyxy of the usable objects, clipped to their images, px of the original image
    sizes: np.ndarray  # (G, 2) float64 (height, width) of the image of each; infinite: unknown
    areas: np.ndarray  # (G,) float64, px^2, which decide the size range: the annotation's, else the box's
    images: np.ndarray  # (G,) int64, the place of each one's image among the images listed
    has_files: bool  # whether the image files were looked at


def survey(
    data: Content | Record, folder: Path | None = None, open_images: bool = False, way: Reading | None = None
) -> Survey:
    """Looks at every image record and annotation of a data set: read leniently, or in COCO's form.

    Files are checked if their ``folder`` is given: headers only, or with ``open_images`` all, to detect truncated ones.
    ``way`` is how an experiment reads images.
    """
    if not isinstance(data, Content):
        with reading("annotations"):
            data = content_of(data, "annotations", folder, lenient=True)
    problems = Problems(data.problems)
    sizes = image_sizes(data, folder)
    if folder is not None:
        _check_files(data, folder, open_images, way or Reading(), problems)
    _check_ids(data.objects.columns.id, problems)
    categories = distinct_categories(data, problems)
    data = data._replace(objects=data.objects.select(usable_objects(data, sizes, problems)))
    of_object = sizes_of(data.objects.columns.image_id, sizes)
    _check_boxes(data, of_object, problems)
    is_object = ~data.objects.has_any(IGNORED)
    if len(is_object) and not is_object.any():
        problems.add(NOTHING_TO_LEARN, f"all {len(is_object)}")
    columns = data.objects.select(is_object).columns
    classes = _count_classes(categories, columns.category_id, problems)
    boxes, limits = columns.xywh.copy(), of_object[is_object]
    boxes[:, 2:] = np.minimum(boxes[:, :2] + boxes[:, 2:], limits[:, ::-1])
    boxes[:, :2] = np.maximum(boxes[:, :2], 0)
    places = places_of([record["id"] for record in data.images], columns.image_id)
    num_empty = len(data.images) - int(np.count_nonzero(np.bincount(places)))
    return Survey(
        len(data.images), num_empty, problems, classes, boxes, limits, columns.area, places, folder is not None
    )


def _count_classes(categories: Sequence[Record], ids: np.ndarray, problems: Problems) -> dict[str, int]:
    """Name -> number of objects."""
    counts = Counter(ids.tolist())
    classes: Counter[str] = Counter()
    for name, number in Counter(category["name"] for category in categories).items():
        if number > 1:
            problems.add("duplicate class names (training refuses them)", name)
    for category in categories:
        classes[category["name"]] += counts[category["id"]]
    problems.add("classes without an object", *(name for name, count in classes.items() if not count))
    return dict(classes)


def _check_files(data: Content, folder: Path, open_images: bool, way: Reading, problems: Problems) -> None:
    listing = Listing(folder)
    for record in data.images:
        name = record["file_name"]
        if not listing.has(name):
            problems.add("image files that are missing", name)
            continue
        if listing.leads_out(name):
            problems.add("image files that are links to files outside the image folder", name)
        try:
            _check_file(data, record, folder / name, open_images, way, problems)
        except (ValueError, OSError) as error:
            problems.add("image files that cannot be read", str(error).replace(str(folder / name), name))


def _check_file(data: Content, record: Record, path: Path, open_images: bool, way: Reading, problems: Problems) -> None:
    name, file = record["file_name"], ImageFile(path, way) if open_images else None
    header = file.header if file else file_header(path)
    told = record["height"], record["width"]
    upright = header is not None and header.is_upright(told, data.is_upright(record))
    if header is not None and header.orientation != 1:
        problems.add(
            "images with an orientation in their EXIF data",
            f"{name}: {header.orientation}, read {'upright' if upright else 'as stored'}",
        )
    if header is not None and header.has_pages:
        problems.add(PAGED_IMAGES, name)
    if file:
        height, width = file.pixels(upright=upright).shape[:2]
        if file.is_dark:
            problems.add(DARK_IMAGES, name)
    else:
        height, width = image_size(path, upright)
        if header is not None:
            check_header(path, header, path.stat().st_size, way.max_pixels)
    if told not in ((None, None), (height, width)):
        sizes = f"{told[1]}x{told[0]} in the annotations, {width}x{height} in the file"
        problems.add("images whose size differs from the annotations (width x height)", f"{name}: {sizes}")


def _check_ids(ids: np.ndarray, problems: Problems) -> None:
    """Ids matter to pycocotools, which takes 0 for unmatched."""
    ids = np.sort(ids)
    suspects = ids[np.r_[False, ids[1:] == ids[:-1]] | (ids == 0)] if len(ids) else ids
    values, counts = np.unique(ids[np.isin(ids, suspects)], return_counts=True) if len(suspects) else (ids[:0], ids[:0])
    for value, number in zip(values.tolist(), counts.tolist(), strict=True):
        problems.add("annotation ids that are missing, 0 or duplicate", f"{value} ({number} times)")


def _check_boxes(data: Content, sizes: np.ndarray, problems: Problems) -> None:
    """What is odd about usable boxes, in images of ``sizes`` (G, 2) (height, width)."""
    columns = data.objects.columns
    files = {record["id"]: record["file_name"] for record in data.images}
    is_crowd = data.objects.has_any(["iscrowd"]) & ~data.objects.has_any(["ignored_region"])
    with np.errstate(over="ignore"):
        of_box = columns.xywh[:, 2] * columns.xywh[:, 3]
    kinds = {
        "boxes partly outside their image": leaves_image(columns.xywh, sizes),
        "areas larger than their box": columns.area > 1.01 * of_box + 1,
        "areas of at most 1/1000 of the box": (columns.area > 0) & (columns.area <= SMALL_AREA * of_box),
        "duplicate boxes": _repeats(columns.image_id, columns.category_id, *columns.xywh.T),
        CROWDS: is_crowd & (2 * np.count_nonzero(is_crowd) > len(is_crowd)),
    }
    for kind, mask in kinds.items():
        for row in np.flatnonzero(mask).tolist():
            area = f", area {columns.area[row]:g}" if kind.startswith("areas") else ""
            problems.add(kind, f"{object_text(data, files, row)}{area}")


def _repeats(*columns: np.ndarray) -> np.ndarray:
    """(G,) bool, the rows that are equal to an earlier one."""
    keys = np.zeros(len(columns[0]), np.uint64)
    for column in columns:  # rows of one key are compared, so two that meet by chance do no harm
        bits = (column + 0).astype(column.dtype).view(np.uint64)  # -0.0 becomes 0.0
        keys = (keys ^ bits) * np.uint64(0x9E3779B97F4A7C15)
        keys ^= keys >> np.uint64(29)
    order = np.argsort(keys, kind="stable")
    is_same = keys[order][1:] == keys[order][:-1]
    candidates = np.flatnonzero(np.r_[is_same, False] | np.r_[False, is_same])
    result, seen = np.zeros(len(keys), bool), set()
    for row in sorted(order[candidates].tolist()):
        values = tuple(column[row].item() for column in columns)
        result[row] = values in seen
        seen.add(values)
    return result
