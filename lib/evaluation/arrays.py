"""Ground truth and detections as flat arrays, checked at the door: nothing wrong goes on, nothing is dropped.

Boxes are float64 ``xywh`` here, the form in which the reference of COCO computes overlaps and areas; this is
the border to which the conventions give that form. Both tables are sorted by image, stably: ties keep their
order.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from lib.evaluation.columns import box_column, check_known, id_column, kind_of, number_column
from lib.evaluation.protocols import Protocol

log = logging.getLogger(__name__)

REGION = -1  # category of an ignored region that belongs to no class


class GroundTruth(NamedTuple):
    """The objects of a data set.

    Attributes:
        image_ids: (I,) int64, ascending.
        category_ids: (K,) int64, ascending.
        names: the K classes' names.
        image: (G,) int64, index into ``image_ids``, ascending.
        category: (G,) int64, index into ``category_ids``, or REGION.
        xywh: (G, 4) float64, pixels of the original image.
        area: (G,) float64, the mask's where there is one: it decides the size range.
        ignore: (G,) bool, a region in which detections count neither way.
        dropped_ids: (X,) int64, further category ids, whose detections the protocol drops.
    """

    image_ids: np.ndarray
    category_ids: np.ndarray
    names: tuple[str, ...]
    image: np.ndarray
    category: np.ndarray
    xywh: np.ndarray
    area: np.ndarray
    ignore: np.ndarray
    dropped_ids: np.ndarray

    def select(self, rows: np.ndarray) -> GroundTruth:
        """The same images and classes with only some objects: an index or a mask over G."""
        return self._replace(**{name: getattr(self, name)[rows] for name in self._fields[3:-1]})


class DetectionTable(NamedTuple):
    """Detections of many images.

    Attributes:
        image: (D,) int64, index into the ground truth's ``image_ids``, ascending.
        category: (D,) int64, index into its ``category_ids``.
        xywh: (D, 4) float64, pixels of the original image.
        score: (D,) float64.
    """

    image: np.ndarray
    category: np.ndarray
    xywh: np.ndarray
    score: np.ndarray

    def select(self, rows: np.ndarray) -> DetectionTable:
        """Only some detections: an index or a mask over D."""
        return DetectionTable(*(values[rows] for values in self))


def make_ground_truth(
    coco: Mapping[str, Any],
    protocol: Protocol,
    category_ids: Iterable[int] | None = None,
    image_ids: Iterable[int] | None = None,
) -> GroundTruth:
    """The arrays of a data set in COCO form.

    Args:
        coco: ``{"images", "annotations", "categories"}``.
        protocol: says what is a region to ignore, and which classes are none.
        category_ids: the classes to judge; all by default. Objects of others are left out, with a note.
        image_ids: the images to judge; all by default.

    Raises:
        ValueError: a part is missing, an id is unknown or given twice, or a box is not four finite numbers.
    """
    images, names = _check_lists(coco)
    annotations = coco["annotations"]
    classes, regions, dropped = _choose_classes(names, protocol, category_ids)
    chosen = images if image_ids is None else np.unique(list(image_ids))
    image, category = (id_column(annotations, key, "annotation") for key in ("image_id", "category_id"))
    check_known(image, images, "image_id of an annotation", "images of the ground truth")
    check_known(category, np.array(list(names)), "category_id of an annotation", "categories")
    is_region = np.isin(category, regions) | _flags(
        annotations, ["ignored_region"] if protocol.region_classes else []
    )
    is_judged = is_region | np.isin(category, classes)
    if not is_judged.all():
        log.info("left_out_objects %d (of classes that are not judged)", np.count_nonzero(~is_judged))
    xywh = _finite_boxes(annotations)
    rows = np.flatnonzero(is_judged & np.isin(image, chosen))
    table = GroundTruth(
        image_ids=chosen,
        category_ids=classes,
        names=tuple(names[key] for key in classes.tolist()),
        image=np.searchsorted(chosen, image[rows]),
        category=np.where(is_region, REGION, np.searchsorted(classes, category))[rows],
        xywh=xywh[rows],
        area=_areas(annotations, xywh)[rows],
        ignore=(_flags(annotations, protocol.ignore_flags) | is_region)[rows],
        dropped_ids=np.array(regions + dropped, np.int64),
    )
    return table.select(np.argsort(table.image, kind="stable"))


def make_detections(results: Sequence[Mapping[str, Any]], ground_truth: GroundTruth) -> DetectionTable:
    """The arrays of a list of COCO results: ``{"image_id", "category_id", "bbox": [x, y, w, h], "score"}``.

    Raises:
        ValueError: it is no such list, an id is not the ground truth's, or a number is not finite.
    """
    if not isinstance(results, list):
        raise ValueError(
            f"detections must be a list of COCO results; got {kind_of(results)}: "
            'write [{"image_id": 1, "category_id": 1, "bbox": [x, y, width, height], "score": 0.9}, ...]'
        )
    image, category = (id_column(results, key, "detection") for key in ("image_id", "category_id"))
    score = number_column(results, "score", "detection")
    return detection_table(image, category, box_column(results, "detection"), score, ground_truth)


def detection_table(
    image_id: np.ndarray,
    category_id: np.ndarray,
    xywh: np.ndarray,
    score: np.ndarray,
    ground_truth: GroundTruth,
) -> DetectionTable:
    """Checks columns of detections against a ground truth and sorts them by image.

    Detections of the classes that the protocol drops are left out.

    Args:
        image_id: (D,) int64. category_id: (D,) int64. xywh: (D, 4) float64. score: (D,) float64.
        ground_truth: whose images and classes they must be of.
    """
    judged = ~np.isin(category_id, ground_truth.dropped_ids)
    if not judged.all():
        log.info("dropped_detections %d (of classes that are not judged)", np.count_nonzero(~judged))
        image_id, category_id, xywh, score = (
            values[judged] for values in (image_id, category_id, xywh, score)
        )
    check_known(image_id, ground_truth.image_ids, "image_id of a detection", "images of the ground truth")
    check_known(
        category_id, ground_truth.category_ids, "category_id of a detection", "classes that are judged"
    )
    _check_values(image_id, xywh, score)
    image = np.searchsorted(ground_truth.image_ids, image_id)
    table = DetectionTable(image, np.searchsorted(ground_truth.category_ids, category_id), xywh, score)
    is_sorted = (image[1:] >= image[:-1]).all()  # as a rule: detectors go image by image
    return table if is_sorted else table.select(np.argsort(image, kind="stable"))


def _check_values(image_id: np.ndarray, xywh: np.ndarray, score: np.ndarray) -> None:
    """Raises ValueError for a score or box that is not finite, and for a negative width or height."""
    for name, values in (("score", score[:, None]), ("bbox", xywh)):
        bad = np.flatnonzero(~np.isfinite(values).all(1))
        if len(bad):
            raise ValueError(
                f"{name} of a detection must be finite; got {values[bad[0]].tolist()} of image "
                f"{image_id[bad[0]]}, {len(bad)} such in all: look for a division by zero or a diverged model"
            )
    bad = np.flatnonzero((xywh[:, 2:] < 0).any(1))
    if len(bad):
        raise ValueError(
            f"bbox of a detection must be [x, y, width, height] with width and height at least 0; "
            f"got {xywh[bad[0]].tolist()} of image {image_id[bad[0]]}, {len(bad)} such in all: "
            "convert [x1, y1, x2, y2] first"
        )


def _check_lists(coco: Mapping[str, Any]) -> tuple[np.ndarray, dict[int, str]]:
    """The sorted image ids and the names of the categories of a COCO object."""
    for key in ("images", "annotations", "categories"):
        if not isinstance(coco, Mapping) or not isinstance(coco.get(key), list):
            raise ValueError(
                f"ground truth must be a COCO object with lists images, annotations and categories; "
                f"got {kind_of(coco)} without {key}: convert other formats with tools/convert_dataset.py"
            )
    found = []
    for key in ("images", "categories"):
        ids, times = np.unique(id_column(coco[key], "id", key), return_counts=True)
        if (times > 1).any():
            raise ValueError(f"ids of {key} must differ; got {ids[times > 1][0]} twice: renumber them")
        found.append(ids)
    return found[0], {int(entry["id"]): str(entry.get("name", entry["id"])) for entry in coco["categories"]}


def _choose_classes(
    names: Mapping[int, str], protocol: Protocol, category_ids: Iterable[int] | None
) -> tuple[np.ndarray, list[int], list[int]]:
    """Category ids that are judged, those of regions of no class, and those whose detections are dropped."""
    regions, dropped = (
        [key for key, name in names.items() if re.sub("[-_]", " ", name.lower()) in kind]
        for kind in (protocol.region_classes, protocol.dropped_classes)
    )
    wanted = np.unique(list(names if category_ids is None else category_ids)).astype(np.int64)
    check_known(wanted, np.array(list(names)), "category id to judge", "categories of the ground truth")
    return wanted[~np.isin(wanted, regions + dropped)], regions, dropped


def _flags(annotations: Sequence[Mapping[str, Any]], flags: Sequence[str]) -> np.ndarray:
    """(G,) bool, whether any of the flags is set."""
    return np.array([any(entry.get(flag) for flag in flags) for entry in annotations], bool)


def _finite_boxes(annotations: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """(G, 4) float64 xywh of the annotations."""
    xywh = box_column(annotations, "annotation")
    bad = np.flatnonzero(~np.isfinite(xywh).all(1))
    if len(bad):
        raise ValueError(
            f"bbox of an annotation must be finite; got {str(annotations[bad[0]])[:200]}, "
            f"{len(bad)} such in all: see tools/check_dataset.py"
        )
    return xywh


def _areas(annotations: Sequence[Mapping[str, Any]], xywh: np.ndarray) -> np.ndarray:
    """(G,) float64 areas that decide the size: the annotation's own, else width x height, with a warning."""
    given = [{"area": np.nan if entry.get("area") is None else entry["area"]} for entry in annotations]
    areas = number_column(given, "area", "annotation")
    missing = ~np.isfinite(areas)
    if missing.any():
        log.warning(
            "missing_area %d of %d annotations: width x height decides their size", missing.sum(), len(given)
        )
    return np.where(missing, xywh[:, 2] * xywh[:, 3], areas)
