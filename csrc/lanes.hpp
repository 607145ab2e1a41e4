// Sixteen neighboring channels at a time, in two registers of eight; ReLU6 and where its gradient passes.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <type_traits>

namespace kernels {

typedef float Pack __attribute__((vector_size(32)));
constexpr int64_t lanes = 16;

struct Lanes {  // sixteen channels
    Pack low = {}, high = {};

    void add(const Lanes& x) { low += x.low, high += x.high; }
    void add_product(const Lanes& x, const Lanes& y) { low += x.low * y.low, high += x.high * y.high; }
};

inline Lanes load(const float* from) {
    Lanes x;
    std::memcpy(&x.low, from, sizeof x.low);
    std::memcpy(&x.high, from + lanes / 2, sizeof x.high);
    return x;
}

inline void store(const Lanes& x, float* to) {
    std::memcpy(to, &x.low, sizeof x.low);
    std::memcpy(to + lanes / 2, &x.high, sizeof x.high);
}

// The same for the first `count` of the channels, or all if there are as many; the others are zero.
inline Lanes load(const float* from, int64_t count) {
    if (count >= lanes) return load(from);
    Lanes x;
    if (count == lanes / 2) return std::memcpy(&x.low, from, sizeof x.low), x;
    float values[lanes] = {};
    std::copy_n(from, count, values);
    return load(values);
}

inline void store(const Lanes& x, float* to, int64_t count) {
    if (count >= lanes) return store(x, to);
    if (count == lanes / 2) return void(std::memcpy(to, &x.low, sizeof x.low));
    float values[lanes];
    store(x, values);
    std::copy_n(values, count, to);
}

inline Pack relu6(Pack x) {  // NaN stays
    const Pack zero = {}, six = zero + 6.0f;
    x = x < zero ? zero : x;
    return x > six ? six : x;
}

inline Pack where_passes(Pack gradient, Pack x) {  // 0 where ReLU6 has none at x
    const Pack zero = {}, six = zero + 6.0f;
    return (x > zero) & (x < six) ? gradient : zero;
}

inline Lanes relu6(const Lanes& x) { return {relu6(x.low), relu6(x.high)}; }
inline Lanes where_passes(const Lanes& gradient, const Lanes& x) {
    return {where_passes(gradient.low, x.low), where_passes(gradient.high, x.high)};
}

// `work(0)` to `work(count - 1)`, each with a constant: what an array holds can then stay in registers.
template <int64_t count, typename Work>
inline void unrolled(const Work& work) {
    if constexpr (count > 0) {
        unrolled<count - 1>(work);
        work(std::integral_constant<int64_t, count - 1>());
    }
}

// Values a pixel of scratch memory takes: an odd number of cache lines, so that a row does not fall on few cache sets.
inline int64_t pixel_pitch(int64_t channels) { return ((channels + lanes - 1) / lanes | 1) * lanes; }

}  // namespace kernels
