"""Box operators: compiled where ``make`` could, torch elsewhere."""

from lib.ops.fusion import weighted_box_fusion
from lib.ops.multiclass import multiclass_nms
from lib.ops.nms import batched_nms, nms, soft_nms
from lib.ops.overlaps import bbox_overlaps
from lib.ops.padded import PaddedDetections

__all__ = [
    "PaddedDetections",
    "batched_nms",
    "bbox_overlaps",
    "multiclass_nms",
    "nms",
    "soft_nms",
    "weighted_box_fusion",
]
