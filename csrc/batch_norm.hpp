// BatchNorm of a training step, and the activation after it, over maps that lie in memory as (pixels, channels).
//
// Each direction reads memory twice: once for the sums of each channel, once for what it writes. The normalized map
// before the activation is computed again where it is needed, never stored. Values are taken in rows of `width`: one
// pixel, or as many as fill a loop where there are few channels. Sums are float32 over some rows, float64 beyond; the
// parts are the same for any number of threads, and so are the bits. lib/ops/batch_norm.py has the torch version.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "simd.hpp"

namespace kernels {

struct Norm {
    int64_t pixels, channels;
    float epsilon;
    int activation;  // place in the list of `with_activation`
};

namespace norm {

constexpr int64_t least_width = 256, rows_in_float = 64, least_part = 1 << 14, most_parts = 64, probes = 16;

struct Identity {
    static float value(float z) { return z; }
    static float slope(float) { return 1.0f; }
};
struct Relu {
    static float value(float z) { return z < 0.0f ? 0.0f : z; }  // NaN stays
    static float slope(float z) { return z > 0.0f ? 1.0f : 0.0f; }
};
struct Relu6 {
    static float value(float z) { return z < 0.0f ? 0.0f : (z > 6.0f ? 6.0f : z); }
    static float slope(float z) { return (z > 0.0f) & (z < 6.0f) ? 1.0f : 0.0f; }
};
struct HardSwish {
    static float value(float z) { return z * Relu6::value(z + 3.0f) * (1.0f / 6.0f); }
    static float slope(float z) { return z < -3.0f ? 0.0f : (z > 3.0f ? 1.0f : z * (1.0f / 3.0f) + 0.5f); }
};
struct Swish {
    static float gate(float z) { return 1.0f / (1.0f + simd_exp_within(-z)); }
    static float value(float z) { return z * gate(z); }
    static float slope(float z) { return gate(z) * (1.0f + z * (1.0f - gate(z))); }
};

// Calls `work` with the activation of that number; lib/ops/batch_norm.py has the same list.
template <typename Work>
void with_activation(int number, const Work& work) {
    switch (number) {
        case 1: return work(Relu());
        case 2: return work(Relu6());
        case 3: return work(HardSwish());
        case 4: return work(Swish());
        default: return work(Identity());
    }
}

// How the values are divided into rows, and these into parts.
struct Layout {
    int64_t channels, width, values, rows, rows_of_part, parts;

    explicit Layout(const Norm& n)
        : channels(n.channels), width(std::max<int64_t>(1, least_width / n.channels) * n.channels),
          values(n.pixels * n.channels), rows((values + width - 1) / width),
          rows_of_part(std::max((rows + most_parts - 1) / most_parts, (least_part + width - 1) / width)),
          parts((rows + rows_of_part - 1) / rows_of_part) {}

    int64_t length(int64_t row) const { return std::min(width, values - row * width); }

    // A value of each channel, repeated over a row.
    template <typename Value>
    std::vector<float> repeated(const Value& value) const {
        std::vector<float> row(width);
        for (int64_t c = 0; c < channels; ++c) row[c] = float(value(c));
        for (int64_t i = channels; i < width; ++i) row[i] = row[i - channels];
        return row;
    }
};

struct Sums {
    std::vector<double> first, second;  // of each channel
};

// For each channel the sums of two terms over all pixels; `add(at, count, first, second)` adds those of `count` values
// from `at` on to the two rows.
template <typename Add>
Sums sums_of(const Layout& all, int threads, const Add& add) {
    const int64_t size = all.channels;
    std::vector<double> of_parts(all.parts * 2 * size);
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t part = 0; part < all.parts; ++part) {
        std::vector<float> first(all.width), second(all.width);
        double* to = &of_parts[part * 2 * size];
        const int64_t end = std::min((part + 1) * all.rows_of_part, all.rows);
        for (int64_t row = part * all.rows_of_part; row < end;) {
            const int64_t stop = std::min(row + rows_in_float, end);
            for (; row < stop; ++row) add(row * all.width, all.length(row), first.data(), second.data());
            for (int64_t i = 0; i < all.width; i += size)
                for (int64_t c = 0; c < size; ++c) to[c] += first[i + c], to[size + c] += second[i + c];
            std::fill(first.begin(), first.end(), 0.0f), std::fill(second.begin(), second.end(), 0.0f);
        }
    }
    Sums sums{std::vector<double>(size), std::vector<double>(size)};
    for (int64_t part = 0; part < all.parts; ++part)
        for (int64_t c = 0; c < size; ++c) {
            sums.first[c] += of_parts[part * 2 * size + c];
            sums.second[c] += of_parts[part * 2 * size + size + c];
        }
    return sums;
}

// Calls `write(at, count)` for each row.
template <typename Write>
void for_each_row(const Layout& all, int threads, const Write& write) {
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t row = 0; row < all.rows; ++row) write(row * all.width, all.length(row));
}

// A value of each channel that is near to its mean: squares of differences from it lose no digits.
inline std::vector<float> centers(const Norm& n, const float* map) {
    std::vector<float> centers(n.channels);
    const int64_t count = std::min(probes, n.pixels);
    for (int64_t i = 0; i < count; ++i) {
        const float* pixel = map + i * n.pixels / count * n.channels;
        for (int64_t c = 0; c < n.channels; ++c) centers[c] += pixel[c] / count;
    }
    return centers;
}

}  // namespace norm

// map (pixels, channels), weight and bias (channels) -> out, laid out as the map, and each channel's mean and variance,
// which is the mean of the squares.
inline void norm_forward(const Norm& n, const float* map, const float* weight, const float* bias, float* out,
                         float* mean, float* variance, int threads) {
    const norm::Layout all(n);
    const auto near = norm::centers(n, map);
    const auto center = all.repeated([&](int64_t c) { return near[c]; });
    const norm::Sums sums = norm::sums_of(all, threads, [&](int64_t at, int64_t count, float* first, float* second) {
        const float *x = map + at, *k = center.data();
#pragma omp simd
        for (int64_t i = 0; i < count; ++i) {
            const float off = x[i] - k[i];
            first[i] += off, second[i] += off * off;
        }
    });
    for (int64_t c = 0; c < n.channels; ++c) {
        const double off = sums.first[c] / n.pixels, spread = sums.second[c] / n.pixels - off * off;
        mean[c] = float(near[c] + off), variance[c] = float(spread < 0 ? 0 : spread);  // NaN stays
    }
    const auto scale = all.repeated([&](int64_t c) { return weight[c] / std::sqrt(variance[c] + n.epsilon); });
    const auto shift = all.repeated([&](int64_t c) { return bias[c] - mean[c] * scale[c]; });
    norm::with_activation(n.activation, [&](auto act) {
        norm::for_each_row(all, threads, [&](int64_t at, int64_t count) {
            const float *x = map + at, *a = scale.data(), *b = shift.data();
            float* y = out + at;
#pragma omp simd
            for (int64_t i = 0; i < count; ++i) y[i] = act.value(x[i] * a[i] + b[i]);
        });
    });
}

// The gradients of map, weight and bias, of that of the output; mean and variance as the forward pass gave them.
inline void norm_backward(const Norm& n, const float* map, const float* weight, const float* bias, const float* mean,
                          const float* variance, const float* gradient, float* to_map, float* to_weight,
                          float* to_bias, int threads) {
    const norm::Layout all(n);
    std::vector<float> inverse(n.channels);
    for (int64_t c = 0; c < n.channels; ++c) inverse[c] = 1.0f / std::sqrt(variance[c] + n.epsilon);
    const auto center = all.repeated([&](int64_t c) { return mean[c]; });
    const auto scale = all.repeated([&](int64_t c) { return weight[c] * inverse[c]; });
    const auto shift = all.repeated([&](int64_t c) { return bias[c] - mean[c] * scale[c]; });
    norm::with_activation(n.activation, [&](auto act) {
        const auto sums = norm::sums_of(all, threads, [&](int64_t at, int64_t count, float* first, float* second) {
            const float *x = map + at, *to_y = gradient + at, *k = center.data(), *a = scale.data(), *b = shift.data();
#pragma omp simd
            for (int64_t i = 0; i < count; ++i) {
                const float to_z = to_y[i] * act.slope(x[i] * a[i] + b[i]);
                first[i] += to_z, second[i] += to_z * (x[i] - k[i]);
            }
        });
        for (int64_t c = 0; c < n.channels; ++c)
            to_bias[c] = float(sums.first[c]), to_weight[c] = float(sums.second[c] * inverse[c]);
        const auto slant = all.repeated(  // of what the gradient loses to the variance and the mean
            [&](int64_t c) { return -double(scale[c]) * inverse[c] * inverse[c] * sums.second[c] / n.pixels; });
        const auto level = all.repeated(
            [&](int64_t c) { return -double(scale[c]) * sums.first[c] / n.pixels - double(slant[c]) * mean[c]; });
        norm::for_each_row(all, threads, [&](int64_t at, int64_t count) {
            const float *x = map + at, *to_y = gradient + at, *a = scale.data(), *b = shift.data();
            const float *s = slant.data(), *l = level.data();
            float* to_x = to_map + at;
#pragma omp simd
            for (int64_t i = 0; i < count; ++i)
                to_x[i] = a[i] * to_y[i] * act.slope(x[i] * a[i] + b[i]) + (s[i] * x[i] + l[i]);
        });
    });
}

}  // namespace kernels
