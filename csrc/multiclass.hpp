// NMS of many classes at once, by falling score over all of them, ending as soon as enough boxes stay.
#pragma once

#include "kept.hpp"
#include "ranks.hpp"

namespace kernels {

struct Limits {
    float score_threshold, iou_threshold;
    int64_t max_candidates, max_detections;
    int64_t background;  // a class that is never detected, or -1
};

// One image's detections, in the caller's memory: boxes (max_detections, 4), scores and labels
// (max_detections).
struct Output {
    float* boxes;
    float* scores;
    int64_t* labels;
};

// A candidate is its rank (falling score, then class, then box) and its place in (classes, boxes), in one
// number.
inline uint64_t candidate(float score, int64_t box, int64_t label, int64_t num_boxes) {
    return uint64_t(rank_key(score)) << 32 | uint64_t(label * num_boxes + box);
}

using Candidates = std::vector<uint64_t>;

// Moves the best of [begin, end), some `count` or more, to the front, and gives their end.
inline Candidates::iterator best_of(Candidates::iterator begin, Candidates::iterator end, int64_t count) {
    constexpr int64_t num_samples = 1024;
    const int64_t size = end - begin;
    if (size < 4 * std::max(count, num_samples)) return end;
    uint64_t samples[num_samples];
    for (int64_t i = 0; i < num_samples; ++i) samples[i] = begin[i * size / num_samples];
    uint64_t* pivot = samples + 8 + 2 * count * num_samples / size;
    std::nth_element(samples, pivot, samples + num_samples);
    return std::partition(begin, end, [pivot](uint64_t key) { return key < *pivot; });
}

// Takes candidates by rank, in chunks that double, since the best few hundred usually fill the detections.
// `box_at(index, corners)` writes box `index`; it is called only for candidates whose turn comes.
template <typename BoxAt>
int64_t select(Candidates& candidates, int64_t num_boxes, int64_t num_classes, const Limits& limits,
               const BoxAt& box_at, Output out) {
    std::vector<Kept<float>> kept(num_classes);
    std::vector<int64_t> taken(num_classes);
    int64_t found = 0;
    auto begin = candidates.begin();
    for (int64_t chunk = 2 * limits.max_detections; begin < candidates.end(); chunk *= 2) {
        const auto end = best_of(begin, candidates.end(), chunk);
        std::sort(begin, end);
        for (; begin < end && found < limits.max_detections; ++begin) {
            const int64_t place = *begin & 0xffffffff, label = place / num_boxes;
            if (taken[label]++ >= limits.max_candidates) continue;
            float* corners = out.boxes + 4 * found;
            box_at(place % num_boxes, corners);
            if (!is_finite(corners)) continue;
            const Box<float> box(corners);
            if (kept[label].exceeds<Mode::iou>(box, limits.iou_threshold)) continue;
            kept[label].push(box);
            out.scores[found] = score_of(uint32_t(*begin >> 32));
            out.labels[found++] = label;
        }
        if (found == limits.max_detections) break;
    }
    std::fill(out.boxes + 4 * found, out.boxes + 4 * limits.max_detections, 0.0f);
    std::fill(out.scores + found, out.scores + limits.max_detections, 0.0f);
    std::fill(out.labels + found, out.labels + limits.max_detections, -1);
    return found;
}

// boxes (num_boxes, 4), scores (num_boxes, num_classes) of one image
inline int64_t best_of_classes(const float* boxes, const float* scores, int64_t num_boxes,
                               int64_t num_classes, const Limits& limits, Output out) {
    std::vector<uint64_t> candidates;
    for (int64_t i = 0; i < num_boxes; ++i)
        for (int64_t k = 0; k < num_classes; ++k) {
            const float score = scores[i * num_classes + k];
            if (k != limits.background && score > limits.score_threshold && score - score == 0.0f)
                candidates.push_back(candidate(score, i, k, num_boxes));
        }
    const auto box_at = [&](int64_t index, float* corners) { std::copy_n(boxes + 4 * index, 4, corners); };
    return select(candidates, num_boxes, num_classes, limits, box_at, out);
}

}  // namespace kernels
