// Overlaps of every box of one set with every box of another.
#pragma once

#include <cstring>
#include <vector>

#include "pair.hpp"
#include "simd.hpp"

namespace kernels {

// Boxes as columns, so that a loop over them is one SIMD loop. A box that is not finite becomes the point (0,
// 0).
template <typename T>
struct Columns {
    std::vector<T> x1, y1, x2, y2, area;
    std::vector<int64_t> not_finite;

    Columns(const T* boxes, int64_t count) : x1(count), y1(count), x2(count), y2(count), area(count) {
        int any_not_finite = 0;
        for (int64_t i = 0; i < count; ++i) {
            const T* box = boxes + 4 * i;
            x1[i] = box[0], y1[i] = box[1], x2[i] = box[2], y2[i] = box[3];
            area[i] = area_of(box[0], box[1], box[2], box[3]);
            any_not_finite |= !is_finite(box);
        }
        for (int64_t i = 0; any_not_finite && i < count; ++i)
            if (!is_finite(boxes + 4 * i)) {
                not_finite.push_back(i);
                x1[i] = y1[i] = x2[i] = y2[i] = area[i] = 0;
            }
    }

    int64_t size() const { return int64_t(x1.size()); }
};

constexpr int run = 16;  // rows that are computed together

// The greatest of `run` values times `sign`.
template <int sign, typename T>
inline T extreme(const T* values) {
    T signed_values[run];
    for (int k = 0; k < run; ++k) signed_values[k] = sign * values[k];
    return sign * greatest_of<run>(signed_values);
}

// Whether each column of `b` meets the hull of `run` rows of `a`; the result is how many do.
template <typename T>
int find_near(const Columns<T>& a, int64_t begin, const Columns<T>& b, int* __restrict meets) {
    const T ax1 = extreme<-1>(&a.x1[begin]), ay1 = extreme<-1>(&a.y1[begin]);
    const T ax2 = extreme<1>(&a.x2[begin]), ay2 = extreme<1>(&a.y2[begin]);
    const T *x1 = b.x1.data(), *y1 = b.y1.data(), *x2 = b.x2.data(), *y2 = b.y2.data();
    int count = 0;
    for (int64_t j = 0, columns = b.size(); j < columns; ++j) {
        meets[j] = (x1[j] < ax2) & (x2[j] > ax1) & (y1[j] < ay2) & (y2[j] > ay1);
        count += meets[j];
    }
    return count;
}

// Column j of `run` rows.
template <Mode mode, typename T>
void fill_column(const Columns<T>& a, int64_t begin, const Columns<T>& b, int64_t j, T nwd_constant,
                 float* out) {
    const T *x1 = &a.x1[begin], *y1 = &a.y1[begin], *x2 = &a.x2[begin], *y2 = &a.y2[begin],
            *area = &a.area[begin];
    const T bx1 = b.x1[j], by1 = b.y1[j], bx2 = b.x2[j], by2 = b.y2[j], b_area = b.area[j];
    float values[run];
    for (int k = 0; k < run; ++k)
        values[k] =
            overlap<mode>(x1[k], y1[k], x2[k], y2[k], area[k], bx1, by1, bx2, by2, b_area, nwd_constant);
    for (int k = 0; k < run; ++k) out[(begin + k) * b.size() + j] = values[k];
}

template <Mode mode, typename T>
void fill_row(const Columns<T>& a, int64_t i, const Columns<T>& b, T nwd_constant, float* __restrict row) {
    const T ax1 = a.x1[i], ay1 = a.y1[i], ax2 = a.x2[i], ay2 = a.y2[i], a_area = a.area[i];
    const T *x1 = b.x1.data(), *y1 = b.y1.data(), *x2 = b.x2.data(), *y2 = b.y2.data(), *area = b.area.data();
    for (int64_t j = 0, columns = b.size(); j < columns; ++j)
        row[j] = overlap<mode>(ax1, ay1, ax2, ay2, a_area, x1[j], y1[j], x2[j], y2[j], area[j], nwd_constant);
}

template <Mode mode, typename T>
void fill_overlaps(const Columns<T>& a, const Columns<T>& b, T nwd_constant, float* out) {
    // Priors come in rows of their feature map, so a run of them meets few boxes: only those columns are
    // computed.
    constexpr bool is_sparse = mode == Mode::iou || mode == Mode::iof;
    const int64_t rows = a.size(), columns = b.size();
    std::vector<int> meets(columns);
    bool was_local = true;
    for (int64_t begin = 0; begin < rows; begin += run) {
        const bool may_be_local = is_sparse && begin + run <= rows && (was_local || begin % (8 * run) == 0);
        const int64_t count = may_be_local ? find_near(a, begin, b, meets.data()) : columns;
        was_local = 2 * count < columns;
        if (was_local) {
            std::fill_n(out + begin * columns, run * columns, 0.0f);
            for (int64_t j = 0; count > 0 && j < columns; ++j)
                if (meets[j]) fill_column<mode>(a, begin, b, j, nwd_constant, out);
        } else {
            for (int64_t i = begin; i < std::min(begin + run, rows); ++i)
                fill_row<mode>(a, i, b, nwd_constant, out + i * columns);
        }
    }
    for (int64_t i : a.not_finite) std::fill_n(out + i * columns, columns, lowest<mode>);
    for (int64_t j : b.not_finite)
        for (int64_t i = 0; i < rows; ++i) out[i * columns + j] = lowest<mode>;
}

// boxes1 (rows, 4), boxes2 (columns, 4) -> out (rows, columns)
template <typename T>
void all_overlaps(const T* boxes1, int64_t rows, const T* boxes2, int64_t columns, Mode mode, T nwd_constant,
                  float* out) {
    const Columns<T> a(boxes1, rows), b(boxes2, columns);
    switch (mode) {
        case Mode::iou: return fill_overlaps<Mode::iou>(a, b, nwd_constant, out);
        case Mode::iof: return fill_overlaps<Mode::iof>(a, b, nwd_constant, out);
        case Mode::giou: return fill_overlaps<Mode::giou>(a, b, nwd_constant, out);
        case Mode::nwd: return fill_overlaps<Mode::nwd>(a, b, nwd_constant, out);
    }
}

}  // namespace kernels
