"""Small box arithmetic in torch: any leading shape, any device, differentiable. Boxes are (..., 4)."""

import math

import torch

MAX_LOG_RATIO = math.log(1000 / 16)  # a box is at most 62.5 times as wide as its prior: exp cannot overflow


def box_area(boxes: torch.Tensor) -> torch.Tensor:
    """(..., 4) xyxy -> (...) areas; 0 where a side is not positive."""
    sides = (boxes[..., 2:] - boxes[..., :2]).clamp(min=0)
    return sides[..., 0] * sides[..., 1]


def clip_boxes(boxes: torch.Tensor, size: tuple[int, int] | torch.Tensor) -> torch.Tensor:
    """xyxy boxes (..., 4) clipped to the frame 0 .. width, 0 .. height of ``size``: (height, width), or a tensor
    (..., 2) of them that broadcasts against the boxes.
    """
    return torch.minimum(boxes.clamp(min=0), _corner_pair(size, boxes))


def scale_boxes(
    boxes: torch.Tensor, source: tuple[int, int] | torch.Tensor, target: tuple[int, int] | torch.Tensor
) -> torch.Tensor:
    """xyxy boxes (..., 4) of a frame of size ``source`` in one of size ``target``; sizes are (height, width)."""
    return boxes * (_corner_pair(target, boxes) / _corner_pair(source, boxes))


def _corner_pair(size: tuple[int, int] | torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
    """(height, width) -> (width, height, width, height) in the boxes' type, without waiting for the device."""
    if isinstance(size, torch.Tensor):
        height, width = size.to(boxes.device, boxes.dtype, non_blocking=True).unbind(-1)
    else:
        height, width = (boxes.new_full((), side) for side in size)
    return torch.stack([width, height, width, height], dim=-1)


def xyxy_to_cxcywh(boxes: torch.Tensor) -> torch.Tensor:
    """Corners -> center, width and height."""
    low, high = boxes[..., :2], boxes[..., 2:]
    return torch.cat([(low + high) / 2, high - low], dim=-1)


def cxcywh_to_xyxy(boxes: torch.Tensor) -> torch.Tensor:
    """Center, width and height -> corners."""
    center, half = boxes[..., :2], boxes[..., 2:] / 2
    return torch.cat([center - half, center + half], dim=-1)


def xyxy_to_xywh(boxes: torch.Tensor) -> torch.Tensor:
    """Corners -> top left corner, width and height, as COCO files have them."""
    return torch.cat([boxes[..., :2], boxes[..., 2:] - boxes[..., :2]], dim=-1)


def decode_boxes(deltas: torch.Tensor, priors: torch.Tensor, variances: tuple[float, float]) -> torch.Tensor:
    """Boxes that the offsets lead to; see ``lib.multibox.coder.BoxCoder``."""
    deltas, prior = deltas.float(), xyxy_to_cxcywh(priors.float())
    centers = prior[..., :2] + deltas[..., :2] * variances[0] * prior[..., 2:]
    sizes = prior[..., 2:] * torch.exp((deltas[..., 2:] * variances[1]).clamp(max=MAX_LOG_RATIO))
    return cxcywh_to_xyxy(torch.cat([centers, sizes], dim=-1))
