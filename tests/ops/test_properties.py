import math

import hypothesis.strategies as st
import torch
from hypothesis import given, settings

from lib.ops import batched_nms, bbox_overlaps, nms, reference

COORDINATES = st.one_of(
    st.integers(0, 12).map(float),  # ties, duplicates, boxes of no area
    st.floats(width=32),  # NaN, infinite, huge, subnormal
    st.floats(-100, 100, width=32),
)
SCORES = st.one_of(st.sampled_from([0.0, -0.0, 0.25, 0.5]), st.floats(width=32))
THRESHOLDS = st.one_of(st.sampled_from([0.0, 0.25, 0.5, 1.0]), st.floats(0, 1))
ROWS = st.lists(st.tuples(*[COORDINATES] * 4, SCORES, st.integers(0, 2)), max_size=12)


def unpack(rows):
    table = torch.tensor([row[:5] for row in rows], dtype=torch.float32).reshape(-1, 5)
    return table[:, :4], table[:, 4], torch.tensor([row[5] for row in rows], dtype=torch.int64)


def checked(examples=80):
    return settings(max_examples=examples, deadline=None, derandomize=True)


@given(ROWS, THRESHOLDS)
@checked()
def test_what_stays_is_apart_and_what_goes_is_covered(rows, threshold):
    boxes, scores, _ = unpack(rows)
    keep = nms(boxes, scores, threshold).tolist()
    limit = torch.tensor(threshold, dtype=torch.float32)
    overlaps = bbox_overlaps(boxes, boxes)
    for place, index in enumerate(keep):
        assert boxes[index].isfinite().all() and math.isfinite(scores[index])
        assert not (overlaps[keep[:place], index] > limit).any()
    for index in set(range(len(boxes))) - set(keep):
        finite = bool(boxes[index].isfinite().all() and scores[index].isfinite())
        better = [k for k in keep if (-scores[k], k) < (-scores[index], index)]
        assert not finite or (overlaps[better, index] > limit).any()


@given(ROWS, THRESHOLDS)
@checked()
def test_nms_of_what_stays_keeps_all_of_it(rows, threshold):
    boxes, scores, _ = unpack(rows)
    keep = nms(boxes, scores, threshold)
    assert nms(boxes[keep], scores[keep], threshold).tolist() == list(range(len(keep)))


@given(ROWS, st.sampled_from(list(reference.LOWEST)))
@checked()
def test_overlaps_equal_the_reference_on_any_boxes(rows, mode):
    boxes, _, _ = unpack(rows)
    found, expected = bbox_overlaps(boxes, boxes, mode), reference.bbox_overlaps(boxes, boxes, mode)
    torch.testing.assert_close(found, expected, rtol=0, atol=3e-7 if mode == "nwd" else 0, equal_nan=True)
    if mode in ("iou", "iof"):
        assert ((found >= 0) & (found <= 1)).all()


@given(ROWS, THRESHOLDS)
@checked(50)
def test_half_boxes_give_what_their_values_give_in_float32(rows, threshold):
    boxes, scores, labels = unpack(rows)
    half = boxes.half(), scores.half()
    single = [value.float() for value in half]
    assert torch.equal(batched_nms(*half, labels * 60000, threshold), batched_nms(*single, labels, threshold))
