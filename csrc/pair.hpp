// The overlap of two xyxy boxes, for CPU and GPU. The arithmetic is lib/ops/reference.py's, operation by
// operation, so that all builds give the same bits: compile without contraction into fused multiply-adds.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#ifdef __CUDACC__
#define ANYWHERE __device__ inline
#else
#include "simd.hpp"
#define ANYWHERE inline
#endif

namespace kernels {

enum class Mode { iou, iof, giou, nwd };

template <typename T>
ANYWHERE bool is_finite(const T* box) {
    return T(0) * box[0] + T(0) * box[1] + T(0) * box[2] + T(0) * box[3] ==
           T(0);  // 0 * x is NaN unless finite
}

template <typename T>
ANYWHERE T positive(T value) {
    return T(0) < value ? value : T(0);  // in this order it is one instruction
}

template <typename T>
ANYWHERE T area_of(T x1, T y1, T x2, T y2) {
    return positive(x2 - x1) * positive(y2 - y1);
}

template <typename T>
ANYWHERE T divide(T part, T whole) {
    return positive(part /
                    whole);  // 0 where the whole is 0, or where an area overflows and the quotient is NaN
}

template <typename T>
ANYWHERE T intersection(T ax1, T ay1, T ax2, T ay2, T bx1, T by1, T bx2, T by2) {
    return positive(std::min(ax2, bx2) - std::max(ax1, bx1)) *
           positive(std::min(ay2, by2) - std::max(ay1, by1));
}

#ifdef __CUDACC__
template <typename T>
__device__ T exp_of(T value) {
    return exp(value);
}
#else
inline float exp_of(float value) { return simd_exp(value); }
inline double exp_of(double value) { return std::exp(value); }
#endif

template <Mode mode, typename T>
ANYWHERE T overlap(T ax1, T ay1, T ax2, T ay2, T a_area, T bx1, T by1, T bx2, T by2, T b_area,
                   T nwd_constant) {
    if constexpr (mode == Mode::nwd) {
        const T x = (ax1 + ax2 - bx1 - bx2) / 2, y = (ay1 + ay2 - by1 - by2) / 2;
        const T w = (ax2 - ax1 - bx2 + bx1) / 2, h = (ay2 - ay1 - by2 + by1) / 2;
        return exp_of(-std::sqrt(x * x + y * y + w * w + h * h) / nwd_constant);
    } else {
        const T shared = intersection(ax1, ay1, ax2, ay2, bx1, by1, bx2, by2);
        if constexpr (mode == Mode::iof) return divide(shared, a_area);
        const T united = a_area + b_area - shared;
        const T iou = divide(shared, united);
        if constexpr (mode == Mode::iou) return iou;
        const T hull = positive(std::max(ax2, bx2) - std::min(ax1, bx1)) *
                       positive(std::max(ay2, by2) - std::min(ay1, by1));
        return iou - divide(hull - united, hull);
    }
}

// The overlap where a box is not finite.
template <Mode mode>
constexpr float lowest = mode == Mode::giou ? -1.0f : 0.0f;

}  // namespace kernels
