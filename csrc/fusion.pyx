"""Python face of fusion.hpp. lib/ops checks shapes, types and ranges."""

from libc.stdint cimport int64_t
from libcpp cimport bool as cbool


cdef extern from "fusion.hpp" namespace "kernels" nogil:
    cdef struct Decay:
        cbool is_gaussian
        float iou_threshold
        float sigma
        float score_threshold

    int64_t _soft_nms "kernels::soft_nms"(
        const float* boxes, const float* scores, const int64_t* labels, int64_t count, const Decay& decay,
        int64_t* keep, float* new_scores
    ) except +
    int64_t _weighted_box_fusion "kernels::weighted_box_fusion"(
        const float* boxes, const float* scores, const int64_t* labels, int64_t count, float threshold,
        int64_t num_sources, float* new_boxes, float* new_scores, int64_t* new_labels
    ) except +


def soft_nms(
    const float[:, ::1] boxes,  # IN (N, 4)
    const float[::1] scores,  # IN (N,)
    const int64_t[::1] labels,  # IN (N,), or None for one class
    bint is_gaussian,
    float iou_threshold,
    float sigma,
    float score_threshold,
    int64_t[::1] keep,  # OUT (N,): the first of them are set
    float[::1] new_scores,  # OUT (N,), likewise
):
    """Indices and lowered scores of the boxes that stay, by falling score; returns how many."""
    cdef Decay decay = Decay(is_gaussian, iou_threshold, sigma, score_threshold)
    cdef int64_t count = boxes.shape[0]
    if count == 0:
        return 0
    cdef const int64_t* label = NULL
    if labels is not None:
        label = &labels[0]
    with nogil:
        count = _soft_nms(&boxes[0, 0], &scores[0], label, count, decay, &keep[0], &new_scores[0])
    return count


def weighted_box_fusion(
    const float[:, ::1] boxes,  # IN (N, 4)
    const float[::1] scores,  # IN (N,)
    const int64_t[::1] labels,  # IN (N,), or None for one class
    float threshold,
    int64_t num_sources,
    float[:, ::1] new_boxes,  # OUT (N, 4): the first of them are set
    float[::1] new_scores,  # OUT (N,), likewise
    int64_t[::1] new_labels,  # OUT (N,), likewise
):
    """Mean boxes by falling score; returns how many."""
    cdef int64_t count = boxes.shape[0]
    if count == 0:
        return 0
    cdef const int64_t* label = NULL
    if labels is not None:
        label = &labels[0]
    with nogil:
        count = _weighted_box_fusion(
            &boxes[0, 0], &scores[0], label, count, threshold, num_sources, &new_boxes[0, 0], &new_scores[0],
            &new_labels[0],
        )
    return count
