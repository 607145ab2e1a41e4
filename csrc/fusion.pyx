"""Python face of fusion.hpp. lib/ops checks shapes, types and ranges."""

from libc.stdint cimport int64_t
from libcpp cimport bool as cbool

include "guards.pxi"


SORT_FROM = 128  # from here on it pays to sort the tree, by measurement


cdef extern from "fusion.hpp" namespace "kernels" nogil:
    cdef struct Decay:
        cbool is_gaussian
        float iou_threshold
        float sigma
        float score_threshold

    int64_t _soft_nms "kernels::soft_nms"(
        const float* boxes, const float* scores, const int64_t* labels, int64_t count, const Decay& decay,
        int64_t limit, int64_t* keep, float* new_scores
    ) except +
    int64_t _fuse_boxes "kernels::fuse_boxes"(
        const float* boxes, const float* weights, const int64_t* labels, const int64_t* sources, int64_t count,
        float threshold, cbool over_smaller, size_t sort_from, int64_t* members, int64_t* founders, float* fused
    ) except +


def soft_nms(
    const float[:, ::1] boxes,  # IN (N, 4)
    const float[::1] scores,  # IN (N,)
    const int64_t[::1] labels,  # IN (N,), or None for one class
    bint is_gaussian,
    float iou_threshold,
    float sigma,
    float score_threshold,
    int64_t limit,  # of boxes that stay
    int64_t[::1] keep,  # OUT (N,): the first of them are set
    float[::1] new_scores,  # OUT (N,), likewise
):
    """Indices and lowered scores of the boxes that stay, by falling score; returns how many."""
    cdef Decay decay = Decay(is_gaussian, iou_threshold, sigma, score_threshold)
    cdef int64_t count = boxes.shape[0]
    expect(boxes.shape[1] == 4 and scores.shape[0] == count, "boxes (N, 4), scores (N,)")
    expect(labels is None or labels.shape[0] == count, "labels (N,)")
    expect(keep.shape[0] >= count and new_scores.shape[0] >= count, "results (N,)")
    expect(0 <= iou_threshold <= 1 and sigma > 0, "iou_threshold in 0 .. 1, sigma above 0")
    expect(limit >= 0, "limit 0 or more")
    if count == 0:
        return 0
    cdef const int64_t* label = NULL
    if labels is not None:
        label = &labels[0]
    with nogil:
        count = _soft_nms(&boxes[0, 0], &scores[0], label, count, decay, limit, &keep[0], &new_scores[0])
    return count


def fuse_boxes(
    const float[:, ::1] boxes,  # IN (N, 4)
    const float[::1] weights,  # IN (N,), 0 or more
    const int64_t[::1] labels,  # IN (N,)
    const int64_t[::1] sources,  # IN (N,)
    float threshold,
    bint over_smaller,
    int64_t[::1] members,  # OUT (N,): the cluster of each box, or -1
    int64_t[::1] founders,  # OUT (N,): the first of them are set
    float[:, ::1] fused,  # OUT (N, 4), likewise
    size_t sort_from=SORT_FROM,  # IN boxes of a label from which the tree is sorted; the result is the same
):
    """The clusters of boxes and their means; returns how many."""
    cdef int64_t count = boxes.shape[0]
    expect(boxes.shape[1] == 4 and weights.shape[0] == count, "boxes (N, 4), weights (N,)")
    expect(labels.shape[0] == count and sources.shape[0] == count, "labels and sources (N,)")
    expect(members.shape[0] >= count and founders.shape[0] >= count, "results (N,)")
    expect(fused.shape[0] >= count and fused.shape[1] == 4, "fused (N, 4)")
    expect(count < (1LL << 32), "fewer than 2**32 boxes")  # rows are held in 32 bits
    expect(0 <= threshold <= 1, "threshold in 0 .. 1")
    if count == 0:
        return 0
    with nogil:
        count = _fuse_boxes(
            &boxes[0, 0], &weights[0], &labels[0], &sources[0], count, threshold, over_smaller, sort_from,
            &members[0], &founders[0], &fused[0, 0],
        )
    return count
