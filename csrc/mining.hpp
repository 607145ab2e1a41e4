// Softmax cross-entropy of positives and of the hardest negatives (SSD, section 2.2), and its gradient, which
// touches their rows alone. Column 0 is the background. lib/ops/loss_sums.py has the torch version.
#pragma once

#include <cmath>

#include "matching.hpp"
#include "ranks.hpp"
#include "simd.hpp"

namespace kernels {

constexpr int lanes = 16;

inline int64_t greatest_label(const int64_t* labels, int64_t count) {
    int64_t greatest = ignore_label;
    for (int64_t i = 0; i < count; ++i) greatest = std::max(greatest, labels[i]);
    return greatest;
}

struct Softmax {
    float shift, sum;  // a logit's probability is exp(logit - shift) / sum
};

// The exponentials of a row, summed sixteen at a time.
inline Softmax softmax_relative_to(float shift, const float* logits, int64_t classes) {
    float sums[lanes] = {}, rest[lanes], sum = 0;
    const int64_t whole = classes / lanes * lanes;
    std::fill_n(rest, lanes, -std::numeric_limits<float>::infinity());  // which add e^-87
    std::copy_n(logits + whole, classes - whole, rest);
    for (int64_t k = 0; k < whole; k += lanes)
        for (int lane = 0; lane < lanes; ++lane) sums[lane] += simd_exp_within(logits[k + lane] - shift);
    for (int lane = 0; lane < lanes; ++lane) sums[lane] += simd_exp_within(rest[lane] - shift);
    for (float part : sums) sum += part;
    return {shift, sum};
}

// Relative to the background's logit, which saves the pass for the greatest one, unless that is far greater.
inline Softmax softmax_of(const float* logits, int64_t classes) {
    const Softmax softmax = softmax_relative_to(logits[0], logits, classes);
    if (softmax.sum < 1e30f) return softmax;
    return softmax_relative_to(*std::max_element(logits, logits + classes), logits, classes);
}

// logits (priors, classes), labels (priors) of one image -> chosen (priors): positives and the negatives of
// greatest loss, `ratio` a positive but `least` if there are fewer; ties keep the lower index. Returns the sum of
// their losses.
inline double mined_loss(const float* logits, const int64_t* labels, int64_t priors, int64_t classes,
                         float ratio, float least, uint8_t* chosen) {
    std::vector<Ranked<uint32_t>> negatives;
    negatives.reserve(priors);
    int64_t positives = 0;
    double sum = 0;
    for (int64_t p = 0; p < priors; ++p) {
        chosen[p] = labels[p] > background_label;
        if (labels[p] < 0) continue;  // ignored
        const float* row = logits + p * classes;
        const Softmax softmax = softmax_of(row, classes);
        const float loss = std::log(softmax.sum) + (softmax.shift - row[labels[p]]);
        if (chosen[p])
            ++positives, sum += loss;
        else  // what is not a number must be seen: it ranks first
            negatives.push_back({rank_key(loss == loss ? loss : HUGE_VALF), uint32_t(p)});
    }
    const double wanted = std::ceil(std::max(float(positives) * ratio, least));
    const auto end = negatives.begin() + int64_t(std::min(wanted, double(negatives.size())));
    std::partial_sort(negatives.begin(), end, negatives.end());
    for (auto negative = negatives.begin(); negative != end; ++negative)
        chosen[negative->index] = 1, sum += score_of(negative->key);
    return sum;
}

// The same for a batch: logits (images, priors, classes), labels and chosen (images, priors), sums (images).
inline void mined_losses(const float* logits, const int64_t* labels, int64_t images, int64_t priors,
                         int64_t classes, float ratio, float least, int threads, uint8_t* chosen,
                         double* sums) {
#pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (int64_t image = 0; image < images; ++image) {
        const int64_t first = image * priors;
        sums[image] = mined_loss(logits + first * classes, labels + first, priors, classes, ratio, least,
                                 chosen + first);
    }
}

// The gradient of `scale` times the sum of all sums: logits and out (rows, classes), labels and chosen (rows).
// Rows that were not chosen are left as they are.
inline void mined_gradient(const float* logits, const int64_t* labels, const uint8_t* chosen, int64_t rows,
                           int64_t classes, float scale, float* out) {
    for (int64_t i = 0; i < rows; ++i) {
        if (!chosen[i] || labels[i] < 0) continue;
        const float* row = logits + i * classes;
        const Softmax softmax = softmax_of(row, classes);
        const float factor = scale / softmax.sum;
        float* own = out + i * classes;
        for (int64_t k = 0; k < classes; ++k) own[k] = factor * simd_exp(row[k] - softmax.shift);
        own[labels[i]] -= scale;
    }
}

}  // namespace kernels
