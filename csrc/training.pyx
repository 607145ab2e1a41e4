"""Python face of matching.hpp and mining.hpp. lib/ops/matching.py and loss_sums.py check them."""

from libc.stdint cimport int64_t, uint8_t
from libcpp cimport bool as cbool


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
    cdef MatchRule rule = MatchRule(threshold, negative_threshold, ignore_overlap, best_prior)
    with nogil:
        match_batch(
            &priors[0, 0], priors.shape[0], &boxes[0, 0, 0], &labels[0, 0], boxes.shape[0], boxes.shape[1],
            rule, threads, &found[0, 0], &matched[0, 0, 0],
        )


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
    with nogil:
        _mined_gradient(
            &logits[0, 0, 0], &labels[0, 0], &chosen[0, 0], logits.shape[0] * logits.shape[1],
            logits.shape[2], scale, &out[0, 0, 0],
        )
