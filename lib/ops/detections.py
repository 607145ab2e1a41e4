"""From a network's raw output to the detections of a batch: one compiled pass on the CPU, queued steps elsewhere."""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from lib.ops import kernels
from lib.ops.boxes import MAX_LOG_RATIO, clip_boxes, decode_boxes, scale_boxes
from lib.ops.checks import check_fraction, check_integers, check_predictions, check_shapes
from lib.ops.multiclass import select
from lib.ops.padded import PaddedDetections, Selection, check_selection, empty_detections
from lib.structures import Predictions
from lib.utils.lookup import lookup

ACTIVATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "softmax": lambda logits: logits.softmax(-1),
    "sigmoid": torch.sigmoid,
}


def detect_stepwise(
    predictions: Predictions, sizes: torch.Tensor, variances: tuple[float, float], activation: str, selection: Selection
) -> PaddedDetections[torch.Tensor]:
    """Detections in the frames of the original images, background being column 0; an operation at a time, for GPUs and
    exporters, and as the oracle of the compiled pass.

    Args:
        predictions: of B images, of any floating type.
        sizes: (B, 2) int64, (height, width) of each original image.
        variances: of the ``BoxCoder``.
        activation: a name of ACTIVATIONS, from logits to scores.
    """
    _check(*predictions[:3], sizes, predictions.image_size, variances, activation, *selection)
    boxes = decode_boxes(predictions.deltas, predictions.priors, variances)
    scores = ACTIVATIONS[activation](predictions.logits.float())  # (B, P, K)
    padded = select(clip_boxes(boxes, predictions.image_size), scores, selection)
    sizes = sizes[:, None]  # (B, 1, 2)
    boxes = scale_boxes(padded.boxes, predictions.image_size, sizes)
    return padded._replace(boxes=clip_boxes(boxes, sizes))


def _check(
    logits: torch.Tensor,
    deltas: torch.Tensor,
    priors: torch.Tensor,
    sizes: torch.Tensor,
    image_size: Sequence[int],
    variances: Sequence[float],
    activation: str,
    *selection: Any,
) -> None:
    check_predictions(logits, deltas, priors)
    check_integers(sizes=sizes)
    check_shapes(sizes=(sizes, "(B, 2), a row an image", (logits.shape[0], 2)))
    if len(image_size) != 2 or min(image_size) < 1:
        raise ValueError(f"image_size must be (height, width), 1 or more; got {tuple(image_size)}")
    if len(variances) != 2:
        raise ValueError(f"variances must be those of the center and of the size; got {tuple(variances)}")
    lookup(ACTIVATIONS, activation, "activation")
    check_selection(Selection(*selection))
    check_fraction(selection[0], "score_threshold")


@kernels.operator(_check, lambda logits, *options: empty_detections(logits, options[-3]))
def postprocess(
    logits: torch.Tensor,
    deltas: torch.Tensor,
    priors: torch.Tensor,
    sizes: torch.Tensor,
    image_size: Sequence[int],
    variances: Sequence[float],
    activation: str,
    score_threshold: float,
    iou_threshold: float,
    max_candidates: int,
    max_detections: int,
    suppression: str,
    soft_sigma: float | None,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """The same as ``detect_stepwise``, as one operator whose arguments are plain: see there and ``Selection``."""
    core = kernels.for_cpu("_nms", logits) if suppression == "nms" else None
    if core is None:
        predictions = Predictions(logits, deltas, priors, (image_size[0], image_size[1]))
        selection = Selection(score_threshold, iou_threshold, max_candidates, max_detections, suppression, soft_sigma)
        return detect_stepwise(predictions, sizes, (variances[0], variances[1]), activation, selection)
    out = empty_detections(logits, max_detections)
    inputs = (*map(kernels.as_input, (logits, deltas, priors)), kernels.as_input(sizes, torch.int64))
    options = (*image_size, *variances, MAX_LOG_RATIO, activation == "sigmoid")
    limits = (score_threshold, iou_threshold, max_candidates, torch.get_num_threads())
    core.postprocess(*inputs, *options, *limits, *(value.numpy() for value in out))
    return out
