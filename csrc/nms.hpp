// Greedy non-maximum suppression: a box goes if it overlaps a better one that stays by more than the
// threshold.
#pragma once

#include "grid.hpp"
#include "kept.hpp"
#include "ranks.hpp"

namespace kernels {

// Walks `count` boxes by rank; box_at(i) gives the corners of the i-th, stays(i) is told which stay.
template <Mode mode, typename T, typename BoxAt, typename Stays>
void suppress(size_t count, T threshold, size_t grid_from, const BoxAt& box_at, const Stays& stays) {
    const auto walk = [&](auto& kept, const auto& exceeds) {
        for (size_t i = 0; i < count; ++i) {
            const Box<T> box(box_at(i));
            if (exceeds(kept, box)) continue;
            kept.push(box);
            stays(i);
        }
    };
    if (mode == Mode::iou && count >= grid_from && threshold >= T(Grid<T>::least_threshold)) {
        Grid<T> grid(threshold, count);
        walk(grid, [&](const Grid<T>& kept, const Box<T>& box) { return kept.exceeds(box); });
    } else {
        Kept<T> columns;
        walk(columns, [&](const Kept<T>& kept, const Box<T>& box) {
            return kept.template exceeds<mode>(box, threshold);
        });
    }
}

// boxes (count, 4), scores (count), labels (count) or null -> keep (count): the first `result` are set
template <Mode mode, typename T>
int64_t mode_nms(const T* boxes, const T* scores, const int64_t* labels, int64_t count, T threshold,
                 size_t grid_from, int64_t* keep) {
    const auto ranked = rank_boxes(boxes, scores, count);
    std::vector<uint32_t> ranks(ranked.size());
    for (uint32_t rank = 0; rank < ranks.size(); ++rank) ranks[rank] = rank;
    const auto label_at = [&](size_t place) { return labels[ranked[ranks[place]].index]; };
    if (labels)
        std::stable_sort(ranks.begin(), ranks.end(), [&](uint32_t a, uint32_t b) {
            return labels[ranked[a].index] < labels[ranked[b].index];
        });
    std::vector<char> stays(ranked.size());
    for (size_t begin = 0, end; begin < ranks.size(); begin = end) {
        end = labels ? begin + 1 : ranks.size();
        while (end < ranks.size() && label_at(end) == label_at(begin)) ++end;
        suppress<mode>(
            end - begin, threshold, grid_from,
            [&](size_t i) { return boxes + 4 * int64_t(ranked[ranks[begin + i]].index); },
            [&](size_t i) { stays[ranks[begin + i]] = 1; });
    }
    int64_t found = 0;
    for (size_t rank = 0; rank < ranked.size(); ++rank)
        if (stays[rank]) keep[found++] = ranked[rank].index;
    return found;
}

template <typename T>
int64_t greedy_nms(const T* boxes, const T* scores, const int64_t* labels, int64_t count, T threshold,
                   bool is_iof, size_t grid_from, int64_t* keep) {
    return is_iof ? mode_nms<Mode::iof>(boxes, scores, labels, count, threshold, grid_from, keep)
                  : mode_nms<Mode::iou>(boxes, scores, labels, count, threshold, grid_from, keep);
}

}  // namespace kernels
