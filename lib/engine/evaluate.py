"""Testing a model during and after training: images in, detections and AP by size out."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from lib.build import build_loader, build_normalizer, build_postprocess, build_protocol
from lib.data.dataset import CocoDataset
from lib.engine.distributed import World
from lib.evaluation.evaluator import Evaluator
from lib.utils.log import progress


class Evaluation:
    """Tests models on one data set, whose labels are the models'; made once for all epochs.

    The processes of ``world`` share the images; afterwards each has the detections of all.
    """

    def __init__(self, cfg: Mapping[str, Any], dataset: CocoDataset, device: torch.device, world: World):
        self.cfg, self.dataset, self.device, self.world = cfg, dataset, device, world
        self.loader = build_loader(cfg, dataset, training=False, rank=world.rank, world_size=world.size)
        self.normalizer = build_normalizer(cfg).to(device)
        self.postprocess, self.protocol = build_postprocess(cfg), build_protocol(cfg)

    @torch.inference_mode()
    def __call__(self, model: nn.Module) -> Evaluator:
        """The detections of the model, images (B, 3, H, W) -> Predictions, in every image; ``evaluate()`` of the
        result scores them. The model's mode is restored.
        """
        was_training = model.training
        model.eval()
        data, engine = self.dataset, self.cfg["evaluation"]["engine"]
        evaluator = Evaluator(data.ground_truth, data.category_ids, self.protocol, engine)
        for batch in progress(self.loader, "testing"):
            predictions = model(self.normalizer(batch.images.to(self.device, non_blocking=True)))
            results = self.postprocess(predictions, batch.sizes)
            for image_id, detections in zip(batch.image_ids.tolist(), results, strict=True):
                evaluator.update(image_id, detections)
        model.train(was_training)
        for state in self.world.gather(evaluator.state()):
            evaluator.merge(state)
        return evaluator
