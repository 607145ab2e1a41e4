"""Ground truth and detections as flat arrays, checked as they come in: bad values are refused, none is dropped.

Boxes are float64 ``xywh`` here, the form in which COCO's own code computes overlaps and areas. Both tables are
sorted by image, stably, so that ties keep their order.
"""

import functools
import logging
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from lib.evaluation.protocols import PROTOCOLS, Protocol
from lib.utils.fields import MISSING, Problems, id_column, number, shown
from lib.utils.fields import Entries as Fields
from lib.utils.objects import ObjectTable, as_table, box_column

log = logging.getLogger(__name__)

REGION = -1  # category of an ignored region that belongs to no class
_FLAGS = ("difficult", "ignore")  # of objects that training passes over
Entries = Sequence[Mapping[str, Any]]


class GroundTruth(NamedTuple):
    """The objects of a data set."""

    image_ids: np.ndarray  # (I,) int64, ascending
    category_ids: np.ndarray  # (K,) int64, ascending
    names: tuple[str, ...]  # of the K classes
    image: np.ndarray  # (G,) int64, index into image_ids, ascending
    category: np.ndarray  # (G,) int64, index into category_ids, or REGION
    xywh: np.ndarray  # (G, 4) float64, pixels of the original image
    area: np.ndarray  # (G,) float64, the mask's where there is one: it decides the size range
    ignore: np.ndarray  # (G,) bool, a region in which detections are neither right nor wrong
    dropped_ids: np.ndarray  # (X,) int64, category ids that are not evaluated: their detections are left out

    def select(self, rows: np.ndarray) -> "GroundTruth":
        """The same images and classes with only some objects: an index or a mask over G."""
        return self._replace(**{name: getattr(self, name)[rows] for name in self._fields[3:-1]})


class DetectionTable(NamedTuple):
    """Detections of many images."""

    image: np.ndarray  # (D,) int64, index into the ground truth's image_ids, ascending
    category: np.ndarray  # (D,) int64, index into its category_ids
    xywh: np.ndarray  # (D, 4) float64, pixels of the original image
    score: np.ndarray  # (D,) float64

    def select(self, rows: np.ndarray | slice) -> "DetectionTable":
        """Only some detections: an index or a mask over D."""
        return DetectionTable(*(values[rows] for values in self))


def make_ground_truth(
    coco: Mapping[str, Any],
    protocol: Protocol,
    category_ids: Iterable[int] | None = None,
    image_ids: Iterable[int] | None = None,
) -> GroundTruth:
    """The arrays of a data set in COCO form: ``{"images", "annotations", "categories"}``.

    Args:
        protocol: says what is a region to ignore, and which classes are not evaluated.
        category_ids: the classes to evaluate; all by default. Objects of others are left out and logged, and so are
            detections (``detection_table``).
        image_ids: the images to evaluate; all by default.

    Raises:
        ValueError: a part is missing, an id is unknown or given twice, or a box is not four finite numbers.
    """
    images, names = _check_lists(coco)
    objects = as_table(coco["annotations"], "ground truth: annotations", problems := Problems())
    for line in problems.lines():
        log.warning("ground truth: %s", line)
    image, category, xywh = objects.columns.image_id, objects.columns.category_id, objects.columns.xywh
    classes, regions = _choose_classes(names, protocol, category_ids)
    chosen = images if image_ids is None else np.unique(list(image_ids))
    _check_known(image, images, "image_id of an annotation", "images of the ground truth")
    _check_known(category, np.array(list(names)), "category_id of an annotation", "categories")
    is_region = np.isin(category, regions) | objects.has_any(["ignored_region"])
    is_evaluated = is_region | np.isin(category, classes)
    if not is_evaluated.all():
        log.info("left_out_objects %d (of classes that are not evaluated)", np.count_nonzero(~is_evaluated))
    bad = np.flatnonzero(~np.isfinite(xywh).all(axis=1))
    if len(bad):
        raise ValueError(
            f"bbox of an annotation must be four finite numbers; got {objects.box_text(bad[0])} of image "
            f"{image[bad[0]]}, {len(bad)} such in all: see tools/check_dataset.py"
        )
    rows = np.flatnonzero(is_evaluated & np.isin(image, chosen))
    table = GroundTruth(
        image_ids=chosen,
        category_ids=classes,
        names=_distinct({key: names[key] for key in classes.tolist()}),
        image=np.searchsorted(chosen, image[rows]),
        category=np.where(is_region, REGION, np.searchsorted(classes, category))[rows],
        xywh=xywh[rows],
        area=objects.columns.area[rows],
        ignore=(objects.has_any(protocol.ignore_flags) | is_region)[rows],
        dropped_ids=np.setdiff1d(list(names), classes),
    )
    _warn_of_flags(objects.select(rows[~table.ignore]), protocol)
    return table.select(np.argsort(table.image, kind="stable"))


def _warn_of_flags(objects: ObjectTable, protocol: Protocol) -> None:
    """Says how many of the objects that count were marked to be passed over, and which protocols ignore them."""
    if number := np.count_nonzero(objects.has_any(_FLAGS)):
        others = [name for name, row in PROTOCOLS.items() if {*_FLAGS} <= {*row.ignore_flags}]
        _warn_once(
            f"{number} objects marked {' or '.join(_FLAGS)}, which training passes over, count in the protocol "
            f"{protocol.name}; the protocols {', '.join(others)} ignore them"
        )


@functools.cache
def _warn_once(text: str) -> None:
    """Logs a warning that a training would repeat in each test."""
    log.warning("%s", text)


def make_detections(results: Sequence[Mapping[str, Any]], ground_truth: GroundTruth) -> DetectionTable:
    """The arrays of a list of COCO results: ``{"image_id", "category_id", "bbox": [x, y, w, h], "score"}``.

    Raises:
        ValueError: it is not such a list, an id is not the ground truth's, or a number is not finite.
    """
    if not isinstance(results, list):
        raise ValueError(
            f"detections must be a list of COCO results; got {_kind_of(results)}: "
            'write [{"image_id": 1, "category_id": 1, "bbox": [x, y, width, height], "score": 0.9}, ...]'
        )
    keys = ("image_id", "category_id", "score", "bbox")
    image, category, score, xywh = (_column(results, key) for key in keys)
    return detection_table(image, category, xywh, score, ground_truth)


def detection_table(
    image_id: np.ndarray, category_id: np.ndarray, xywh: np.ndarray, score: np.ndarray, ground_truth: GroundTruth
) -> DetectionTable:
    """Checks columns of detections against a ground truth and sorts them by image.

    They are (D,) int64, (D,) int64, (D, 4) float64 and (D,) float64. Detections of classes that are not evaluated are
    left out.
    """
    is_evaluated = ~np.isin(category_id, ground_truth.dropped_ids)
    if not is_evaluated.all():
        log.info("dropped_detections %d (of classes that are not evaluated)", np.count_nonzero(~is_evaluated))
        columns = (image_id, category_id, xywh, score)
        image_id, category_id, xywh, score = (values[is_evaluated] for values in columns)
    _check_known(image_id, ground_truth.image_ids, "image_id of a detection", "images of the ground truth")
    _check_known(category_id, ground_truth.category_ids, "category_id of a detection", "classes that are evaluated")
    advice = "look for a division by zero or a diverged model"
    for name, values in (("score", score[:, None]), ("bbox", xywh)):
        _check_rows(np.isfinite(values), values, image_id, f"{name} of a detection must be finite", advice)
    must = "bbox of a detection must be [x, y, width, height] with width and height at least 0"
    _check_rows(xywh[:, 2:] >= 0, xywh, image_id, must, "convert [x1, y1, x2, y2] first")
    image = np.searchsorted(ground_truth.image_ids, image_id)
    table = DetectionTable(image, np.searchsorted(ground_truth.category_ids, category_id), xywh, score)
    is_sorted = (image[1:] >= image[:-1]).all()  # usually true: detectors go image by image
    return table if is_sorted else table.select(np.argsort(image, kind="stable"))


def _check_lists(coco: Mapping[str, Any]) -> tuple[np.ndarray, dict[int, str]]:
    """The sorted image ids and the names of the categories of a COCO object."""
    for key in ("images", "annotations", "categories"):
        if not isinstance(coco, Mapping) or not isinstance(coco.get(key), (list, ObjectTable)):
            raise ValueError(
                f"ground truth must be a COCO object with lists images, annotations and categories; "
                f"got {_kind_of(coco)} without {key}: convert other formats with tools/convert_dataset.py"
            )
    ids = {}
    for key in ("images", "categories"):
        entries = Fields(f"ground truth: {key}", 0, Problems())
        column = id_column([entry.get("id", MISSING) for entry in coco[key]], "id", entries)
        ids[key], times = np.unique(column, return_counts=True)
        if (times > 1).any():
            raise ValueError(f"ids of {key} must differ; got {ids[key][times > 1][0]} twice: renumber them")
        if key == "categories":
            pairs = zip(column.tolist(), coco[key], strict=True)
            names = {number: str(entry.get("name", number)) for number, entry in pairs}
    return ids["images"], names


def _distinct(names: Mapping[int, str]) -> tuple[str, ...]:
    """The names, by which results are listed; those of several categories with their ids."""
    times = Counter(names.values())
    return tuple(f"{name} (id {key})" if times[name] > 1 else name for key, name in names.items())


def _choose_classes(
    names: Mapping[int, str], protocol: Protocol, category_ids: Iterable[int] | None
) -> tuple[np.ndarray, list[int]]:
    """Category ids that are evaluated, and those of ignored regions."""
    regions, dropped = (
        [key for key, name in names.items() if re.sub("[-_]", " ", name.lower()) in classes]
        for classes in (protocol.region_classes, protocol.dropped_classes)
    )
    wanted = np.unique(list(names if category_ids is None else category_ids)).astype(np.int64)
    _check_known(wanted, np.array(list(names)), "category id to evaluate", "categories of the ground truth")
    return wanted[~np.isin(wanted, regions + dropped)], regions


def _column(results: Entries, key: str) -> np.ndarray:
    """One key of every detection: (N, 4) float64 of "bbox", (N,) float64 of "score", (N,) int64 of ids.

    Raises:
        ValueError: it is missing or of another type; the message shows the first such detection.
    """
    form, read = _FORMS.get(key, ("a whole number", _ids))
    faults = (KeyError, TypeError, ValueError)
    try:
        return read([entry[key] for entry in results])
    except faults:
        for index, entry in enumerate(results):
            try:
                read([entry[key]])
            except faults:
                must = f"{key} of each detection must be {form}"
                value = entry.get(key, "none") if isinstance(entry, Mapping) else entry
                raise ValueError(f"{must}; got {shown(value)} as detection number {index}: correct the file") from None
        raise


def _ids(values: list[Any]) -> np.ndarray:
    return id_column(values, "id", Fields("detections", 0, Problems()))


def _scores(values: list[Any]) -> np.ndarray:
    return np.array([number(value, "score") for value in values], np.float64)


def _boxes(values: list[Any]) -> np.ndarray:
    table = box_column(values)
    if table is not None:
        return table
    if not all(isinstance(box, list) and len(box) == 4 for box in values):
        raise ValueError
    return np.array([[number(value, "bbox") for value in box] for box in values], np.float64).reshape(-1, 4)


_FORMS = {"bbox": ("[x, y, width, height]", _boxes), "score": ("a number", _scores)}


def _check_known(ids: np.ndarray, known: np.ndarray, what: str, where: str) -> None:
    """Raises ValueError where an id is not among the known ones."""
    unknown = np.unique(ids[~np.isin(ids, known)])
    if len(unknown):
        raise ValueError(
            f"each {what} must be among the {len(known)} {where}; got {unknown[:5].tolist()}"
            f"{' and others' if len(unknown) > 5 else ''} ({np.isin(ids, unknown).sum()} times): "
            "choose the file of the same data set and split"
        )


def _check_rows(is_good: np.ndarray, values: np.ndarray, image_id: np.ndarray, must: str, advice: str) -> None:
    """Raises ValueError with the first of (N, C) values that is not good everywhere in its row."""
    bad = np.flatnonzero(~is_good.all(1))
    if len(bad):
        raise ValueError(
            f"{must}; got {values[bad[0]].tolist()} of image {image_id[bad[0]]}, {len(bad)} such in all: {advice}"
        )


def _kind_of(value: Any) -> str:
    """A JSON value in a few words, for messages."""
    return f"an object with keys {list(value)[:5]}" if isinstance(value, Mapping) else type(value).__name__
