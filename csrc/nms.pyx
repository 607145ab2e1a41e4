"""Python face of nms.hpp and multiclass.hpp. Shapes, types and ranges are checked by lib/ops/nms.py."""

from libc.stdint cimport int64_t


ctypedef fused real:
    float
    double


cdef extern from "nms.hpp" namespace "kernels" nogil:
    int64_t greedy_nms[T](
        const T* boxes, const T* scores, const int64_t* labels, int64_t count, T threshold, bint is_iof, int64_t* keep
    ) except +


cdef extern from "multiclass.hpp" namespace "kernels" nogil:
    cdef struct Limits:
        float score_threshold
        float iou_threshold
        int64_t max_candidates
        int64_t max_detections
        int64_t background

    cdef struct Found:
        float* boxes
        float* scores
        int64_t* labels

    int64_t best_of_classes(
        const float* boxes, const float* scores, int64_t num_boxes, int64_t num_classes, const Limits& limits, Found out
    ) except +


def nms(
    const real[:, ::1] boxes,  # IN (N, 4)
    const real[::1] scores,  # IN (N,)
    const int64_t[::1] labels,  # IN (N,), or None for one class
    double threshold,
    bint is_iof,
    int64_t[::1] keep,  # OUT (N,): the first of them are set
):
    """Indices of the boxes that stay, by falling score, into ``keep``; returns how many."""
    cdef int64_t count = boxes.shape[0]
    cdef const int64_t* label = NULL
    if count == 0:
        return 0
    if labels is not None:
        label = &labels[0]
    with nogil:
        count = greedy_nms(&boxes[0, 0], &scores[0], label, count, <real>threshold, is_iof, &keep[0])
    return count


def multiclass_nms(
    const float[:, :, ::1] boxes,  # IN (B, P, 4)
    const float[:, :, ::1] scores,  # IN (B, P, K)
    float score_threshold,
    float iou_threshold,
    int64_t max_candidates,
    int64_t background,  # or -1
    float[:, :, ::1] out_boxes,  # OUT (B, D, 4), zeros where there are fewer
    float[:, ::1] out_scores,  # OUT (B, D), likewise
    int64_t[:, ::1] out_labels,  # OUT (B, D), -1 likewise
    int64_t[::1] counts,  # OUT (B,)
):
    cdef Limits limits = Limits(score_threshold, iou_threshold, max_candidates, out_boxes.shape[1], background)
    cdef int64_t image
    for image in range(boxes.shape[0]):
        with nogil:
            counts[image] = best_of_classes(
                &boxes[image, 0, 0], &scores[image, 0, 0], boxes.shape[1], scores.shape[2], limits,
                Found(&out_boxes[image, 0, 0], &out_scores[image, 0], &out_labels[image, 0]),
            )
