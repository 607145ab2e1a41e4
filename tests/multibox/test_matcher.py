"""SSD's matching rule, against numbers worked out by hand and against a loop."""

import pytest
import torch

from lib.multibox.matcher import ATSSMatcher, GaussianMatcher, IoUMatcher, pairwise_nwd
from lib.ops import matching
from lib.ops.boxes import box_area, xyxy_to_cxcywh
from lib.ops.matching import are_inside_ignored, match_in_torch, pairwise_iou
from lib.structures import BACKGROUND, IGNORE, Target


def target(*images: list) -> Target:
    """Each image a list of (x1, y1, x2, y2, label)."""
    most = max(map(len, images))
    padded = [[*image, *[(0, 0, 0, 0, 0)] * (most - len(image))] for image in images]
    rows = torch.tensor(padded, dtype=torch.float32).reshape(len(images), most, 5)
    return Target(rows[..., :4], rows[..., 4].long())


PRIORS = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 5], [20, 0, 40, 10], [100, 100, 104, 130], [5, 0, 15, 10]])


def test_priors_take_their_best_object_from_the_threshold_on():
    # IoU with (0, 0, 10, 10): 1, 0.5, 0, 0, 1/3
    assert IoUMatcher(0.5)(PRIORS, target([(0, 0, 10, 10, 7)])).labels.tolist() == [[7, 7, 0, 0, 0]]
    assert IoUMatcher(0.51)(PRIORS, target([(0, 0, 10, 10, 7)])).labels.tolist() == [[7, 0, 0, 0, 0]]


def test_every_object_gets_its_best_prior_however_small():
    matches = IoUMatcher()(PRIORS, target([(101, 101, 103, 103, 4)]))  # IoU 4 / 120
    assert matches.labels.tolist() == [[0, 0, 0, 4, 0]]
    assert matches.boxes[0, 3].tolist() == [101, 101, 103, 103]


def test_later_object_wins_a_prior_that_two_want():
    matches = IoUMatcher()(PRIORS, target([(101, 101, 103, 103, 4), (101, 110, 103, 112, 5)]))
    assert matches.labels.tolist() == [[0, 0, 0, 5, 0]]


def test_band_between_the_thresholds_is_ignored():
    matches = IoUMatcher(0.6, negative_threshold=0.3)(PRIORS, target([(0, 0, 10, 10, 7)]))
    assert matches.labels.tolist() == [[7, IGNORE, 0, 0, IGNORE]]


def test_priors_inside_an_ignored_region_are_no_negatives():
    crowd = (18, 0, 60, 20, IGNORE)
    matches = IoUMatcher()(PRIORS, target([(0, 0, 10, 10, 7), crowd], [crowd], [(20, 0, 40, 10, 3), crowd]))
    assert matches.labels.tolist() == [[7, 7, IGNORE, 0, 0], [0, 0, IGNORE, 0, 0], [0, 0, 3, 0, 0]]


def test_images_without_objects_are_all_background():
    assert IoUMatcher()(PRIORS, target([], [])).labels.tolist() == [[0] * 5, [0] * 5]
    assert IoUMatcher()(PRIORS, target([(0, 0, 10, 10, 7)], [])).labels.tolist()[1] == [0] * 5


def test_batch_equals_a_loop_over_images_priors_and_objects():
    generator = torch.Generator().manual_seed(3)

    def boxes(count):
        corner = torch.randint(0, 90, (count, 2), generator=generator).float()
        return torch.cat([corner, corner + torch.randint(1, 40, (count, 2), generator=generator)], dim=1)

    priors = boxes(200)
    images = [[(*box, i % 5 + 1) for i, box in enumerate(boxes(count).tolist())] for count in (12, 0, 1, 30)]
    matches = IoUMatcher()(priors, target(*images))
    for image, labels, matched in zip(images, *matches, strict=True):
        expected_labels, expected_boxes = slow_match(priors.tolist(), image)
        assert labels.tolist() == expected_labels
        for box, expected in zip(matched.tolist(), expected_boxes, strict=True):
            assert expected is None or box == list(expected)


def slow_match(priors, image):
    def iou(a, b):
        w, h = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
        shared = max(w, 0) * max(h, 0)
        total = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
        return shared / total

    owner = [None] * len(priors)
    for p, prior in enumerate(priors):
        overlaps = [iou(prior, obj) for obj in image]
        if overlaps and max(overlaps) >= 0.5:
            owner[p] = overlaps.index(max(overlaps))
    for g, obj in enumerate(image):
        overlaps = [iou(prior, obj) for prior in priors]
        owner[overlaps.index(max(overlaps))] = g
    labels = [0 if g is None else image[g][4] for g in owner]
    return labels, [None if g is None else image[g][:4] for g in owner]


def random_case(generator):
    """Priors (P, 4), and five images with up to seven objects and crowds each."""
    corners = [torch.randint(0, 40, (*shape, 2), generator=generator) / 2 for shape in ((60,), (5, 7))]
    sides = [torch.rand(*corner.shape, generator=generator) * 20 - 1 for corner in corners]
    priors, boxes = (torch.cat([low, low + side], dim=-1) for low, side in zip(corners, sides, strict=True))
    return priors, Target(boxes, torch.randint(IGNORE, 4, (5, 7), generator=generator))


def test_overlaps_axis_by_axis_have_the_bits_of_all_at_once(generator):
    for _ in range(20):
        priors, given = random_case(generator)
        is_object = (given.labels > BACKGROUND)[:, None]
        low = torch.maximum(priors[None, :, None, :2], given.boxes[:, None, :, :2])
        high = torch.minimum(priors[None, :, None, 2:], given.boxes[:, None, :, 2:])
        shared = (high - low).clamp(min=0).prod(-1)
        union = box_area(priors)[None, :, None] + box_area(given.boxes)[:, None] - shared
        assert torch.equal(pairwise_iou(priors, given), torch.where(is_object, shared / union.clamp(min=1e-12), -1.0))
        share = shared / box_area(priors)[None, :, None].clamp(min=1e-12)
        is_inside = ((share > 0.3) & (given.labels == IGNORE)[:, None]).any(2)
        assert torch.equal(are_inside_ignored(priors, given, 0.3), is_inside)
        apart = xyxy_to_cxcywh(priors)[None, :, None] - xyxy_to_cxcywh(given.boxes)[:, None]
        squared = apart[..., :2].square().sum(-1) + (apart[..., 2:] / 2).square().sum(-1)
        nwd = torch.where(is_object, torch.exp(-squared.sqrt() / 12.8), -1.0)
        assert torch.equal(pairwise_nwd(priors, given, 12.8), nwd)


def match_as_on_gpu(priors, given):
    return match_in_torch(priors, given, IoUMatcher().rule)


@pytest.mark.parametrize("match", [match_as_on_gpu, ATSSMatcher(), GaussianMatcher()])
def test_a_crowded_batch_is_matched_in_parts_with_the_same_result(match, generator, monkeypatch):
    priors, given = random_case(generator)
    whole, areas, pairs = match(priors, given), matching._intersection, []
    monkeypatch.setattr(matching, "MAX_PAIRS", 2 * 60 * 7 + 1)
    monkeypatch.setattr(
        matching, "_intersection", lambda priors, boxes: pairs.append(boxes.shape[0]) or areas(priors, boxes)
    )
    assert all(torch.equal(*values) for values in zip(match(priors, given), whole, strict=True))
    assert list(dict.fromkeys(pairs)) == [2, 1]  # images at once


def test_thresholds_must_rise():
    with pytest.raises(ValueError, match="must satisfy 0 <= .* <= 1; got 0.6 and 0.5"):
        IoUMatcher(0.5, negative_threshold=0.6)
