// NMS of many classes at once, by falling score over all of them, ending as soon as enough boxes stay.
#pragma once

#include "nms.hpp"

namespace kernels {

struct Limits {
    float score_threshold, iou_threshold;
    int64_t max_candidates, max_detections;
    int64_t background;  // a class that is never detected, or -1
};

// One image's detections, in the caller's memory: boxes (max_detections, 4), scores and labels
// (max_detections).
struct Found {
    float* boxes;
    float* scores;
    int64_t* labels;
};

// A candidate's key orders by falling score, then class, then box: the rank, and the box's place in (classes,
// boxes).
inline uint64_t candidate_key(float score, uint64_t place) { return uint64_t(rank_key(score)) << 32 | place; }

// Takes candidates by rank, in chunks that double, since the best few hundred usually fill the detections.
// `box_at(index, box)` writes box `index`; it is called only for candidates whose turn comes.
template <typename BoxAt>
int64_t select(std::vector<uint64_t>& candidates, int64_t num_boxes, int64_t num_classes, const Limits& limits,
               const BoxAt& box_at, Found out) {
    std::vector<Kept<float>> kept(num_classes);
    std::vector<int64_t> taken(num_classes);
    int64_t found = 0;
    size_t chunk = 4 * limits.max_detections, begin = 0;
    while (begin < candidates.size() && found < limits.max_detections) {
        const size_t end = std::min(begin + chunk, candidates.size());
        if (end < candidates.size())
            std::nth_element(candidates.begin() + begin, candidates.begin() + end, candidates.end());
        std::sort(candidates.begin() + begin, candidates.begin() + end);
        for (; begin < end && found < limits.max_detections; ++begin) {
            const uint64_t place = candidates[begin] & 0xffffffff;
            const int64_t label = place / num_boxes;
            if (taken[label]++ >= limits.max_candidates) continue;
            float* box = out.boxes + 4 * found;
            out.scores[found] = box_at(place % num_boxes, label, box);
            if (!is_finite(box) || kept[label].exceeds<Mode::iou>(Box<float>(box), limits.iou_threshold)) continue;
            kept[label].push(Box<float>(box));
            out.labels[found++] = label;
        }
        chunk *= 2;
    }
    for (int64_t i = found; i < limits.max_detections; ++i) {
        std::fill_n(out.boxes + 4 * i, 4, 0.0f);
        out.scores[i] = 0, out.labels[i] = -1;
    }
    return found;
}

// boxes (num_boxes, 4), scores (num_boxes, num_classes) of one image
inline int64_t best_of_classes(const float* boxes, const float* scores, int64_t num_boxes, int64_t num_classes,
                               const Limits& limits, Found out) {
    std::vector<uint64_t> candidates;
    for (int64_t i = 0; i < num_boxes; ++i)
        for (int64_t k = 0; k < num_classes; ++k) {
            const float score = scores[i * num_classes + k];
            if (k != limits.background && score > limits.score_threshold && score - score == 0.0f)
                candidates.push_back(candidate_key(score, k * num_boxes + i));
        }
    const auto box_at = [&](int64_t index, int64_t label, float* box) {
        std::copy_n(boxes + 4 * index, 4, box);
        return scores[index * num_classes + label];
    };
    return select(candidates, num_boxes, num_classes, limits, box_at, out);
}

}  // namespace kernels
