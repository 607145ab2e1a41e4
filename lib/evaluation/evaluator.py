"""From a data set and detections to a Result."""

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lib.evaluation.arrays import DetectionTable, GroundTruth, detection_table, make_ground_truth
from lib.evaluation.engines import ENGINES
from lib.evaluation.protocols import Protocol
from lib.evaluation.regions import drop_regions
from lib.evaluation.result import Result, count_objects
from lib.evaluation.voc_visdrone import run_voc_visdrone
from lib.utils.fields import first_few
from lib.utils.lookup import lookup

if TYPE_CHECKING:
    from lib.structures import Detections

log = logging.getLogger(__name__)


def evaluate(
    ground_truth: GroundTruth, detections: DetectionTable, protocol: Protocol, engine: str = "hotcoco"
) -> Result:
    """Judges detections against a ground truth of the same images and classes.

    The results of the engines "hotcoco" and "pycocotools" are equal to the bit. Protocols with rules that neither
    knows, those of VOC and VisDrone, are computed by ``lib/evaluation/voc_visdrone.py`` instead.
    """
    run = lookup(ENGINES, engine, "evaluation.engine")
    if protocol.is_beyond_coco:
        run = run_voc_visdrone
    ground_truth, detections = drop_regions(ground_truth, detections)
    curves = run(ground_truth, detections, protocol)
    return Result(protocol, ground_truth.names, curves, count_objects(ground_truth, protocol))


class Evaluator:
    """Collects the detections of a model image by image, as arrays, and judges them.

    Each image counts once, whether it has detections or not. If it comes again, because a sampler pads its last
    batch with images, the first detections stay. Images that never came do not count. The detections of an image
    are kept as (D, 6) float64: xywh in pixels of the original image, score, label.

    Args:
        ground_truth: a data set in COCO form: images, annotations, categories. One with ``is_added`` is not in its
            file, which lacks a class of the model.
        category_ids: category id of label 1, 2, ...
        protocol, engine: as for ``evaluate``.
    """

    def __init__(
        self, ground_truth: Mapping[str, Any], category_ids: Sequence[int], protocol: Protocol, engine: str = "hotcoco"
    ) -> None:
        lookup(ENGINES, engine, "evaluation.engine")
        self._coco, self._protocol, self._engine = ground_truth, protocol, engine
        truth = make_ground_truth(ground_truth, protocol, category_ids)
        self._category_ids = np.array([0, *category_ids], np.int64)  # label 0 is the background
        self._images = set(truth.image_ids.tolist())
        # Ids of 64 bits without a sign do not fit into int64; results have them as the file does.
        self._written = {record["id"]: record["file_id"] for record in ground_truth["images"] if "file_id" in record}
        self._rows: dict[int, np.ndarray] = {}

    def update(self, image_id: int, detections: "Detections") -> None:
        """Takes the detections of one image: xyxy in pixels of the original image, labels from 1 on."""
        image_id = int(image_id)
        if image_id not in self._images:
            raise ValueError(
                f"image_id must be of the ground truth's {len(self._images)} images; got {image_id}: "
                "evaluate with the annotations that the loader reads"
            )
        boxes, scores, labels = (value.detach().cpu().numpy() for value in detections)
        if len(labels) and not 1 <= labels.min() <= labels.max() < len(self._category_ids):
            raise ValueError(
                f"labels of detections must be 1 to {len(self._category_ids) - 1}; got {labels.min()} to "
                f"{labels.max()} for image {image_id}: the model was built for other classes"
            )
        xyxy = boxes.astype(np.float64).reshape(-1, 4)
        rows = np.column_stack([xyxy[:, :2], xyxy[:, 2:] - xyxy[:, :2], scores, labels])
        self.merge({image_id: rows})

    def state(self) -> dict[int, np.ndarray]:
        """What was collected, by image id, to send to another process."""
        return dict(self._rows)

    def merge(self, state: Mapping[int, np.ndarray]) -> None:
        """Adds what another process collected; images that are already here stay as they are."""
        for image_id, rows in state.items():
            self._rows.setdefault(image_id, rows)

    def results(self) -> list[dict[str, Any]]:
        """The detections as a COCO results list, by image id, but for those of classes that the file lacks."""
        category_ids = self._category_ids.tolist()
        added = {entry["id"]: entry["name"] for entry in self._coco["categories"] if entry.get("is_added")}
        has_id = ~np.isin(self._category_ids, list(added))  # of a label
        if added:
            count = sum(np.count_nonzero(~has_id[rows[:, 5].astype(np.int64)]) for rows in self._rows.values())
            log.warning(
                "detections_left_out %d, of classes that the annotations lack: %s", count, first_few(added.values())
            )
        return [
            {"image_id": written, "category_id": category_ids[int(label)], "bbox": box, "score": score}
            for image_id, rows in sorted(self._rows.items())
            for written in (self._written.get(image_id, image_id),)
            for *box, score, label in rows[has_id[rows[:, 5].astype(np.int64)]].tolist()
        ]

    def evaluate(self) -> Result:
        """Judges everything that was collected."""
        if not self._rows:
            raise ValueError("an evaluation must have at least one image; got none: is the data set empty?")
        missing = len(self._images) - len(self._rows)
        if missing:
            text = "images_left_out %d of %d: no detections were given for them, not even an empty list"
            log.warning(text, missing, len(self._images))
        truth = make_ground_truth(self._coco, self._protocol, self._category_ids[1:], self._rows)
        parts = sorted(self._rows.items())
        image_ids = np.repeat([image_id for image_id, _ in parts], [len(rows) for _, rows in parts])
        rows = np.concatenate([rows for _, rows in parts])
        categories = self._category_ids[rows[:, 5].astype(np.int64)]
        table = detection_table(image_ids, categories, rows[:, :4], rows[:, 4], truth)
        return evaluate(truth, table, self._protocol, self._engine)
