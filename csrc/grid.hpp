// Kept boxes in a grid by scale and place, so that a candidate meets only neighbors; exact.
//
// With t the threshold, IoU > t bounds two things. The ratio of the areas lies in (t, 1 / t). And along each
// axis, where the sides are a and b, the IoU of the two intervals exceeds t too, so the centers are closer
// than (a + b) / 2 * (1 - t) / (1 + t), which is less than a * (1 - t) / (2 * t) as b < a / t.
//
// Levels of area grow by a factor of at least 1 / t, so two boxes that may match are at most one level apart:
// a kept box is filed on three levels and a candidate asks on one. Cells are found by a hash without keys: a
// collision brings in boxes from elsewhere, which costs a comparison and changes nothing.
#pragma once

#include <cmath>
#include <cstdint>

#include "kept.hpp"

namespace kernels {

template <typename T>
class Grid {
public:
    static constexpr double least_threshold = 0.2;  // below, neighborhoods are too wide for it to pay

    Grid(T threshold, size_t capacity) : threshold(threshold) {
        const double t = threshold;
        log_step = std::log2(std::max(2.0, 1 / t)) + rounding;
        reach = (1 - t + rounding) / (2 * t);
        while (size_t(1) << bits < 2 * capacity) ++bits;
        heads.assign(size_t(1) << bits, -1);
        for (int level = lowest_level; level <= -lowest_level; ++level)
            scales.push_back(std::exp2(-(level + 1) * log_step / 2) / cell_sides);
    }

    void push(const Box<T>& box) {
        all.push(box);
        if (never_matches(box)) return;
        const double x = (double(box.x1) + box.x2) / 2, y = (double(box.y1) + box.y2) / 2;
        const int home = level_of(box);
        for (int level = home - 1; level <= home + 1; ++level) {
            const double column = std::floor(x * scale(level)), row = std::floor(y * scale(level));
            if (std::abs(column) < furthest && std::abs(row) < furthest)
                file(box, heads[slot(level, column, row)]);
        }
    }

    bool exceeds(const Box<T>& box) const {
        if (never_matches(box)) return false;
        const int level = level_of(box);
        const double x = (double(box.x1) + box.x2) / 2, y = (double(box.y1) + box.y2) / 2;
        const double across = reach * (double(box.x2) - box.x1) + slack * std::abs(x);
        const double down = reach * (double(box.y2) - box.y1) + slack * std::abs(y);
        const double cells = scale(level);
        const double left = std::floor((x - across) * cells), right = std::floor((x + across) * cells);
        const double top = std::floor((y - down) * cells), bottom = std::floor((y + down) * cells);
        const bool is_near = std::max({-left, right, -top, bottom}) < furthest;
        if (!is_near || (right - left + 1) * (bottom - top + 1) > most_cells || box.area < least_area)
            return all.template exceeds<Mode::iou>(box, threshold);
        for (double row = top; row <= bottom; ++row)
            for (double column = left; column <= right; ++column)
                if (chain_exceeds(box, heads[slot(level, column, row)])) return true;
        return false;
    }

private:
    static constexpr int lanes = 32 / sizeof(T);
    struct Block {
        // zeros match nothing
        T x1[lanes] = {}, y1[lanes] = {}, x2[lanes] = {}, y2[lanes] = {}, area[lanes] = {};
        int count = 0, next = -1;
    };

    static constexpr double rounding = 1e-4;  // more than what the computed IoU and areas are off
    static constexpr double slack = 1e-12;    // more than what a center is off, for its distance from 0
    static constexpr double cell_sides = 2;   // side of a cell, in sides of the largest square of its level
    static constexpr double furthest = 1LL << 50;  // rows and columns beyond are not told apart
    static constexpr double most_cells = 64;       // of a candidate; longer boxes meet all
    static constexpr int lowest_level = sizeof(T) == 4 ? -152 : -1077;
    static constexpr T least_area = sizeof(T) == 4 ? T(1e-30) : T(1e-290);  // smaller ones round too coarsely

    // Of no area, or of one that overflows: its IoU is 0.
    static bool never_matches(const Box<T>& box) {
        return !(box.area > 0 && box.area < std::numeric_limits<T>::infinity());
    }

    int level_of(const Box<T>& box) const { return int(std::floor(std::log2(double(box.area)) / log_step)); }

    double scale(int level) const { return scales[level - lowest_level]; }  // cells a pixel

    size_t slot(int level, double column, double row) const {
        const uint64_t mixed = uint64_t(int64_t(column)) * 0x9E3779B97F4A7C15 +
                               uint64_t(int64_t(row)) * 0xC2B2AE3D27D4EB4F +
                               uint64_t(int64_t(level)) * 0x165667B19E3779F9;
        return ((mixed ^ mixed >> 29) * 0xBF58476D1CE4E5B9) >> (64 - bits);
    }

    void file(const Box<T>& box, int& head) {
        if (head < 0 || blocks[head].count == lanes) {
            blocks.emplace_back();
            blocks.back().next = head;
            head = int(blocks.size()) - 1;
        }
        Block& block = blocks[head];
        const int i = block.count++;
        block.x1[i] = box.x1, block.y1[i] = box.y1, block.x2[i] = box.x2, block.y2[i] = box.y2;
        block.area[i] = box.area;
    }

    bool chain_exceeds(const Box<T>& box, int head) const {
        for (; head >= 0; head = blocks[head].next)
            if (block_exceeds<false>(box, blocks[head]) && block_exceeds<true>(box, blocks[head]))
                return true;
        return false;
    }

    template <bool exact>
    bool block_exceeds(const Box<T>& box, const Block& block) const {
        return any_exceeds<Mode::iou, exact>(box, threshold, block.x1, block.y1, block.x2, block.y2,
                                             block.area, lanes);
    }

    T threshold;
    double log_step, reach;
    int bits = 4;
    Kept<T> all;
    std::vector<int> heads;
    std::vector<Block> blocks;
    std::vector<double> scales;
};

}  // namespace kernels
