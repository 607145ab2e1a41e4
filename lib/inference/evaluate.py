"""AP by size of a predictor: as it is deployed, tiles, backend and precision included."""

from __future__ import annotations

from lib.build import build_protocol
from lib.data.dataset import CocoDataset
from lib.evaluation.evaluator import Evaluator
from lib.inference.predictor import Predictor
from lib.utils.log import progress


def evaluate_predictor(predictor: Predictor, dataset: CocoDataset) -> Evaluator:
    """Runs a predictor over every image once; ``evaluate()`` of what comes back scores its detections.

    Args:
        predictor: its config says by which protocol.
        dataset: its labels are the predictor's.
    """
    cfg = predictor.cfg
    evaluator = Evaluator(
        dataset.ground_truth, dataset.category_ids, build_protocol(cfg), cfg["evaluation"]["engine"]
    )
    found = predictor.stream(dataset.load(index).image for index in range(len(dataset)))
    for image_id, detections in progress(
        zip(dataset.image_ids, found, strict=True), "testing", total=len(dataset)
    ):
        evaluator.update(image_id, detections)
    return evaluator
