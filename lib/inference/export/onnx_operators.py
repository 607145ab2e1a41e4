"""torch's operators in ONNX's standard ones, where the exporter lacks them or has a slower way."""

from collections.abc import Callable
from typing import Any

import onnxscript
import torch
from onnxscript import opset18 as op

import lib.ops  # noqa: F401 - registers the operator
from lib.structures import BACKGROUND

INT64 = onnxscript.ir.DataType.INT64


def _list(*values: int) -> Any:
    return op.Constant(value_ints=list(values))


def _number(value: float) -> Any:
    return op.Constant(value_float=value)


def multiclass_nms(
    boxes,
    scores,
    score_threshold: float,
    iou_threshold: float,
    max_candidates: int,
    max_detections: int,
    background: int | None,
    suppression: str = "nms",
    soft_sigma: float | None = None,
):
    """See ``lib.ops.multiclass_nms``: the same boxes in the same order, for finite inputs.

    ONNX Runtime's TopK and NonMaxSuppression both prefer the lower index of equal scores, as ours do.
    """
    assert suppression == "nms", f"onnx_bytes refuses postprocess.suppression={suppression}"
    assert background == BACKGROUND, f"the background must be column {BACKGROUND}, got {background}"
    priors, classes = int(scores.shape[1]), int(scores.shape[2]) - 1
    objects = op.Slice(scores, _list(1), _list(classes + 1), _list(2))  # (B, P, K-1)
    by_class = op.Transpose(objects, perm=[0, 2, 1])  # (B, K-1, P)
    best, places = op.TopK(by_class, _list(min(max_candidates, priors)), axis=2)
    nothing = op.Mul(by_class, _number(0.0))
    candidates = op.ScatterElements(nothing, places, best, axis=2)
    kept = op.NonMaxSuppression(
        boxes, candidates, _list(max_detections), _number(iou_threshold), _number(score_threshold)
    )  # (N, 3): image, class, box
    survivors = op.ScatterND(nothing, kept, op.GatherND(candidates, kept))
    flat = op.Reshape(survivors, _list(0, -1))  # (B, (K-1) * P), by class, then box
    top, index = op.TopK(flat, _list(min(max_detections, priors * classes)), axis=1)  # (B, D)
    is_object = op.Greater(top, _number(0.0))
    labels = op.Add(op.Div(index, _list(priors)), _list(1))
    rows = op.Expand(op.Unsqueeze(op.Mod(index, _list(priors)), _list(2)), _list(1, 1, 4))  # (B, D, 4)
    chosen = op.GatherElements(boxes, rows, axis=1)
    chosen = op.Where(op.Unsqueeze(is_object, _list(2)), chosen, _number(0.0))
    labels = op.Where(is_object, labels, _list(-1))
    flags: Any = op.Cast(is_object, to=INT64)
    counts = op.ReduceSum(flags, _list(1), keepdims=0)
    return chosen, top, labels, counts


def mean(x, dim: list[int], keepdim: bool = False):
    """``x.mean(dim, keepdim)``. The mean of a whole map is a pool: ONNX Runtime then leaves the map in the blocked
    layout of its convolutions, where a ReduceMean would have it rearranged and back.
    """
    if keepdim and len(x.shape) == 4 and [axis % 4 for axis in dim] == [2, 3]:
        return op.GlobalAveragePool(x)
    return op.ReduceMean(x, _list(*dim), keepdims=int(keepdim))


TRANSLATIONS: dict[Callable[..., Any], Callable[..., Any]] = {
    torch.ops.multibox.multiclass_nms.default: multiclass_nms,
    torch.ops.aten.mean.dim: mean,
}
