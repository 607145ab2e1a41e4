"""The evaluation loop: images in, AP by size out."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from lib.utils.log import progress


@torch.inference_mode()
def evaluate(
    model: nn.Module, normalizer: nn.Module, postprocess: Any, loader: Any, evaluator: Any, device: torch.device
) -> Any:
    """Runs the model over a data set once and scores what it finds.

    Args:
        model: images (B, 3, H, W) -> Predictions; its mode is restored.
        normalizer: uint8 images -> the model's.
        postprocess: (Predictions, sizes) -> [Detections].
        loader: yields each image once, as a Batch.
        evaluator: takes ``update(image_id, detections)``; ``evaluate()`` gives the result.

    Returns:
        What ``evaluator.evaluate()`` gives.
    """
    was_training = model.training
    model.eval()
    for batch in progress(loader, "testing"):
        images = normalizer(batch.images.to(device, non_blocking=True))
        for image_id, found in zip(batch.image_ids.tolist(), postprocess(model(images), batch.sizes), strict=True):
            evaluator.update(image_id, found)
    model.train(was_training)
    return evaluator.evaluate()
