"""Box operators: compiled where ``make`` could, torch elsewhere."""

from lib.ops.fusion import soft_nms, weighted_box_fusion
from lib.ops.nms import PaddedDetections, batched_nms, multiclass_nms, nms
from lib.ops.overlaps import bbox_overlaps

__all__ = [
    "PaddedDetections",
    "batched_nms",
    "bbox_overlaps",
    "multiclass_nms",
    "nms",
    "soft_nms",
    "weighted_box_fusion",
]
