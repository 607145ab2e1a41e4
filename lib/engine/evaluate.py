"""The evaluation loop: images in, detections and AP by size out."""

from __future__ import annotations

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
    """Tests models on one data set; made once, called after as many epochs as there are.

    Args:
        cfg: the resolved config.
        dataset: its labels are the model's.
        device: where the model runs.
        world: the processes that share the images; each then has the detections of all.
    """

    def __init__(
        self, cfg: Mapping[str, Any], dataset: CocoDataset, device: torch.device, world: World | None = None
    ):
        self.cfg, self.dataset, self.device, world = cfg, dataset, device, world or World()
        self.loader = build_loader(cfg, dataset, training=False, rank=world.rank, world_size=world.size)
        self.normalizer = build_normalizer(cfg).to(device)
        self.postprocess, self.protocol = build_postprocess(cfg), build_protocol(cfg)

    @torch.inference_mode()
    def __call__(self, model: nn.Module) -> Evaluator:
        """Runs the model over every image once; ``evaluate()`` of what comes back scores its detections.

        Args:
            model: images (B, 3, H, W) -> Predictions; its mode is restored.
        """
        was_training = model.training
        model.eval()
        data, engine = self.dataset, self.cfg["evaluation"]["engine"]
        evaluator = Evaluator(data.ground_truth, data.category_ids, self.protocol, engine)
        for batch in progress(self.loader, "testing"):
            predictions = model(self.normalizer(batch.images.to(self.device, non_blocking=True)))
            found = self.postprocess(predictions, batch.sizes)
            for image_id, detections in zip(batch.image_ids.tolist(), found, strict=True):
                evaluator.update(image_id, detections)
        model.train(was_training)
        evaluator.gather_()
        return evaluator
