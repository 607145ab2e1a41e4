"""Python face of matching.hpp and mining.hpp. lib/ops/matching.py and loss_sums.py check them."""

from libc.stdint cimport int64_t, uint8_t
from libcpp cimport bool as cbool

include "guards.pxi"


cdef extern from "mining.hpp" namespace "kernels" nogil:
    cdef struct MatchRule:
        float threshold
        float negative_threshold
        float ignore_overlap
        cbool best_prior

    void match_batch(
        const float* priors, int64_t count, const float* boxes, const int64_t* labels, int64_t images,
        int64_t objects, const MatchRule& rule, int threads, int64_t* found, float* matched
    ) except +
    int64_t greatest_label(const int64_t* labels, int64_t count)
    void _mined_losses "kernels::mined_losses"(
        const float* logits, const int64_t* labels, int64_t images, int64_t priors, int64_t classes,
        float ratio, float least, int threads, uint8_t* chosen, double* sums
    ) except +
    void _mined_gradient "kernels::mined_gradient"(
        const float* logits, const int64_t* labels, const uint8_t* chosen, int64_t rows, int64_t classes,
        float scale, float* out
    ) except +


def match(
    const float[:, ::1] priors,  # IN (P, 4)
    const float[:, :, ::1] boxes,  # IN (B, G, 4)
    const int64_t[:, ::1] labels,  # IN (B, G)
    float threshold,
    float negative_threshold,
    float ignore_overlap,
    bint best_prior,
    int threads,
    int64_t[:, ::1] found,  # OUT (B, P)
    float[:, :, ::1] matched,  # OUT (B, P, 4)
):
    """Each prior's label, and its object's box or else its own. B, G and P are 1 or more."""
    cdef int64_t count = priors.shape[0], images = boxes.shape[0], objects = boxes.shape[1]
    expect(count >= 1 and images >= 1 and objects >= 1, "B, G and P of 1 or more")
    expect(priors.shape[1] == 4 and boxes.shape[2] == 4, "priors (P, 4), boxes (B, G, 4)")
    expect(labels.shape[0] == images and labels.shape[1] == objects, "labels (B, G)")
    expect(found.shape[0] == images and found.shape[1] == count, "found (B, P)")
    expect(matched.shape[0] == images and matched.shape[1] == count and matched.shape[2] == 4, "matched (B, P, 4)")
    expect(objects < (1LL << 31), "fewer than 2**31 objects")  # owners hold them in 32 bits
    expect(0 <= negative_threshold <= threshold <= 1, "negative_threshold and threshold rising in 0 .. 1")
    expect(0 <= ignore_overlap <= 1 and threads >= 1, "ignore_overlap in 0 .. 1, threads above 0")
    cdef MatchRule rule = MatchRule(threshold, negative_threshold, ignore_overlap, best_prior)
    with nogil:
        match_batch(
            &priors[0, 0], priors.shape[0], &boxes[0, 0, 0], &labels[0, 0], boxes.shape[0], boxes.shape[1],
            rule, threads, &found[0, 0], &matched[0, 0, 0],
        )


cdef int check_labels(
    const float[:, :, ::1] logits, const int64_t[:, ::1] labels, const uint8_t[:, ::1] chosen
) except -1:
    """The shapes fit, and no label lies beyond the classes; negative ones are ignored."""
    cdef int64_t images = logits.shape[0], count = logits.shape[1], classes = logits.shape[2], greatest
    expect(images >= 1 and count >= 1 and classes >= 1, "logits (B, P, K), all of 1 or more")
    expect(count < (1LL << 32), "fewer than 2**32 priors")  # ranks hold indices in 32 bits
    expect(labels.shape[0] == images and labels.shape[1] == count, "labels (B, P)")
    expect(chosen.shape[0] == images and chosen.shape[1] == count, "chosen (B, P)")
    with nogil:
        greatest = greatest_label(&labels[0, 0], images * count)
    expect(greatest < classes, "labels below K")
    return 0


def mined_losses(
    const float[:, :, ::1] logits,  # IN (B, P, K)
    const int64_t[:, ::1] labels,  # IN (B, P), below K
    float ratio,
    float least,
    int threads,
    uint8_t[:, ::1] chosen,  # OUT (B, P)
    double[::1] sums,  # OUT (B,)
):
    """The loss of each image, and the priors that it is of. B and P are 1 or more."""
    check_labels(logits, labels, chosen)
    expect(sums.shape[0] == logits.shape[0], "sums (B,)")
    expect(0 <= ratio < float("inf") and 0 <= least < float("inf"), "ratio and least 0 or more and finite")
    expect(threads >= 1, "threads above 0")
    with nogil:
        _mined_losses(
            &logits[0, 0, 0], &labels[0, 0], logits.shape[0], logits.shape[1], logits.shape[2], ratio, least,
            threads, &chosen[0, 0], &sums[0],
        )


def mined_gradient(
    const float[:, :, ::1] logits,  # IN (B, P, K)
    const int64_t[:, ::1] labels,  # IN (B, P)
    const uint8_t[:, ::1] chosen,  # IN (B, P)
    float scale,
    float[:, :, ::1] out,  # OUT (B, P, K), zeros where not chosen, before as after
):
    """The gradient of ``scale`` times the summed losses. B and P are 1 or more."""
    check_labels(logits, labels, chosen)
    expect(out.shape[0] == logits.shape[0] and out.shape[1] == logits.shape[1], "out (B, P, K)")
    expect(out.shape[2] == logits.shape[2], "out (B, P, K)")
    with nogil:
        _mined_gradient(
            &logits[0, 0, 0], &labels[0, 0], &chosen[0, 0], logits.shape[0] * logits.shape[1],
            logits.shape[2], scale, &out[0, 0, 0],
        )
