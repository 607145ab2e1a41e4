"""The whole step from raw predictions to detections as one operator, on the CPU."""

from __future__ import annotations

import torch

from lib.ops import kernels
from lib.ops.nms import PaddedDetections, empty_detections

_OP = f"{kernels.NAMESPACE}::postprocess"
torch.library.define(
    _OP,
    "(Tensor logits, Tensor deltas, Tensor priors, Tensor sizes, int[2] image_size, float[2] variances, "
    "float max_log_ratio, bool is_sigmoid, float score_threshold, float iou_threshold, int max_candidates, "
    "int max_detections) -> (Tensor, Tensor, Tensor, Tensor)",
)


def is_built() -> bool:
    """Whether the operator is there."""
    return kernels.load("_nms") is not None


def postprocess(logits: torch.Tensor, deltas: torch.Tensor, *arguments) -> PaddedDetections:
    """Detections in the frames of the original images; background is column 0.

    Args:
        logits: (B, P, K) of any floating type.
        deltas: (B, P, 4).
        *arguments: priors (P, 4), sizes (B, 2) int64, image_size (height, width), variances, max_log_ratio and
            limits; lib/multibox/postprocess.py says what they mean.
    """
    return PaddedDetections(*torch.ops.multibox.postprocess(logits, deltas, *arguments))


@torch.library.impl(_OP, "cpu")
def _postprocess(
    logits: torch.Tensor,
    deltas: torch.Tensor,
    priors: torch.Tensor,
    sizes: torch.Tensor,
    image_size: list[int],
    variances: list[float],
    max_log_ratio: float,
    is_sigmoid: bool,
    score_threshold: float,
    iou_threshold: float,
    max_candidates: int,
    max_detections: int,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    out = empty_detections(logits, max_detections)
    kernels.load("_nms").postprocess(
        *(kernels.as_input(tensor, torch.float32) for tensor in (logits, deltas, priors)),
        kernels.as_input(sizes, torch.int64),
        *image_size,
        *variances,
        max_log_ratio,
        is_sigmoid,
        score_threshold,
        iou_threshold,
        max_candidates,
        torch.get_num_threads(),
        *(value.numpy() for value in out),
    )
    return tuple(out)


@torch.library.register_fake(_OP)
def _(logits, deltas, priors, sizes, image_size, variances, max_log_ratio, is_sigmoid, *limits):
    return tuple(empty_detections(logits, limits[-1]))
