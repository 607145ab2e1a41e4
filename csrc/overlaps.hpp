// Overlaps of every box of one set with every box of another.
#pragma once

#include <vector>

#include "pair.hpp"

namespace kernels {

// Boxes as columns, so that a loop over them is one SIMD loop. A box that is not finite becomes the point (0,
// 0).
template <typename T>
struct Columns {
    std::vector<T> x1, y1, x2, y2, area;
    std::vector<int64_t> not_finite;

    Columns(const T* boxes, int64_t count) : x1(count), y1(count), x2(count), y2(count), area(count) {
        for (int64_t i = 0; i < count; ++i) {
            const T* box = boxes + 4 * i;
            if (!is_finite(box)) {
                not_finite.push_back(i);
                continue;
            }
            x1[i] = box[0], y1[i] = box[1], x2[i] = box[2], y2[i] = box[3];
            area[i] = area_of(box[0], box[1], box[2], box[3]);
        }
    }
};

template <Mode mode, typename T>
void fill_overlaps(const Columns<T>& a, const Columns<T>& b, T constant, float* out) {
    const int64_t rows = a.x1.size(), columns = b.x1.size();
    for (int64_t i = 0; i < rows; ++i) {
        const T x1 = a.x1[i], y1 = a.y1[i], x2 = a.x2[i], y2 = a.y2[i], area = a.area[i];
        float* row = out + i * columns;
        for (int64_t j = 0; j < columns; ++j)
            row[j] = overlap<mode, T>(x1, y1, x2, y2, area, b.x1[j], b.y1[j], b.x2[j], b.y2[j], b.area[j], constant);
    }
    for (int64_t i : a.not_finite) std::fill_n(out + i * columns, columns, lowest<mode>);
    for (int64_t j : b.not_finite)
        for (int64_t i = 0; i < rows; ++i) out[i * columns + j] = lowest<mode>;
}

// boxes1 (rows, 4), boxes2 (columns, 4) -> out (rows, columns)
template <typename T>
void all_overlaps(const T* boxes1, int64_t rows, const T* boxes2, int64_t columns, Mode mode, T constant,
                  float* out) {
    const Columns<T> a(boxes1, rows), b(boxes2, columns);
    switch (mode) {
        case Mode::iou: return fill_overlaps<Mode::iou>(a, b, constant, out);
        case Mode::iof: return fill_overlaps<Mode::iof>(a, b, constant, out);
        case Mode::giou: return fill_overlaps<Mode::giou>(a, b, constant, out);
        case Mode::nwd: return fill_overlaps<Mode::nwd>(a, b, constant, out);
    }
}

}  // namespace kernels
