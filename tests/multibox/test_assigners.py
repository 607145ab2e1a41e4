"""ATSS and the Gaussian rule, worked out by hand, and their edge cases."""

import pytest
import torch

from lib.build import build_loss
from lib.config import load_config
from lib.multibox.matcher import MATCHERS, ATSSMatcher, GaussianMatcher, levels_of
from lib.multibox.priors import PriorGenerator
from lib.structures import IGNORE, Target

# A row of five 10 x 10 priors side by side, then a level of one 40 x 40 prior
PRIORS = torch.tensor([*([x, 0.0, x + 10, 10] for x in (0.0, 10, 20, 30, 40)), [0, -15, 40, 25]])


def target(*rows: tuple) -> Target:
    values = torch.tensor([rows], dtype=torch.float32)
    return Target(values[..., :4], values[..., 4].long())


def test_levels_are_told_by_the_order_of_the_centers():
    priors = PriorGenerator([10, 20, 40, 80, 90], [[2], [2, 3], [], [2]], clip=False)
    boxes = priors([(4, 6), (2, 3), (1, 2), (1, 1)], (64, 96))
    assert levels_of(boxes) == [(0, 96, 4), (96, 132, 6), (132, 136, 2), (136, 140, 4)]


def test_atss_takes_candidates_that_stand_out():
    matches = ATSSMatcher(top_k=3)(PRIORS, target((19, 0, 29, 10, 7)))
    # Candidates 2, 1, 3 and 5: IoU .818, .053, 0, .0625; mean .233, standard deviation .391: only .818 reaches .624
    assert matches.labels.tolist() == [[0, 0, 7, 0, 0, 0]]
    assert matches.boxes[0, 2].tolist() == [19, 0, 29, 10]


def test_atss_needs_the_center_inside_the_object():
    # a thin object between the centers of priors 1 and 2 overlaps both, and is the center of neither
    assert ATSSMatcher(top_k=2)(PRIORS, target((16, 0, 24, 10, 7))).labels.tolist() == [[0] * 6]


def test_atss_counts_a_cells_priors_together():
    pairs = PRIORS[:5].repeat_interleave(2, dim=0)
    assert levels_of(pairs) == [(0, 10, 2)]
    matches = ATSSMatcher(top_k=3)(pairs, target((20, 0, 30, 10, 3)))
    # three cells, six candidates of IoU 1, 1, 0, 0, 0, 0: mean .333, standard deviation .516
    assert matches.labels.tolist() == [[0, 0, 0, 0, 3, 3, 0, 0, 0, 0]]


def test_gaussian_rule_gives_a_tiny_object_its_nearest_priors():
    # 2 x 2 pixels in a corner of prior 3: IoU .04 at most, and yet three priors, and a fourth in the second step
    first = GaussianMatcher(top_k=3, shrink=0.0)(PRIORS, target((31, 1, 33, 3, 4)))
    assert first.labels.tolist() == [[0, 0, 4, 4, 4, 0]]  # center (32, 2): distances 13, 7.1, 3, 13, ...
    both = GaussianMatcher(top_k=2)(PRIORS, target((31, 1, 33, 3, 4)))
    assert both.labels.tolist() == [[0, 0, 4, 4, 4, 0]]


def test_gaussian_rule_gives_a_contested_prior_to_the_nearest():
    near, far = (20.0, 0, 30, 10, 1), (22.0, 0, 32, 10, 2)
    assert GaussianMatcher(top_k=1, shrink=0.0)(PRIORS, target(far, near)).labels.tolist() == [[0, 0, 1, 0, 0, 0]]
    # in the second step the one that went without takes the nearest prior that is free
    assert GaussianMatcher(top_k=1)(PRIORS, target(far, near)).labels[0, 3].item() == 2


@pytest.mark.parametrize("name", MATCHERS)
def test_padding_crowds_and_images_without_objects(name):
    matcher = MATCHERS[name]()
    empty = Target(torch.zeros(2, 0, 4), torch.zeros(2, 0, dtype=torch.long))
    assert matcher(PRIORS, empty).labels.tolist() == [[0] * 6] * 2
    padded = target((0, 0, 0, 0, 0), (20, 0, 30, 10, 5), (0, 0, 0, 0, 0))
    assert matcher(PRIORS, padded).labels[0, 2].item() == 5
    only_padding = target((0, 0, 0, 0, 0))
    assert matcher(PRIORS, only_padding).labels.tolist() == [[0] * 6]
    crowd = matcher(PRIORS, target((-5, -5, 16, 15, IGNORE)))
    assert crowd.labels.tolist() == [[IGNORE, IGNORE, 0, 0, 0, 0]]


@pytest.mark.parametrize("name", MATCHERS)
def test_images_of_a_batch_do_not_meet(name):
    matcher, first, second = MATCHERS[name](), (20, 0, 30, 10, 5), (1, 1, 4, 4, 6)
    apart = torch.cat([matcher(PRIORS, target(row)).labels for row in (first, second)])
    rows = torch.tensor([[first], [second]], dtype=torch.float32)
    assert torch.equal(matcher(PRIORS, Target(rows[..., :4], rows[..., 4].long())).labels, apart)


def test_best_prior_can_be_left_out():
    loss = build_loss(load_config({"matcher": {"type": "iou", "best_prior": False}}))
    assert loss.matcher(PRIORS, target((31, 1, 33, 3, 4))).labels.tolist() == [[0] * 6]
    assert isinstance(build_loss(load_config({"matcher": {"type": "atss", "top_k": 5}})).matcher, ATSSMatcher)
