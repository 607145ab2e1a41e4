// The order that all kernels share: higher score first, then lower index.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

#include "pair.hpp"

namespace kernels {

template <typename T>
struct KeyOf;
template <>
struct KeyOf<float> {
    using type = uint32_t;
};
template <>
struct KeyOf<double> {
    using type = uint64_t;
};

// An unsigned integer that rises as the score falls; equal scores, -0 and 0 among them, have equal keys.
template <typename T>
inline typename KeyOf<T>::type rank_key(T score) {
    using Key = typename KeyOf<T>::type;
    constexpr Key sign = Key(1) << (8 * sizeof(Key) - 1);
    const T positive_zero = score + T(0);
    Key bits;
    std::memcpy(&bits, &positive_zero, sizeof bits);
    return bits & sign ? bits : ~(bits | sign);
}

// The score of a key.
inline float score_of(uint32_t key) {
    constexpr uint32_t sign = 1u << 31;
    const uint32_t bits = key & sign ? key : ~(key | sign);
    float score;
    std::memcpy(&score, &bits, sizeof score);
    return score;
}

template <typename Key>
struct Ranked {
    Key key;
    uint32_t index;
    bool operator<(const Ranked& other) const {
        return key != other.key ? key < other.key : index < other.index;
    }
};

// Sorts by key and keeps the order of equal keys: comparisons for few, a radix sort for many.
template <typename Key>
void sort_ranked(std::vector<Ranked<Key>>& ranked) {
    if (ranked.size() < 512) {
        std::sort(ranked.begin(), ranked.end());
        return;
    }
    constexpr int bits = 11, buckets = 1 << bits;
    std::vector<Ranked<Key>> other(ranked.size());
    for (int shift = 0; shift < int(8 * sizeof(Key)); shift += bits) {
        uint32_t starts[buckets + 1] = {};
        for (const auto& item : ranked) ++starts[((item.key >> shift) & (buckets - 1)) + 1];
        if (std::find(starts, starts + buckets + 1, uint32_t(ranked.size())) != starts + buckets + 1)
            continue;
        for (int i = 0; i < buckets; ++i) starts[i + 1] += starts[i];
        for (const auto& item : ranked) other[starts[(item.key >> shift) & (buckets - 1)]++] = item;
        ranked.swap(other);
    }
}

// The finite boxes by rank.
template <typename T>
std::vector<Ranked<typename KeyOf<T>::type>> rank_boxes(const T* boxes, const T* scores, int64_t count) {
    std::vector<Ranked<typename KeyOf<T>::type>> ranked;
    ranked.reserve(count);
    for (int64_t i = 0; i < count; ++i)
        if (scores[i] - scores[i] == T(0) && is_finite(boxes + 4 * i))
            ranked.push_back({rank_key(scores[i]), uint32_t(i)});
    sort_ranked(ranked);
    return ranked;
}

}  // namespace kernels
