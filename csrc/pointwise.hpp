// A 1x1 convolution and its gradients, on maps that lie in memory as (pixels, channels): products of matrices.
//
// The pixels are taken in blocks that fit into the caches. All that is to be done with a block is done while it is
// there: the bias and ReLU6 of the output, the two products of the backward pass and the sums of the bias. The sums over
// the pixels are taken in parts that are the same for any number of threads, and so are the bits. lib/ops/pointwise.py
// has the torch version.
#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "lanes.hpp"

namespace kernels {

struct Pointwise {
    int64_t pixels, inputs, outputs;
    bool clip;  // whether ReLU6 comes after
};

namespace pointwise {

constexpr int64_t tile = 6;  // rows of a product that share a load: 12 of the 16 registers hold their sums
constexpr int64_t block_values = 1 << 15, most_pixels = 16 * tile, most_parts = 8, least_part = 512;

inline Lanes spread(float value) {
    const Pack all = {value, value, value, value, value, value, value, value};
    return {all, all};
}

// The same values, in registers: the compiler would read them from memory again for each use.
inline Lanes held(Lanes x) {
#ifdef __AVX__
    asm("" : "+x"(x.low), "+x"(x.high));
#endif
    return x;
}

// A matrix (depth, width) in panels of 16 columns, (panels, depth, 16), with zeros after the last column.
class Panels {
  public:
    const int64_t depth, width;

    // `at(row, column)` gives the values.
    template <typename At>
    Panels(int64_t depth, int64_t width, const At& at)
        : depth(depth), width(width), data((width + lanes - 1) / lanes * depth * lanes) {
        for (int64_t column = 0; column < width; ++column)
            for (int64_t row = 0; row < depth; ++row)
                data[(column / lanes * depth + row) * lanes + column % lanes] = at(row, column);
    }

    const float* from(int64_t column) const { return &data[column * depth]; }

  private:
    std::vector<float> data;
};

// Calls `work(at, some)` for 0 <= at < count in steps of `some`, which is `tile` and a constant, then less.
template <typename Work>
inline void in_tiles(int64_t count, const Work& work) {
    int64_t at = 0;
    for (; at + tile <= count; at += tile) work(at, std::integral_constant<int64_t, tile>());
    const auto rest = [&](auto some) {
        if (at + some <= count) work(at, some), at += some;
    };
    rest(std::integral_constant<int64_t, 4>());
    rest(std::integral_constant<int64_t, 2>());
    rest(std::integral_constant<int64_t, 1>());
}

// The product of `count` rows (each `pitch` after the last) with a matrix, plus `start` (a value for each column):
// `write(row, column, sum)` for sixteen columns at a time.
template <typename Write>
inline void product(const float* rows, int64_t pitch, int64_t count, const Panels& matrix, const float* start,
                    const Write& write) {
    const auto panel_product = [&](int64_t column, auto is_half) {  // is_half: only the first eight columns count
        const float* panel = matrix.from(column);
        const Lanes first = load(start + column);
        in_tiles(count, [&](int64_t at, auto some) {
            Lanes sums[some];
            unrolled<some>([&](auto i) { sums[i] = first; });
            const float* row = rows + at * pitch;
            for (int64_t k = 0; k < matrix.depth; ++k) {
                const Lanes values = held(load(panel + k * lanes));
                unrolled<some>([&](auto i) {
                    const Lanes factor = spread(row[i * pitch + k]);
                    if constexpr (is_half)
                        sums[i].low += factor.low * values.low;
                    else
                        sums[i].add_product(factor, values);
                });
            }
            unrolled<some>([&](auto i) { write(at + i, column, sums[i]); });
        });
    };
    int64_t column = 0;
    for (; column + lanes / 2 < matrix.width; column += lanes) panel_product(column, std::false_type());
    if (column < matrix.width) panel_product(column, std::true_type());
}

// Pixels of a block, each `pitch` values after the last, with zeros after its channels.
struct Block {
    int64_t channels, pitch;
    std::vector<float> data;

    Block(int64_t pixels, int64_t channels)
        : channels(channels), pitch(pixel_pitch(channels)), data(pixels * pitch) {}

    // With `output` the values are 0 where its ReLU6 has no gradient.
    void copy(const float* from, int64_t pixels, const float* output = nullptr) {
        for (int64_t x = 0; x < pixels; ++x, from += channels) {
            for (int64_t c = 0; c < channels; c += lanes) {
                Lanes values = load(from + c, channels - c);
                if (output) values = where_passes(values, load(output + c, channels - c));
                store(values, &data[x * pitch + c]);
            }
            if (output) output += channels;
        }
    }
};

// sums (less.channels, more.pitch) += for each pair of channels the products over the block's pixels.
inline void correlate(const Block& less, const Block& more, int64_t pixels, float* sums) {
    for (int64_t column = 0; column < more.channels; column += lanes)
        in_tiles(less.channels, [&](int64_t at, auto some) {
            Lanes total[some];
            const float *left = &less.data[at], *right = &more.data[column];
            for (int64_t x = 0; x < pixels; ++x, left += less.pitch, right += more.pitch) {
                const Lanes values = held(load(right));
                unrolled<some>([&](auto i) { total[i].add_product(spread(left[i]), values); });
            }
            float* to = sums + at * more.pitch + column;
            unrolled<some>([&](auto i) {
                total[i].add(load(to + i * more.pitch));
                store(total[i], to + i * more.pitch);
            });
        });
}

// How the pixels are divided into blocks, and these into parts.
struct Division {
    int64_t pixels, pixels_of_block, blocks, parts;

    explicit Division(const Pointwise& p)
        : pixels(p.pixels),
          pixels_of_block(std::clamp(block_values / (p.inputs + p.outputs) / tile * tile, tile, most_pixels)),
          blocks((p.pixels + pixels_of_block - 1) / pixels_of_block),
          parts(std::clamp<int64_t>(p.pixels / least_part, 1, std::min(most_parts, blocks))) {}

    // Calls `work(first pixel, count)` for each block of a part.
    template <typename Work>
    void for_each_block(int64_t part, const Work& work) const {
        for (int64_t block = blocks * part / parts; block < blocks * (part + 1) / parts; ++block) {
            const int64_t first = block * pixels_of_block;
            work(first, std::min(pixels_of_block, pixels - first));
        }
    }
};

}  // namespace pointwise

// map (pixels, inputs), weights (outputs, inputs), bias (outputs) or null -> out (pixels, outputs).
inline void pointwise_forward(const Pointwise& p, const float* map, const float* weights, const float* bias, float* out,
                              int threads) {
    using namespace pointwise;
    const Panels matrix(p.inputs, p.outputs, [&](int64_t i, int64_t o) { return weights[o * p.inputs + i]; });
    std::vector<float> start((p.outputs + lanes - 1) / lanes * lanes);
    if (bias) std::copy_n(bias, p.outputs, start.data());
    const Division division(p);
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t part = 0; part < division.parts; ++part)
        division.for_each_block(part, [&](int64_t first, int64_t count) {
            product(map + first * p.inputs, p.inputs, count, matrix, start.data(),
                    [&](int64_t x, int64_t o, const Lanes& sum) {
                        store(p.clip ? relu6(sum) : sum, out + (first + x) * p.outputs + o, p.outputs - o);
                    });
        });
}

// The gradients, laid out as what they are of; to_map may be null, and so may to_weights with to_bias. `output` is what
// the forward pass gave; only ReLU6 needs it.
inline void pointwise_backward(const Pointwise& p, const float* map, const float* weights, const float* output,
                               const float* gradient, float* to_map, float* to_weights, float* to_bias, int threads) {
    using namespace pointwise;
    const Panels matrix(p.outputs, p.inputs, [&](int64_t o, int64_t i) { return weights[o * p.inputs + i]; });
    const std::vector<float> zeros(matrix.width + lanes);
    const Division division(p);
    const bool more_outputs = p.outputs > p.inputs;
    const int64_t least = std::min(p.inputs, p.outputs), pitch = pixel_pitch(std::max(p.inputs, p.outputs));
    std::vector<float> of_weights(to_weights ? division.parts * least * pitch : 0);
    std::vector<float> of_bias(to_weights ? division.parts * p.outputs : 0);
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t part = 0; part < division.parts; ++part) {
        Block maps(division.pixels_of_block, p.inputs), gradients(division.pixels_of_block, p.outputs);
        division.for_each_block(part, [&](int64_t first, int64_t count) {
            gradients.copy(gradient + first * p.outputs, count, p.clip ? output + first * p.outputs : nullptr);
            if (to_map)
                product(gradients.data.data(), gradients.pitch, count, matrix, zeros.data(),
                        [&](int64_t x, int64_t i, const Lanes& sum) {
                            store(sum, to_map + (first + x) * p.inputs + i, p.inputs - i);
                        });
            if (!to_weights) return;
            maps.copy(map + first * p.inputs, count);
            const Block &less = more_outputs ? maps : gradients, &more = more_outputs ? gradients : maps;
            correlate(less, more, count, &of_weights[part * least * pitch]);
            for (int64_t x = 0; x < count; ++x)
                for (int64_t o = 0; o < p.outputs; ++o)
                    of_bias[part * p.outputs + o] += gradients.data[x * gradients.pitch + o];
        });
    }
    if (!to_weights) return;
    const auto sum = [&](const std::vector<float>& parts, int64_t at) {
        float total = 0.0f;
        for (int64_t part = 0; part < division.parts; ++part) total += parts[part * (parts.size() / division.parts) + at];
        return total;
    };
    for (int64_t o = 0; o < p.outputs; ++o) {
        to_bias[o] = sum(of_bias, o);
        for (int64_t i = 0; i < p.inputs; ++i)
            to_weights[o * p.inputs + i] = sum(of_weights, more_outputs ? i * pitch + o : o * pitch + i);
    }
}

}  // namespace kernels
