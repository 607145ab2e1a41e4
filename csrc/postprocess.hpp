// From the raw output of a network to detections in one pass an image: activation, threshold, decoding of
// those boxes alone whose turn comes, NMS within each class, and the way back to the original frame.
#pragma once

#include <cmath>

#include "multiclass.hpp"
#include "simd.hpp"

namespace kernels {

// The arguments that a batch shares. lib/multibox/coder.py says what the variances and the limit mean.
struct Decoding {
    const float* priors;  // (num_boxes, 4) in the network's frame
    float center_variance, size_variance, max_log_ratio;
    float height, width;  // of the network's frame
};

inline float clamp(float value, float most) {
    return value < 0 ? 0 : (value > most ? most : value);
}  // keeps NaN

// The box that `delta` makes of prior `index`, cut to the network's frame.
inline void decode(const Decoding& decoding, const float* delta, int64_t index, float* corners) {
    const float* prior = decoding.priors + 4 * index;
    for (int axis = 0; axis < 2; ++axis) {
        const float low = prior[axis], high = prior[axis + 2], side = high - low;
        const float center = (low + high) / 2 + delta[axis] * decoding.center_variance * side;
        const float log_ratio = delta[axis + 2] * decoding.size_variance;
        const float most = decoding.max_log_ratio;
        const float half = side * std::exp(log_ratio > most ? most : log_ratio) / 2;
        const float limit = axis == 0 ? decoding.width : decoding.height;
        corners[axis] = clamp(center - half, limit);
        corners[axis + 2] = clamp(center + half, limit);
    }
}

// Turns rows of logits into candidates. Column 0 is the background.
class Activation {
public:
    Activation(int64_t num_classes, bool is_sigmoid, float threshold)
        : num_classes(num_classes), is_sigmoid(is_sigmoid), threshold(threshold) {
        padded = (num_classes + lanes - 1) / lanes * lanes;
        row.resize(padded), passes.resize((num_classes + 63) / 64 * 64);
        // The least logit that can pass, beside the row's greatest where the scores are a softmax.
        const float odds = is_sigmoid ? std::log(threshold) - std::log1p(-threshold) : std::log(threshold);
        least = threshold > 0 && threshold < 1 ? odds - slack : nothing;
    }

    void collect(const float* logits, int64_t num_boxes, std::vector<uint64_t>& candidates) {
        for (int64_t i = 0; i < num_boxes; ++i, logits += num_classes) {
            const float background = logits[0], top = greatest(logits + 1, num_classes - 1);
            const float most = std::max(top, background);
            if (!(top >= (is_sigmoid ? least : most + least))) continue;  // NaN scores nothing
            std::copy_n(logits, num_classes, row.begin());
            std::fill(row.begin() + num_classes, row.end(), nothing);
            row[0] = nothing;
            if (is_sigmoid)
                sigmoid();
            else
                softmax(most, background);
            for (int64_t k = 0; k < num_classes; k += 64)
                for (uint64_t bits = bits_of(&passes[k]); bits; bits &= bits - 1) {
                    const int64_t label = k + __builtin_ctzll(bits);
                    candidates.push_back(candidate(row[label], i, label, num_boxes));
                }
        }
    }

private:
    // 64 flags, each a byte of 0 or 1, as bits.
    static uint64_t bits_of(const char* flags) {
        uint64_t bits = 0;
        for (int i = 0; i < 64; i += 8) {
            uint64_t eight;
            std::memcpy(&eight, flags + i, sizeof eight);
            bits |= eight * 0x0102040810204080 >>
                    56 << i;  // byte j of the eight is bit j of the product's top byte
        }
        return bits;
    }

    static constexpr int lanes = 16;
    static constexpr float nothing = -std::numeric_limits<float>::infinity();  // the logit of what scores 0
    static constexpr float slack = 1e-3f;  // more than the rounding of logarithm and exponential

    float greatest(const float* values, int64_t count) const {
        float tops[lanes];
        std::fill_n(tops, lanes, nothing);
        for (int64_t i = 0; i < count % lanes; ++i) tops[i] = std::max(tops[i], values[i]);
        for (int64_t i = count % lanes; i < count; i += lanes)
            for (int lane = 0; lane < lanes; ++lane) tops[lane] = std::max(tops[lane], values[i + lane]);
        return greatest_of<lanes>(tops);
    }

    void softmax(float most, float background) {
        float sums[lanes] = {simd_exp(background - most)};
        for (int64_t k = 0; k < padded; k += lanes)
            for (int lane = 0; lane < lanes; ++lane)
                sums[lane] += row[k + lane] = simd_exp(row[k + lane] - most);
        float sum = 0;
        for (float part : sums) sum += part;
        for (int64_t k = 0; k < padded; ++k) row[k] /= sum, passes[k] = row[k] > threshold;
    }

    void sigmoid() {
        for (int64_t k = 0; k < padded; ++k)
            row[k] = 1 / (1 + simd_exp(-row[k])), passes[k] = row[k] > threshold;
    }

    int64_t num_classes, padded;
    bool is_sigmoid;
    float threshold, least;
    std::vector<float> row;  // logits, then scores; background and padding score 0
    std::vector<char> passes;
};

// logits (images, num_boxes, num_classes), deltas (images, num_boxes, 4), sizes (images, 2) as (height,
// width) -> output: of the first image, the others follow; counts (images)
inline void postprocess(const float* logits, const float* deltas, const int64_t* sizes, int64_t images,
                        int64_t num_boxes, int64_t num_classes, const Decoding& decoding, bool is_sigmoid,
                        const Limits& limits, int threads, Output output, int64_t* counts) {
#pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (int64_t image = 0; image < images; ++image) {
        thread_local std::vector<uint64_t> candidates;  // kept, for new memory is slow to come by
        candidates.clear();
        Activation(num_classes, is_sigmoid, limits.score_threshold)
            .collect(logits + image * num_boxes * num_classes, num_boxes, candidates);
        const float* image_deltas = deltas + image * num_boxes * 4;
        const auto box_at = [&](int64_t index, float* corners) {
            decode(decoding, image_deltas + 4 * index, index, corners);
        };
        const int64_t first = image * limits.max_detections;
        float* boxes = output.boxes + 4 * first;
        const Output mine = {boxes, output.scores + first, output.labels + first};
        counts[image] = select(candidates, num_boxes, num_classes, limits, box_at, mine);
        const float height = sizes[2 * image], width = sizes[2 * image + 1];
        for (int64_t i = 0; i < 2 * counts[image]; ++i) {
            boxes[2 * i] = clamp(boxes[2 * i] * (width / decoding.width), width);
            boxes[2 * i + 1] = clamp(boxes[2 * i + 1] * (height / decoding.height), height);
        }
    }
}

}  // namespace kernels
