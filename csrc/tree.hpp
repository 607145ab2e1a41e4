// Boxes in a tree of frames, so that a box meets only those that may overlap it; exact.
//
// Every box that may come into the tree has its place in it from the start. Places are ordered by the octave of the
// longer side and then along a Z curve of the centers: so a large box lies with large ones, and neighbors with
// neighbors. Eight places are a leaf, eight leaves a node, and so on. Each knows the frame around the boxes that are in
// it. Frames decide what is left out, and the order only how much that is.
#pragma once

#include <cmath>
#include <limits>
#include <vector>

#include "ranks.hpp"

namespace kernels {

class Tree {
public:
    static constexpr int width = 8;

    // Boxes, or frames around boxes, as columns. It begins with frames around nothing.
    struct alignas(32) Block {
        float x1[width], y1[width], x2[width], y2[width];

        Block() {
            std::fill_n(x1, width, infinity), std::fill_n(y1, width, infinity);
            std::fill_n(x2, width, -infinity), std::fill_n(y2, width, -infinity);
        }
    };

    // Boxes, each with a number that the caller gives it.
    struct Leaf : Block {
        int32_t tags[width] = {};
    };

    explicit Tree(size_t places) : leaves((places + width - 1) / width) {
        for (size_t blocks = leaves.size(); blocks > 1;) {
            blocks = (blocks + width - 1) / width;
            levels.emplace_back(blocks);
        }
    }

    // Places, those that fill up the last leaf included.
    size_t size() const { return leaves.size() * width; }

    // A box comes to a place, or moves there from where it was.
    void put(size_t place, const float* box, int32_t tag) {
        Leaf& leaf = leaves[place / width];
        const size_t lane = place % width;
        leaf.x1[lane] = box[0], leaf.y1[lane] = box[1], leaf.x2[lane] = box[2], leaf.y2[lane] = box[3];
        leaf.tags[lane] = tag;
        // A coordinate that is NaN counts as none in `intersection`: such a box may overlap any other.
        const float everywhere[4] = {-infinity, -infinity, infinity, infinity};
        const float* frame = is_finite(box) ? box : everywhere;
        for (auto& level : levels) {
            place /= width;
            if (!extend(level[place / width], place % width, frame)) return;
        }
    }

    // Calls look(leaf, its first place) for each leaf whose frame the box overlaps, maybe for more.
    template <typename Look>
    void visit(const float* box, const Look& look) const {
        visit_node(box, levels.size(), 0, look);
    }

private:
    static constexpr float infinity = std::numeric_limits<float>::infinity();

    template <typename Look>
    void visit_node(const float* box, size_t height, size_t number, const Look& look) const {
        if (height == 0) return look(leaves[number], number * width);
        const Block& block = levels[height - 1][number];
        uint32_t meets = 0;  // a bit for each child: only as many branches as there are children to visit
        for (int i = 0; i < width; ++i)
            meets |= uint32_t((block.x1[i] < box[2]) & (block.x2[i] > box[0]) & (block.y1[i] < box[3]) &
                              (block.y2[i] > box[1]))
                     << i;
        for (uint32_t rest = meets; rest; rest &= rest - 1) fetch(height - 1, number * width + lowest_bit(rest));
        for (; meets; meets &= meets - 1)
            visit_node(box, height - 1, number * width + lowest_bit(meets), look);
    }

    // Has a block on its way from memory: all that are to be visited at once, not one after the other.
    void fetch(size_t height, size_t number) const {
        const Block& block = height ? levels[height - 1][number] : leaves[number];
        __builtin_prefetch(&block), __builtin_prefetch(block.x2);
        if (height == 0) __builtin_prefetch(leaves[number].tags);
    }

    static int lowest_bit(uint32_t bits) { return __builtin_ctz(bits); }

    // Widens a frame; whether it had to.
    static bool extend(Block& block, size_t i, const float* box) {
        if (block.x1[i] <= box[0] && block.y1[i] <= box[1] && block.x2[i] >= box[2] && block.y2[i] >= box[3])
            return false;
        block.x1[i] = std::min(block.x1[i], box[0]), block.y1[i] = std::min(block.y1[i], box[1]);
        block.x2[i] = std::max(block.x2[i], box[2]), block.y2[i] = std::max(block.y2[i], box[3]);
        return true;
    }

    std::vector<Leaf> leaves;
    std::vector<std::vector<Block>> levels;  // the frames of eight leaves, of eight of those ...
};

// The lower 24 bits of a number, with a zero before each.
inline uint64_t spread_bits(uint64_t value) {
    value = (value | value << 16) & 0x0000FFFF0000FFFF;
    value = (value | value << 8) & 0x00FF00FF00FF00FF;
    value = (value | value << 4) & 0x0F0F0F0F0F0F0F0F;
    value = (value | value << 2) & 0x3333333333333333;
    return (value | value << 1) & 0x5555555555555555;
}

// Sorts the numbers of finite boxes as the places of a tree are ordered.
inline void sort_by_place(const float* boxes, std::vector<uint32_t>& rows) {
    constexpr int lowest_octave = -150;  // of a float; -149 is that of the least one above 0
    constexpr double cells = (1 << 24) - 1;
    double low[2] = {1e300, 1e300}, high[2] = {-1e300, -1e300};
    for (const uint32_t row : rows)
        for (int axis = 0; axis < 2; ++axis) {
            const float* box = boxes + 4 * size_t(row);
            const double sum = double(box[axis]) + box[axis + 2];  // twice the center
            low[axis] = std::min(low[axis], sum), high[axis] = std::max(high[axis], sum);
        }
    std::vector<Ranked<uint64_t>> ranked(rows.size());
    for (size_t i = 0; i < rows.size(); ++i) {
        const float* box = boxes + 4 * size_t(rows[i]);
        uint64_t cell[2];
        for (int axis = 0; axis < 2; ++axis) {
            const double sum = double(box[axis]) + box[axis + 2], span = high[axis] - low[axis];
            cell[axis] = span > 0 ? uint64_t((sum - low[axis]) / span * cells) : 0;
        }
        const double side = std::max(double(box[2]) - box[0], double(box[3]) - box[1]);
        const int octave = side > 0 ? std::ilogb(side) : lowest_octave;
        ranked[i] = {uint64_t(octave - lowest_octave) << 48 | spread_bits(cell[0]) | spread_bits(cell[1]) << 1,
                     rows[i]};
    }
    sort_ranked(ranked);
    for (size_t i = 0; i < rows.size(); ++i) rows[i] = ranked[i].index;
}

}  // namespace kernels
