"""Files of results, of any detector, and the annotations that they are judged by: what tools/evaluate.py and
tools/compare.py are given.
"""

import argparse
import logging
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from lib.data.formats.coco_json import read_results
from lib.data.formats.registry import ORIENTATIONS
from lib.data.truth import read_truth
from lib.evaluation.arrays import DetectionTable, GroundTruth, make_detections, make_ground_truth
from lib.evaluation.protocols import PROTOCOLS, Protocol, make_protocol, parse_ranges
from lib.utils.fields import first_few, reading
from lib.utils.lookup import lookup

log = logging.getLogger(__name__)


class Judged(NamedTuple):
    """Detections and what they are judged by."""

    dataset: dict[str, Any]  # as of ``read_truth``
    protocol: Protocol
    ground_truth: GroundTruth
    detections: list[DetectionTable]  # one for each file


def add_truth_options(parser: argparse.ArgumentParser) -> None:
    """Which objects count, of which size, and by which rules."""
    add = parser.add_argument
    add("--gt", required=True, help="COCO file, data.yaml, or folder of VOC, YOLO or VisDrone files")
    add("--split", default="val", help="split of a data.yaml (default: %(default)s)")
    orientation = "the data.orientation that the test used; matters only for photos with an EXIF orientation"
    add("--orientation", choices=ORIENTATIONS, help=orientation)
    classes = "names of the classes to evaluate: those of the detector, if the file has others too (default: all)"
    add("--classes", nargs="+", metavar="NAME", help=classes)
    add("--protocol", default="coco", choices=PROTOCOLS, help="rules of the evaluation (default: %(default)s)")
    ranges = "size ranges instead of the protocol's, as areas in px^2, such as tiny=0:256"
    add("--ranges", nargs="+", metavar="NAME=LOW:HIGH", help=ranges)


def read_judged(
    args: argparse.Namespace,
    paths: Sequence[str],
    iou_thresholds: Sequence[float] | None = None,
    max_detections: Sequence[int] | None = None,
) -> Judged:
    """Reads the annotations and the COCO results in ``paths``, as the options say.

    Raises:
        ValueError, OSError: a file cannot be read, or an option fits nothing in it; the message names it.
    """
    ranges = parse_ranges(args.ranges) if args.ranges else None
    protocol = make_protocol(args.protocol, ranges, iou_thresholds, max_detections)
    dataset = read_truth(args.gt, args.images, args.split, args.orientation)
    ground_truth = make_ground_truth(dataset, protocol, _ids_of(dataset, args.classes))
    tables = []
    for path in paths:
        with reading(path):
            tables.append(make_detections(read_results(path, dataset), ground_truth))
        _warn_of_undetected(path, tables[-1], ground_truth)
    return Judged(dataset, protocol, ground_truth, tables)


def _ids_of(coco: Mapping[str, Any], classes: Sequence[str] | None) -> list[int] | None:
    """The category ids of ``classes``, for ``make_ground_truth``; None for None.

    Raises:
        ValueError: a class is not among the categories.
    """
    if classes is None:
        return None
    names = {entry["id"]: str(entry["name"]) for entry in coco["categories"]}
    wanted = {lookup(list(names.values()), name, "each of --classes") for name in classes}
    return [key for key, name in names.items() if name in wanted]


def _warn_of_undetected(path: str, detections: DetectionTable, ground_truth: GroundTruth) -> None:
    """Logs the classes that have objects, but no detection in the file ``path``, though others have some.

    A detector that was not trained for a class gets an AP of 0 for it.
    """
    with_objects = np.unique(ground_truth.category[~ground_truth.ignore])
    missing = np.setdiff1d(with_objects, detections.category)
    if len(missing) and len(detections.category):
        log.warning(
            "%s has no detection of %d of the %d classes that have objects (%s): the AP of each is 0. If the detector "
            "was not trained for them, name the classes that it knows with --classes",
            path,
            len(missing),
            len(with_objects),
            first_few(ground_truth.names[index] for index in missing),
        )
