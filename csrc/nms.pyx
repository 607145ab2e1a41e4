"""Python face of nms.hpp, multiclass.hpp and postprocess.hpp. lib/ops checks shapes, types and ranges."""

from libc.stdint cimport int64_t

include "guards.pxi"


ctypedef fused real:
    float
    double


GRID_FROM = 1024  # from here on the grid is faster, by measurement


cdef extern from "nms.hpp" namespace "kernels" nogil:
    int64_t greedy_nms[T](
        const T* boxes, const T* scores, const int64_t* labels, int64_t count, T threshold, bint is_iof,
        size_t grid_from, int64_t* keep
    ) except +


cdef extern from "postprocess.hpp" namespace "kernels" nogil:
    cdef struct Limits:
        float score_threshold
        float iou_threshold
        int64_t max_candidates
        int64_t max_detections
        int64_t background

    cdef struct Output:
        float* boxes
        float* scores
        int64_t* labels

    int64_t best_of_classes(
        const float* boxes, const float* scores, int64_t num_boxes, int64_t num_classes, const Limits& limits,
        Output output
    ) except +

    cdef struct Decoding:
        const float* priors
        float center_variance
        float size_variance
        float max_log_ratio
        float height
        float width

    void _postprocess "kernels::postprocess"(
        const float* logits, const float* deltas, const int64_t* sizes, int64_t images, int64_t num_boxes,
        int64_t num_classes, const Decoding& decoding, bint is_sigmoid, const Limits& limits, int threads,
        Output output, int64_t* counts
    ) except +


def nms(
    const real[:, ::1] boxes,  # IN (N, 4)
    const real[::1] scores,  # IN (N,)
    const int64_t[::1] labels,  # IN (N,), or None for one class
    double threshold,
    bint is_iof,
    int64_t[::1] keep,  # OUT (N,): the first of them are set
    size_t grid_from=GRID_FROM,  # IN boxes of a label from which the grid is used; the result is the same
):
    """Indices of the boxes that stay, by falling score, into ``keep``; returns how many."""
    cdef int64_t count = boxes.shape[0]
    cdef const int64_t* label = NULL
    expect(boxes.shape[1] == 4 and scores.shape[0] == count, "boxes (N, 4), scores (N,)")
    expect(labels is None or labels.shape[0] == count, "labels (N,)")
    expect(keep.shape[0] >= count, "keep (N,)")
    expect(count < (1LL << 32), "fewer than 2**32 boxes")  # ranks hold indices in 32 bits
    expect(0 <= threshold <= 1, "threshold in 0 .. 1")
    if count == 0:
        return 0
    if labels is not None:
        label = &labels[0]
    with nogil:
        count = greedy_nms(
            &boxes[0, 0], &scores[0], label, count, <real>threshold, is_iof, grid_from, &keep[0]
        )
    return count


cdef int check_places(int64_t num_boxes, int64_t num_classes) except -1:
    """A candidate's place is kept in 32 bits."""
    if num_boxes * num_classes >= 1LL << 32:
        raise ValueError(f"boxes times classes must be below 2**32; got {num_boxes} times {num_classes}")
    return 0


cdef int check_output(
    float[:, :, ::1] boxes, float[:, ::1] scores, int64_t[:, ::1] labels, int64_t[::1] counts, int64_t images
) except -1:
    """The results of a batch have one size."""
    cdef int64_t most = boxes.shape[1]
    expect(most >= 1 and boxes.shape[2] == 4, "result boxes (B, D, 4), D of 1 or more")
    expect(scores.shape[1] == most and labels.shape[1] == most, "result scores and labels (B, D)")
    expect(boxes.shape[0] == images and scores.shape[0] == images, "result boxes and scores of B images")
    expect(labels.shape[0] == images and counts.shape[0] == images, "result labels and counts of B images")
    return 0


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
    cdef int64_t images = boxes.shape[0], num_boxes = boxes.shape[1], num_classes = scores.shape[2]
    cdef int64_t most = out_boxes.shape[1], image
    cdef Limits limits = Limits(score_threshold, iou_threshold, max_candidates, most, background)
    expect(boxes.shape[2] == 4, "boxes (B, P, 4)")
    expect(scores.shape[0] == images and scores.shape[1] == num_boxes, "scores (B, P, K)")
    expect(0 <= iou_threshold <= 1, "iou_threshold in 0 .. 1")
    check_output(out_boxes, out_scores, out_labels, counts, images)
    check_places(num_boxes, num_classes)
    for image in range(images):
        with nogil:
            counts[image] = best_of_classes(
                &boxes[image, 0, 0], &scores[image, 0, 0], num_boxes, num_classes, limits,
                Output(&out_boxes[image, 0, 0], &out_scores[image, 0], &out_labels[image, 0]),
            )


def postprocess(
    const float[:, :, ::1] logits,  # IN (B, P, K)
    const float[:, :, ::1] deltas,  # IN (B, P, 4)
    const float[:, ::1] priors,  # IN (P, 4)
    const int64_t[:, ::1] sizes,  # IN (B, 2), height and width of the original images
    float height,  # of the network's frame
    float width,
    float center_variance,
    float size_variance,
    float max_log_ratio,
    bint is_sigmoid,
    float score_threshold,
    float iou_threshold,
    int64_t max_candidates,
    int threads,
    float[:, :, ::1] out_boxes,  # OUT (B, D, 4), zeros where there are fewer
    float[:, ::1] out_scores,  # OUT (B, D), likewise
    int64_t[:, ::1] out_labels,  # OUT (B, D), -1 likewise
    int64_t[::1] counts,  # OUT (B,)
):
    cdef int64_t images = logits.shape[0], num_boxes = logits.shape[1]
    expect(logits.shape[2] >= 1, "logits (B, P, K), K of 1 or more")
    expect(deltas.shape[0] == images and deltas.shape[1] == num_boxes and deltas.shape[2] == 4, "deltas (B, P, 4)")
    expect(priors.shape[0] == num_boxes and priors.shape[1] == 4, "priors (P, 4)")
    expect(sizes.shape[0] == images and sizes.shape[1] == 2, "sizes (B, 2)")
    # Padding behind the last class scores 0, which no threshold may let pass.
    expect(0 <= score_threshold <= 1 and 0 <= iou_threshold <= 1, "thresholds in 0 .. 1")
    expect(height > 0 and width > 0 and threads >= 1, "height, width and threads above 0")
    check_output(out_boxes, out_scores, out_labels, counts, images)
    check_places(num_boxes, logits.shape[2])
    if logits.shape[0] == 0:
        return
    cdef Limits limits = Limits(score_threshold, iou_threshold, max_candidates, out_boxes.shape[1], 0)
    cdef Decoding decoding = Decoding(
        &priors[0, 0], center_variance, size_variance, max_log_ratio, height, width
    )
    with nogil:
        _postprocess(
            &logits[0, 0, 0], &deltas[0, 0, 0], &sizes[0, 0], logits.shape[0], logits.shape[1],
            logits.shape[2], decoding, is_sigmoid, limits, threads,
            Output(&out_boxes[0, 0, 0], &out_scores[0, 0], &out_labels[0, 0]), &counts[0],
        )
