// The boxes that stay, and what greedy NMS asks of them: does one of them overlap a candidate too much?
#pragma once

#include <limits>
#include <vector>

#include "pair.hpp"

namespace kernels {

// A candidate with its area.
template <typename T>
struct Box {
    T x1, y1, x2, y2, area;

    explicit Box(const T* corners)
        : x1(corners[0]), y1(corners[1]), x2(corners[2]), y2(corners[3]), area(area_of(x1, y1, x2, y2)) {}
};

// Whether the overlap of `box` with any of `count` boxes, given as columns, exceeds the threshold.
template <Mode mode, bool exact, typename T>
inline bool any_exceeds(const Box<T>& box, T threshold, const T* x1, const T* y1, const T* x2, const T* y2,
                        const T* area, size_t count) {
    int any = 0;
    for (size_t i = 0; i < count; ++i) {
        const T part = intersection(box.x1, box.y1, box.x2, box.y2, x1[i], y1[i], x2[i], y2[i]);
        const T whole = mode == Mode::iof ? box.area : box.area + area[i] - part;
        // Without division first: part >= whole * threshold holds wherever the rounded quotient exceeds it.
        any |= exact ? divide(part, whole) > threshold : part >= whole * threshold;
    }
    return any;
}

// All boxes that stay, as columns: a candidate meets all of them, in SIMD.
template <typename T>
class Kept {
public:
    void push(const Box<T>& box) {
        x1.push_back(box.x1), y1.push_back(box.y1), x2.push_back(box.x2), y2.push_back(box.y2);
        area.push_back(box.area);
    }

    template <Mode mode>
    bool exceeds(const Box<T>& box, T threshold) const {
        constexpr size_t block = 128;
        for (size_t begin = 0; begin < x1.size(); begin += block) {
            const size_t count = std::min(block, x1.size() - begin);
            if (block_exceeds<mode, false>(box, threshold, begin, count) &&
                block_exceeds<mode, true>(box, threshold, begin, count))
                return true;
        }
        return false;
    }

private:
    template <Mode mode, bool exact>
    bool block_exceeds(const Box<T>& box, T threshold, size_t begin, size_t count) const {
        return any_exceeds<mode, exact>(box, threshold, &x1[begin], &y1[begin], &x2[begin], &y2[begin],
                                        &area[begin], count);
    }

    std::vector<T> x1, y1, x2, y2, area;
};

}  // namespace kernels
