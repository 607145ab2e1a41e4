"""Which prior is to find which object: SSD's rule (SSD, section 2.2, matching strategy)."""

from __future__ import annotations

from typing import NamedTuple

import torch

from lib.ops.boxes import box_area
from lib.structures import BACKGROUND, IGNORE, Target


class Matches(NamedTuple):
    """What each prior is to predict.

    Attributes:
        labels: (B, P) int64: the object's label, BACKGROUND, or IGNORE where nothing may be learned.
        boxes: (B, P, 4) float32 xyxy: the object's box; of no meaning where the label is not an object's.
    """

    labels: torch.Tensor
    boxes: torch.Tensor


def intersection(priors: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
    """Areas that priors (P, 4) and boxes (B, G, 4) share: (B, P, G)."""
    low = torch.maximum(priors[None, :, None, :2], boxes[:, None, :, :2])  # (B, P, G, 2)
    high = torch.minimum(priors[None, :, None, 2:], boxes[:, None, :, 2:])
    width, height = (high - low).clamp(min=0).unbind(-1)
    return width * height


class IoUMatcher:
    """Every prior takes the object that it overlaps most, if by ``threshold`` or more; every object takes the
    prior that it overlaps most, whatever the overlap, so none goes without.

    Ties: a prior takes the earlier object, an object the earlier prior; of two objects that want the same
    prior the later one gets it.

    Args:
        threshold: least IoU of a match.
        negative_threshold: priors whose best IoU lies between this and ``threshold`` are ignored. Equal: none.
        ignore_overlap: unmatched priors with this share of their area in an IGNORE region are ignored.
    """

    def __init__(self, threshold: float = 0.5, negative_threshold: float | None = None, ignore_overlap: float = 0.5):
        self.threshold = threshold
        self.negative_threshold = threshold if negative_threshold is None else negative_threshold
        self.ignore_overlap = ignore_overlap
        if not 0 <= self.negative_threshold <= threshold <= 1:
            raise ValueError(
                "matcher.negative_threshold and matcher.threshold must be rising in 0 .. 1; "
                f"got {self.negative_threshold} and {threshold}"
            )

    @torch.no_grad()
    def __call__(self, priors: torch.Tensor, target: Target) -> Matches:
        """Matches a batch on the priors' device.

        Args:
            priors: (P, 4) float32 xyxy, pixels of the network's input.
            target: ground truth in the same frame, on the same device.
        """
        boxes, labels = target
        if boxes.shape[1] == 0:
            empty = labels.new_full((len(labels), len(priors)), BACKGROUND)
            return Matches(empty, priors.expand(len(labels), -1, -1))
        shared, prior_area = intersection(priors, boxes), box_area(priors)[None, :, None]  # (B, P, G)
        is_object = (labels > BACKGROUND)[:, None]  # (B, 1, G)
        iou = shared / (prior_area + box_area(boxes)[:, None] - shared).clamp(min=1e-12)
        iou = iou.masked_fill(~is_object, -1.0)
        best_iou, best_object = iou.max(dim=2)  # (B, P)

        # Object g claims its best prior. amax makes the later object win, deterministically on every device.
        num_objects = labels.shape[1]
        claims = torch.arange(1, num_objects + 1, device=labels.device) * is_object[:, 0]  # (B, G)
        claimed = torch.zeros_like(best_object)
        claimed.scatter_reduce_(1, iou.argmax(dim=1), claims, reduce="amax")  # (B, P)
        best_object = torch.where(claimed > 0, claimed - 1, best_object)

        matched = labels.gather(1, best_object)  # (B, P)
        is_positive = (best_iou >= self.threshold) | (claimed > 0)
        is_ignored = (best_iou >= self.negative_threshold) & (best_iou < self.threshold)
        if bool((labels == IGNORE).any()):
            inside = shared / prior_area.clamp(min=1e-12) * (labels == IGNORE)[:, None]
            is_ignored |= inside.amax(dim=2) > self.ignore_overlap
        unmatched = torch.where(is_ignored, IGNORE, BACKGROUND)
        return Matches(
            torch.where(is_positive, matched, unmatched),
            boxes.gather(1, best_object[..., None].expand(-1, -1, 4)),
        )


MATCHERS = {"iou": IoUMatcher}
