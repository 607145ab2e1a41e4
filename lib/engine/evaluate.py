"""Testing a model during and after training: images in, detections and AP by size out."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from easydict import EasyDict
from torch import nn

from lib.build import build_protocol
from lib.data.dataset import CocoDataset
from lib.engine.distributed import World
from lib.evaluation.evaluator import Evaluator
from lib.inference.model_file import Loaded
from lib.inference.predictor import Predictor
from lib.utils.ahead import ahead
from lib.utils.log import progress

ALONE = World()


def evaluate(predictor: Predictor, dataset: CocoDataset, world: World = ALONE) -> Evaluator:
    """The detections of a predictor in every image, which ``evaluate()`` of the result scores by the protocol of the
    predictor's config: AP as deployed, with its sizes, tiles, backend and precision.

    The labels of the data set must be the predictor's. The processes of ``world`` share the images; afterwards each has
    the detections of all.
    """
    cfg = predictor.cfg
    evaluator = Evaluator(dataset.ground_truth, dataset.category_ids, build_protocol(cfg), cfg["evaluation"]["engine"])
    order = np.lexsort(dataset.sizes.T)  # images of one size come together, and so into one batch
    mine = order[world.rank :: world.size].tolist()
    results = predictor.stream(ahead(lambda index: dataset.load(index).image, mine, cfg["data"]["workers"]))
    for index, detections in zip(progress(mine, "testing"), results, strict=True):
        evaluator.update(dataset.image_ids[index], detections)
    for state in world.gather(evaluator.state()):
        evaluator.merge(state)
    return evaluator


def tester(
    cfg: EasyDict, dataset: CocoDataset, device: torch.device, world: World
) -> Callable[[nn.Module], Mapping[str, Any]]:
    """What tests a model of this config, whose labels are the data set's: model -> its metrics, key -> value."""

    def test(model: nn.Module) -> Mapping[str, Any]:
        loaded = Loaded(cfg, tuple(dataset.classes), model)
        predictor = Predictor(loaded, device, batch_size=cfg.evaluation.batch_size)
        return evaluate(predictor, dataset, world).evaluate().metrics

    return test
