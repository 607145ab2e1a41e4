// Small loops written so that the compiler makes SIMD of them.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>

namespace kernels {

constexpr float least_exponent = -87.0f, most_exponent = 88.0f;

// e to the x within 1 unit in the last place; x is cut to -87 .. 88.
inline float simd_exp_within(float x) {
    constexpr float log2_e = 1.44269504f;
    constexpr float ln2_high = 0.693359375f,
                    ln2_low = -2.12194440e-4f;  // their sum is ln 2; the first is exact
    constexpr float round = 12582912.0f;  // 1.5 * 2^23: adding it leaves the nearest integer in the low bits
    const float clamped = x < least_exponent ? least_exponent : (x > most_exponent ? most_exponent : x);
    const float shifted = clamped * log2_e + round;  // NaN passes through
    const float power = shifted - round;
    const float rest = (clamped - power * ln2_high) - power * ln2_low;  // in -ln(2) / 2 .. ln(2) / 2
    float sum = 1.375127911e-3f;  // (exp(r) - 1 - r) / r^2, fitted at Chebyshev nodes; relative error 4e-9
    sum = sum * rest + 8.368951777e-3f;
    sum = sum * rest + 4.166953869e-2f;
    sum = sum * rest + 1.666651817e-1f;
    sum = sum * rest + 4.999998856e-1f;
    sum = sum * rest * rest + rest + 1.0f;
    uint32_t bits;
    std::memcpy(&bits, &shifted, sizeof bits);
    bits = (bits << 23) + 0x3f800000;  // 2^power as a float; the bits of `round` are shifted out
    float scale;
    std::memcpy(&scale, &bits, sizeof scale);
    return sum * scale;
}

// The same without bounds: beyond them 0 and infinity.
inline float simd_exp(float x) {
    const float value = simd_exp_within(x);
    return x < least_exponent ? 0.0f : (x > most_exponent ? std::numeric_limits<float>::infinity() : value);
}

// The greatest of `count` values, a power of two; it overwrites them. NaN is not greater than anything.
template <int count, typename T>
inline T greatest_of(T* values) {
    if constexpr (count == 1)
        return values[0];
    else {
        for (int i = 0; i < count / 2; ++i) values[i] = std::max(values[i], values[i + count / 2]);
        return greatest_of<count / 2>(values);
    }
}

}  // namespace kernels
