"""SSD's matching rule, and what other rules share with it: compiled on the CPU, queued in torch elsewhere."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch

from lib.ops import kernels
from lib.ops.boxes import box_area
from lib.ops.checks import check_boxes, check_fraction, check_integers, check_one_device, check_shapes, check_tensors
from lib.structures import BACKGROUND, IGNORE, Target

MAX_PAIRS = 2**25  # of priors and objects at once: 12 bytes each for their overlaps, some 0.4 GB


class Matches(NamedTuple):
    """What each prior is to predict: ``labels`` (B, P) int64, the object's, BACKGROUND, or IGNORE where nothing may be
    learned; ``boxes`` (B, P, 4) float32 xyxy, the object's, or the prior's own where the label is not an object's.
    """

    labels: torch.Tensor
    boxes: torch.Tensor


class MatchRule(NamedTuple):
    """The options of ``lib.multibox.matcher.IoUMatcher``, which says what they mean."""

    threshold: float
    negative_threshold: float
    ignore_overlap: float
    best_prior: bool


def match(priors: torch.Tensor, target: Target, rule: MatchRule) -> Matches:
    """The object that each of the priors (P, 4) is to predict, in each image."""
    if kernels.for_cpu("_training", priors) is None:
        _check_match(priors, *target, *rule)
        return match_in_torch(priors, target, rule)
    return Matches(*_match(priors, target.boxes, target.labels, *rule))


def match_in_torch(priors: torch.Tensor, target: Target, rule: MatchRule) -> Matches:
    """The same in torch, for any device; nothing waits for it."""
    return match_in_parts(lambda part: _match_in_torch(priors, part, rule), priors, target)


def match_in_parts(match: Callable[[Target], Matches], priors: torch.Tensor, target: Target) -> Matches:
    """The matches of priors (P, 4) in a batch, by ``match``, which sees as many images at once as make at most
    MAX_PAIRS pairs of a prior and an object, but always one, and only images with room for an object.
    """
    if not target.labels.numel():
        return nothing_to_match(priors, target)
    images = max(1, MAX_PAIRS // max(1, len(priors) * target.labels.shape[1]))
    parts = zip(torch.split(target.boxes, images), torch.split(target.labels, images), strict=True)
    matches = [match(Target(boxes, labels)) for boxes, labels in parts]
    return matches[0] if len(matches) == 1 else Matches(*(torch.cat(values) for values in zip(*matches, strict=True)))


def _match_in_torch(priors: torch.Tensor, target: Target, rule: MatchRule) -> Matches:
    labels = target.labels
    iou = pairwise_iou(priors, target)
    best_iou, owner = iou.max(dim=2)  # (B, P)
    is_positive = best_iou >= rule.threshold
    if rule.best_prior:
        # Object g claims its best prior. amax makes the later object win, deterministically on every device.
        numbers = torch.arange(1, labels.shape[1] + 1, device=labels.device)
        claims = numbers * (labels > BACKGROUND)  # (B, G)
        claimed = torch.zeros_like(owner).scatter_reduce_(1, iou.argmax(dim=1), claims, reduce="amax")
        owner = torch.where(claimed > 0, claimed - 1, owner)
        is_positive |= claimed > 0
    is_ignored = (best_iou >= rule.negative_threshold) & (best_iou < rule.threshold)
    is_ignored |= are_inside_ignored(priors, target, rule.ignore_overlap)
    return make_matches(priors, target, is_positive, owner, is_ignored)


def _check_match(priors: torch.Tensor, boxes: torch.Tensor, labels: torch.Tensor, *rule: Any) -> None:
    check_target(priors, boxes, labels)
    check_rule(MatchRule(*rule))


def check_target(priors: torch.Tensor, boxes: torch.Tensor, labels: torch.Tensor) -> None:
    """That priors are (P, 4), and a target's boxes (B, G, 4) and labels (B, G)."""
    check_tensors(priors=priors, boxes=boxes)
    check_integers(labels=labels)
    check_one_device(boxes, labels)
    check_boxes(priors, "priors")
    shape = tuple(labels.shape) if labels.ndim == 2 else (-1, -1)
    check_shapes(labels=(labels, "(B, G)", shape), boxes=(boxes, "(B, G, 4)", (*shape, 4)))


def check_rule(rule: MatchRule) -> None:
    """That the thresholds of a rule are in range; they are named as the config names them."""
    if not 0 <= rule.negative_threshold <= rule.threshold <= 1:
        raise ValueError(
            "the thresholds must satisfy 0 <= matcher.negative_threshold <= matcher.threshold <= 1; "
            f"got {rule.negative_threshold} and {rule.threshold}"
        )
    check_fraction(rule.ignore_overlap, "matcher.ignore_overlap")


def _intersection(priors: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
    """Areas that priors (P, 4) and boxes (B, G, 4) share: (B, P, G)."""

    def shared_side(axis: int) -> torch.Tensor:
        low = torch.maximum(priors[None, :, None, axis], boxes[:, None, :, axis])  # (B, P, G)
        high = torch.minimum(priors[None, :, None, axis + 2], boxes[:, None, :, axis + 2])
        return high.sub_(low).clamp_(min=0)

    return shared_side(0).mul_(shared_side(1))


def pairwise_iou(priors: torch.Tensor, target: Target) -> torch.Tensor:
    """IoU of priors (P, 4) with each image's objects: (B, P, G); -1 for what is no object."""
    shared, area = _intersection(priors, target.boxes), box_area(priors)[None, :, None]
    union = (area + box_area(target.boxes)[:, None]).sub_(shared).clamp_(min=1e-12)
    return shared.div_(union).masked_fill_(~(target.labels > BACKGROUND)[:, None], -1.0)


def are_inside_ignored(priors: torch.Tensor, target: Target, least: float) -> torch.Tensor:
    """Whether more than ``least`` of a prior's area lies in an IGNORE region: (P, 4) -> (B, P)."""
    inside = _intersection(priors, target.boxes).div_(box_area(priors)[None, :, None].clamp(min=1e-12))
    return ((inside > least) & (target.labels == IGNORE)[:, None]).any(dim=2)


def make_matches(
    priors: torch.Tensor, target: Target, is_positive: torch.Tensor, owner: torch.Tensor, is_ignored: torch.Tensor
) -> Matches:
    """The matches of priors (P, 4) that are an object's (B, P), each with its owner's index (B, P), or ignored."""
    unmatched = torch.where(is_ignored, IGNORE, BACKGROUND)
    boxes = target.boxes.gather(1, owner[..., None].expand(-1, -1, 4))
    return Matches(
        torch.where(is_positive, target.labels.gather(1, owner), unmatched),
        torch.where(is_positive[..., None], boxes, priors),
    )


def nothing_to_match(priors: torch.Tensor, target: Target) -> Matches:
    """The matches of a batch without any object."""
    empty = target.labels.new_full((len(target.labels), len(priors)), BACKGROUND)
    return Matches(empty, priors.expand(len(target.labels), -1, -1))


@kernels.operator(
    _check_match,
    lambda priors, boxes, labels, *_: (
        labels.new_empty(len(labels), len(priors)),
        boxes.new_empty(len(labels), len(priors), 4),
    ),
)
def _match(
    priors: torch.Tensor,
    boxes: torch.Tensor,
    labels: torch.Tensor,
    threshold: float,
    negative_threshold: float,
    ignore_overlap: float,
    best_prior: bool,
) -> tuple[torch.Tensor, torch.Tensor]:
    prior_labels = labels.new_zeros(len(labels), len(priors))
    if not labels.numel() or not len(priors):
        return prior_labels, priors.repeat(len(labels), 1, 1)
    prior_boxes = priors.new_empty(*prior_labels.shape, 4)
    inputs = (kernels.as_input(priors), kernels.as_input(boxes), kernels.as_input(labels, torch.int64))
    options = (threshold, negative_threshold, ignore_overlap, best_prior, torch.get_num_threads())
    kernels.needed("_training").match(*inputs, *options, prior_labels.numpy(), prior_boxes.numpy())
    return prior_labels, prior_boxes
