"""Which object each prior is to predict: SSD's rule, and two that suit small objects better."""

import functools

import torch

from lib.ops.boxes import cxcywh_to_xyxy, xyxy_to_cxcywh
from lib.ops.checks import check_fraction, check_positive, check_sigma, check_weight
from lib.ops.matching import (
    Matches,
    MatchRule,
    are_inside_ignored,
    check_rule,
    check_target,
    make_matches,
    match,
    match_in_parts,
    pairwise_iou,
)
from lib.ops.reference import NWD_CONSTANT
from lib.structures import BACKGROUND, Target


def pairwise_nwd(priors: torch.Tensor, target: Target, constant: float) -> torch.Tensor:
    """Normalized Wasserstein distance of priors (P, 4) to each image's objects: (B, P, G); -1 for no object."""
    first, second = xyxy_to_cxcywh(priors)[None, :, None], xyxy_to_cxcywh(target.boxes)[:, None]

    def squared(part: int, divisor: int) -> torch.Tensor:
        return (first[..., part] - second[..., part]).div_(divisor).square_()  # (B, P, G)

    distance = squared(0, 1).add_(squared(1, 1)).add_(squared(2, 2).add_(squared(3, 2))).sqrt_()
    nwd = distance.neg_().div_(constant).exp_()
    return nwd.masked_fill_(~(target.labels > BACKGROUND)[:, None], -1.0)


def make_best_matches(
    priors: torch.Tensor, target: Target, scores: torch.Tensor, is_match: torch.Tensor, ignore_overlap: float
) -> Matches:
    """Gives each prior that one of the objects that it matches, (B, P, G) bool, whose score (B, P, G) is highest."""
    best, owner = scores.masked_fill(~is_match, -1.0).max(dim=2)  # (B, P)
    return make_matches(priors, target, best >= 0, owner, are_inside_ignored(priors, target, ignore_overlap))


class IoUMatcher:
    """Every prior takes the object that it overlaps most, if by ``threshold`` or more; every object takes the
    prior that it overlaps most, whatever the overlap.

    Ties: a prior takes the earlier object, an object the earlier prior; of several objects that want the same
    prior the last one gets it. As in SSD, the others take no second choice: unless another prior overlaps them by
    ``threshold``, they go without. That happens to tiny objects that are closer to each other than the priors are;
    tools/check_dataset.py counts them.

    Args:
        threshold: least IoU of a match.
        negative_threshold: priors whose best IoU lies between this and ``threshold`` are ignored. Equal: none.
        ignore_overlap: unmatched priors with this share of their area in an IGNORE region are ignored.
        best_prior: whether an object takes its best prior, whatever the overlap.
    """

    def __init__(
        self,
        threshold: float = 0.5,
        negative_threshold: float | None = None,
        ignore_overlap: float = 0.5,
        best_prior: bool = True,
    ):
        negative_threshold = threshold if negative_threshold is None else negative_threshold
        self.rule = MatchRule(threshold, negative_threshold, ignore_overlap, best_prior)
        check_rule(self.rule)

    @torch.no_grad()
    def __call__(self, priors: torch.Tensor, target: Target) -> Matches:
        """Matches a batch: priors (P, 4) float32 xyxy in pixels of the network's input, and a target in the same frame
        and on the same device.
        """
        return match(priors, target, self.rule)


class ATSSMatcher:
    """Each object sets its own threshold: the mean plus the standard deviation of the IoU of its candidates, which
    are the priors nearest to its center on every level (Zhang et al. 2020, algorithm 1).

    A prior matches if its IoU reaches that and its center lies in the object; of several objects it takes the one
    it overlaps most. An object may go without.

    Args:
        top_k: candidates of a level, in cells; each cell's priors count together (section 3.3).
        ignore_overlap: unmatched priors with this share of their area in an IGNORE region are ignored.
    """

    def __init__(self, top_k: int = 9, ignore_overlap: float = 0.5):
        check_positive(top_k, "matcher.top_k")
        check_fraction(ignore_overlap, "matcher.ignore_overlap")
        self.top_k, self.ignore_overlap = top_k, ignore_overlap

    @torch.no_grad()
    def __call__(self, priors: torch.Tensor, target: Target) -> Matches:
        """Matches a batch on the priors' device; arguments as of ``IoUMatcher``."""
        check_target(priors, *target)
        return match_in_parts(lambda part: self._match(priors, part), priors, target)

    def _match(self, priors: torch.Tensor, target: Target) -> Matches:
        iou = pairwise_iou(priors, target)  # (B, P, G)
        centers = xyxy_to_cxcywh(priors)[:, :2]
        object_centers = xyxy_to_cxcywh(target.boxes)[..., :2]  # (B, G, 2)
        apart = torch.cdist(centers.expand(len(iou), -1, -1), object_centers)  # (B, P, G)
        nearest = []
        for first, last, boxes_per_cell in levels_of(priors):
            count = min(self.top_k * boxes_per_cell, last - first)
            nearest.append(apart[:, first:last].topk(count, dim=1, largest=False).indices + first)
        candidates = torch.cat(nearest, dim=1)  # (B, C, G)
        of_candidates = iou.gather(1, candidates)
        threshold = of_candidates.mean(dim=1) + of_candidates.std(dim=1)  # (B, G)
        is_candidate = torch.zeros_like(iou, dtype=torch.bool).scatter_(1, candidates, True)
        low, high = target.boxes[:, None, :, :2], target.boxes[:, None, :, 2:]
        is_inside = ((centers[None, :, None] > low) & (centers[None, :, None] < high)).all(-1)
        is_match = is_candidate & is_inside & (iou >= threshold[:, None]) & (iou >= 0)
        return make_best_matches(priors, target, iou, is_match, self.ignore_overlap)


@functools.lru_cache(maxsize=8)  # by identity: a generator of priors gives the same tensor at each step
def levels_of(priors: torch.Tensor) -> list[tuple[int, int, int]]:
    """(first prior, one past the last, priors of a cell) of each level of priors (P, 4): a level ends where the
    row-wise order of the centers goes back to the top. Waits for the device, once for each tensor of priors.
    """
    x, y = xyxy_to_cxcywh(priors)[:, :2].double().cpu().unbind(-1)
    down, right = y.diff(), x.diff()
    goes_back = (down < -1e-3) | ((down.abs() <= 1e-3) & (right < -1e-3))
    starts = [0, *(goes_back.nonzero()[:, 0] + 1).tolist(), len(priors)]
    levels = []
    for first, last in zip(starts[:-1], starts[1:], strict=True):
        is_first_cell = (x[first:last] - x[first]).abs().add((y[first:last] - y[first]).abs()) <= 1e-3
        levels.append((first, last, int(is_first_cell.sum())))
    return levels


class GaussianMatcher:
    """Each object takes the priors nearest to it as Gaussians, so that a tiny one that no prior overlaps gets as
    many as a large one (RFLA, Xu et al. 2022, section 3.3: hierarchical label assignment).

    First every object takes its ``top_k`` priors by normalized Wasserstein distance (Wang et al. 2021, eq. 9);
    then one more of those still free, with all priors made smaller by ``shrink``. A prior that several want goes
    to the nearest. The priors stand for RFLA's receptive fields.

    Args:
        top_k: priors of an object in the first step.
        shrink: factor of the priors' sides in the second; 0: no second step.
        constant: scale of the distance in pixels.
        ignore_overlap: unmatched priors with this share of their area in an IGNORE region are ignored.
    """

    def __init__(
        self, top_k: int = 3, shrink: float = 0.9, constant: float = NWD_CONSTANT, ignore_overlap: float = 0.5
    ):
        check_positive(top_k, "matcher.top_k")
        check_weight(shrink, "matcher.shrink")
        check_sigma(constant, "matcher.constant")
        check_fraction(ignore_overlap, "matcher.ignore_overlap")
        self.top_k, self.shrink, self.constant, self.ignore_overlap = top_k, shrink, constant, ignore_overlap

    @torch.no_grad()
    def __call__(self, priors: torch.Tensor, target: Target) -> Matches:
        """Matches a batch on the priors' device; arguments as of ``IoUMatcher``."""
        check_target(priors, *target)
        return match_in_parts(lambda part: self._match(priors, part), priors, target)

    def _match(self, priors: torch.Tensor, target: Target) -> Matches:
        scores = pairwise_nwd(priors, target, self.constant)  # (B, P, G)
        is_match = self._best(scores, self.top_k)
        if self.shrink:
            centers = xyxy_to_cxcywh(priors)
            shrunk = cxcywh_to_xyxy(torch.cat([centers[:, :2], self.shrink * centers[:, 2:]], dim=-1))
            is_taken = is_match.any(dim=2, keepdim=True)
            smaller = pairwise_nwd(shrunk, target, self.constant).masked_fill(is_taken, -1.0)
            second = self._best(smaller, 1)
            scores, is_match = torch.where(second, smaller, scores), is_match | second
        return make_best_matches(priors, target, scores, is_match, self.ignore_overlap)

    @staticmethod
    def _best(scores: torch.Tensor, count: int) -> torch.Tensor:
        """Whether a prior is among an object's ``count`` best: (B, P, G) -> (B, P, G) bool."""
        best = scores.topk(min(count, scores.shape[1]), dim=1).indices
        return torch.zeros_like(scores, dtype=torch.bool).scatter_(1, best, True) & (scores >= 0)


MATCHERS = {"iou": IoUMatcher, "atss": ATSSMatcher, "gaussian": GaussianMatcher}
