// Greedy non-maximum suppression: a box goes if its overlap with a better one that stays exceeds the threshold.
#pragma once

#include "pair.hpp"
#include "ranks.hpp"

namespace kernels {

// The boxes that stay, as columns, and the test of a candidate against all of them.
template <typename T>
class Kept {
public:
    void reserve(size_t count) {
        for (auto* column : {&x1, &y1, &x2, &y2, &area}) column->reserve(count);
    }

    void push(const T* box) {
        x1.push_back(box[0]), y1.push_back(box[1]), x2.push_back(box[2]), y2.push_back(box[3]);
        area.push_back(area_of(box[0], box[1], box[2], box[3]));
    }

    // Whether the overlap of `box` with any of them exceeds the threshold.
    template <Mode mode>
    bool any_exceeds(const T* box, T threshold) const {
        constexpr size_t block = 128;
        for (size_t begin = 0; begin < x1.size(); begin += block) {
            const size_t end = std::min(begin + block, x1.size());
            // Without division first: part >= whole * threshold holds wherever the rounded quotient exceeds
            // it.
            if (block_exceeds<mode, false>(box, threshold, begin, end) &&
                block_exceeds<mode, true>(box, threshold, begin, end))
                return true;
        }
        return false;
    }

private:
    template <Mode mode, bool exact>
    bool block_exceeds(const T* box, T threshold, size_t begin, size_t end) const {
        const T ax1 = box[0], ay1 = box[1], ax2 = box[2], ay2 = box[3], a_area = area_of(ax1, ay1, ax2, ay2);
        int any = 0;
        for (size_t i = begin; i < end; ++i) {
            const T part = intersection(ax1, ay1, ax2, ay2, x1[i], y1[i], x2[i], y2[i]);
            const T whole = mode == Mode::iof ? a_area : a_area + area[i] - part;
            any |= exact ? divide(part, whole) > threshold : part >= whole * threshold;
        }
        return any;
    }

    std::vector<T> x1, y1, x2, y2, area;
};

// The finite boxes by rank.
template <typename T>
std::vector<Ranked<typename KeyOf<T>::type>> rank_boxes(const T* boxes, const T* scores, int64_t count) {
    std::vector<Ranked<typename KeyOf<T>::type>> ranked;
    ranked.reserve(count);
    for (int64_t i = 0; i < count; ++i)
        if (scores[i] - scores[i] == T(0) && is_finite(boxes + 4 * i))
            ranked.push_back({rank_key(scores[i]), uint32_t(i)});
    sort_ranked(ranked);
    return ranked;
}

// boxes (count, 4), scores (count), labels (count) or null -> keep (count), of which the first `return value`
// are set
template <Mode mode, typename T>
int64_t mode_nms(const T* boxes, const T* scores, const int64_t* labels, int64_t count, T threshold, int64_t* keep) {
    const auto ranked = rank_boxes(boxes, scores, count);
    std::vector<uint32_t> ranks(ranked.size());
    for (uint32_t rank = 0; rank < ranks.size(); ++rank) ranks[rank] = rank;
    if (labels)
        std::stable_sort(ranks.begin(), ranks.end(), [&](uint32_t a, uint32_t b) {
            return labels[ranked[a].index] < labels[ranked[b].index];
        });
    std::vector<char> stays(ranked.size());
    for (size_t begin = 0, end; begin < ranks.size(); begin = end) {
        Kept<T> kept;
        for (end = begin; end < ranks.size(); ++end) {
            const uint32_t index = ranked[ranks[end]].index;
            if (labels && labels[index] != labels[ranked[ranks[begin]].index]) break;
            const T* box = boxes + 4 * int64_t(index);
            if (kept.template any_exceeds<mode>(box, threshold)) continue;
            kept.push(box);
            stays[ranks[end]] = 1;
        }
    }
    int64_t found = 0;
    for (size_t rank = 0; rank < ranked.size(); ++rank)
        if (stays[rank]) keep[found++] = ranked[rank].index;
    return found;
}

template <typename T>
int64_t greedy_nms(const T* boxes, const T* scores, const int64_t* labels, int64_t count, T threshold, bool is_iof,
                   int64_t* keep) {
    return is_iof ? mode_nms<Mode::iof>(boxes, scores, labels, count, threshold, keep)
                  : mode_nms<Mode::iou>(boxes, scores, labels, count, threshold, keep);
}

}  // namespace kernels
