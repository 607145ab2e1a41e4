// Depthwise convolution and its gradients, on maps whose channels lie side by side in memory (channels_last).
//
// The few rows of the map that a row of the output needs are copied to scratch memory, which the second cache holds,
// with zeros around them, so that no bound has to be checked. Where asked, ReLU6 is applied to the output as it is
// written, without a pass over memory of its own. lib/ops/depthwise.py has the torch version.
#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "lanes.hpp"

namespace kernels {

struct Depthwise {
    int64_t images, height, width, channels, out_height, out_width;
    int64_t rows, columns, stride, top, left;  // of the kernel; zeros above and left of the map
    bool clip;                                 // whether ReLU6 comes after
};

namespace depthwise {

constexpr int64_t pixels = 4;  // of the output that share a load of the weights

// A few rows of some channels of a map, each copied when it is first asked for.
class Rows {
  public:
    const int64_t pitch;  // values from a pixel to the next

    // `before` and `after` are zeros at the ends of a row; `held` is how many rows are in use at a time.
    Rows(int64_t width, int64_t before, int64_t after, int64_t held, int64_t count)
        : pitch(pixel_pitch(count)), width(width), before(std::max<int64_t>(0, before)),
          length((this->before + width + std::max<int64_t>(0, after)) * pitch), held(held), count(count),
          data(held * length), owner(held) {}

    // Starts anew with the channels from `map` on, of which `channels` lie between two pixels. With `output`, laid out
    // as the map, the values are 0 where its ReLU6 has no gradient.
    void begin(const float* map, int64_t height, int64_t channels, const float* output = nullptr) {
        this->map = map, this->output = output, this->height = height, this->channels = channels;
        owner.assign(held, none);
    }

    // The row's first pixel, zeros before it; a row outside of the map is zeros.
    const float* row(int64_t y) {
        const int64_t slot = (y % held + held) % held;
        float* out = data.data() + slot * length;
        if (owner[slot] != y) owner[slot] = y, fill(y, out);
        return out + before * pitch;
    }

  private:
    static constexpr int64_t none = INT64_MIN;

    void fill(int64_t y, float* out) const {
        const bool is_outside = y < 0 || y >= height;
        std::fill_n(out, is_outside ? length : before * pitch, 0.0f);
        if (is_outside) return;
        out += before * pitch;
        std::fill_n(out + width * pitch, length - (before + width) * pitch, 0.0f);
        const int64_t first = y * width * channels;
        if (output)
            copy(first, out, [&](const Lanes& x, int64_t at, int64_t some) {
                return where_passes(x, load(output + at, some));
            });
        else
            copy(first, out, [](const Lanes& x, int64_t, int64_t) { return x; });
    }

    template <typename Change>
    void copy(int64_t first, float* out, const Change& change) const {
        for (int64_t x = 0; x < width; ++x, first += channels, out += pitch)
            for (int64_t c = 0; c < count; c += lanes)
                store(change(load(map + first + c, count - c), first + c, count - c), out + c);
    }

    int64_t width, before, length, held, count, height = 0, channels = 0;
    const float *map = nullptr, *output = nullptr;
    std::vector<float> data;
    std::vector<int64_t> owner;
};

struct Tap {
    const float *map, *weight;  // of the output's first pixel
};

// `some` pixels of the output from `at` on; the taps of neighboring pixels lie `pitch` apart.
template <int64_t some, typename Write>
inline void slide_some(const std::vector<Tap>& taps, int64_t pitch, int64_t at, const Write& write) {
    Lanes sums[some];
    for (const Tap& tap : taps) {
        const Lanes weight = load(tap.weight);
        const float* map = tap.map + at * pitch;
        unrolled<some>([&](auto i) { sums[i].add_product(weight, load(map + i * pitch)); });
    }
    unrolled<some>([&](auto i) { write(at + i, sums[i]); });
}

// The weighted sums of the taps at `count` pixels of the output: `write(pixel, sum)` for each.
template <typename Write>
inline void slide(const std::vector<Tap>& taps, int64_t pitch, int64_t count, const Write& write) {
    int64_t x = 0;
    for (; x + pixels <= count; x += pixels) slide_some<pixels>(taps, pitch, x, write);
    for (; x < count; ++x) slide_some<1>(taps, pitch, x, write);
}

// sums (some, apart) += for each of `some` neighboring columns of the kernel, a row's gradients times its map.
template <int64_t some>
inline void correlate(const float* gradients, int64_t gradient_pitch, const float* map, int64_t map_pitch, int64_t step,
                      int64_t count, float* sums, int64_t apart) {
    Lanes total[some];
    for (int64_t x = 0; x < count; ++x, gradients += gradient_pitch, map += step * map_pitch) {
        const Lanes gradient = load(gradients);
        unrolled<some>([&](auto k) { total[k].add_product(gradient, load(map + k * map_pitch)); });
    }
    unrolled<some>([&](auto k) {
        total[k].add(load(sums + k * apart));
        store(total[k], sums + k * apart);
    });
}

// Some channels of one image, from `first` on.
struct Part {
    const Depthwise& d;
    int64_t image, first, count;

    int64_t map() const { return image * d.height * d.width * d.channels + first; }
    int64_t output() const { return image * d.out_height * d.out_width * d.channels + first; }
    int64_t pitch() const { return pixel_pitch(count); }

    Rows map_rows(const float* map) const {
        const int64_t after = (d.out_width - 1) * d.stride + d.columns - d.left - d.width;
        Rows rows(d.width, d.left, after, d.rows, count);
        rows.begin(map + this->map(), d.height, d.channels);
        return rows;
    }

    // Zeros stand for the columns that windows would have left and right of the output, if they went on.
    Rows gradient_rows(const float* gradient, const float* output) const {
        const int64_t before = (d.columns - 1 - d.left + d.stride - 1) / d.stride;
        const int64_t after = (d.width - 1 + d.left) / d.stride - (d.out_width - 1);
        Rows rows(d.out_width, before, after, (d.rows - 1) / d.stride + 1, count);
        const int64_t at = this->output();
        rows.begin(gradient + at, d.out_height, d.channels, d.clip ? output + at : nullptr);
        return rows;
    }

    // (rows * columns, pitch()) of weights (rows * columns, channels), zeros after the last.
    std::vector<float> own(const float* weights) const {
        std::vector<float> own(d.rows * d.columns * pitch());
        for (int64_t k = 0; k < d.rows * d.columns; ++k)
            std::copy_n(weights + k * d.channels + first, count, &own[k * pitch()]);
        return own;
    }
};

inline void forward(const Part& part, const float* map, const float* weights, const float* bias, float* out) {
    const Depthwise& d = part.d;
    const auto own = part.own(weights);
    std::vector<float> shift(part.pitch());
    if (bias) std::copy_n(bias + part.first, part.count, shift.data());
    Rows rows = part.map_rows(map);
    std::vector<Tap> taps(d.rows * d.columns);
    for (int64_t y = 0; y < d.out_height; ++y)
        for (int64_t c = 0; c < part.count; c += lanes) {
            for (int64_t k = 0, tap = 0; k < d.rows; ++k) {
                const float* row = rows.row(y * d.stride - d.top + k) - d.left * rows.pitch + c;
                for (int64_t j = 0; j < d.columns; ++j, ++tap)
                    taps[tap] = {row + j * rows.pitch, &own[tap * part.pitch() + c]};
            }
            const Lanes start = load(&shift[c]);
            float* to = out + part.output() + y * d.out_width * d.channels + c;
            slide(taps, d.stride * rows.pitch, d.out_width, [&](int64_t x, Lanes sum) {
                sum.add(start);
                store(d.clip ? relu6(sum) : sum, to + x * d.channels, part.count - c);
            });
        }
}

// The gradients of some channels of one image: a row of the output at a time for the weights, a row of the map at a time
// for the map, both in one pass over the rows of the gradient.
class Backward {
  public:
    Backward(const Part& part, const float* map, const float* output, const float* gradient)
        : part(part), d(part.d), pitch(part.pitch()), rows(part.map_rows(map)),
          gradients(part.gradient_rows(gradient, output)) {}

    // to_map, laid out as the map is, or null; to_weights (rows * columns, channels) with to_bias (channels), or null.
    void run(const float* weights, float* to_map, float* to_weights, float* to_bias) {
        const auto own = part.own(weights);
        if (to_weights) sums.assign(d.rows * d.columns * pitch, 0.0f), of_bias.assign(pitch, 0.0f);
        int64_t next = 0;
        const auto add_rows_to = [&](int64_t end) {
            for (; to_weights && next < std::min(end, d.out_height); ++next) add_row(next);
        };
        for (int64_t y = 0; to_map && y < d.height; ++y) {
            add_rows_to((y + d.top) / d.stride + 1);  // the rows of the output that this row of the map is in
            write_row(y, own, to_map);
        }
        add_rows_to(d.out_height);
        if (!to_weights) return;
        for (int64_t k = 0; k < d.rows * d.columns; ++k)
            std::copy_n(&sums[k * pitch], part.count, to_weights + k * d.channels + part.first);
        std::copy_n(of_bias.data(), part.count, to_bias + part.first);
    }

  private:
    void add_row(int64_t y) {
        for (int64_t c = 0; c < part.count; c += lanes) {
            const float* of_row = gradients.row(y) + c;
            for (int64_t k = 0; k < d.rows; ++k) {
                const float* row = rows.row(y * d.stride - d.top + k) - d.left * pitch + c;
                float* to = &sums[k * d.columns * pitch + c];
                int64_t j = 0;
                const auto columns = [&](auto some) {
                    for (; j + some <= d.columns; j += some)
                        correlate<some>(of_row, pitch, row + j * pitch, pitch, d.stride, d.out_width, to + j * pitch,
                                        pitch);
                };
                columns(std::integral_constant<int64_t, 5>());
                columns(std::integral_constant<int64_t, 3>());
                columns(std::integral_constant<int64_t, 1>());
            }
            Lanes of_y;
            for (int64_t x = 0; x < d.out_width; ++x) of_y.add(load(of_row + x * pitch));
            of_y.add(load(&of_bias[c]));
            store(of_y, &of_bias[c]);
        }
    }

    // A pixel of the map takes part in every stride-th column of the windows, so the pixels of a row that have the same
    // remainder are sums over the same taps.
    void write_row(int64_t y, const std::vector<float>& own, float* to_map) {
        for (int64_t c = 0; c < part.count; c += lanes)
            for (int64_t rest = 0; rest < std::min(d.stride, d.width); ++rest) {
                taps.clear();
                for (int64_t k = 0; k < d.rows; ++k) {
                    if ((y + d.top - k) % d.stride) continue;
                    const float* row = gradients.row((y + d.top - k) / d.stride) + c;
                    for (int64_t j = 0; j < d.columns; ++j)
                        if ((rest + d.left - j) % d.stride == 0)
                            taps.push_back({row + (rest + d.left - j) / d.stride * pitch,
                                            &own[(k * d.columns + j) * pitch + c]});
                }
                const int64_t place = part.map() + (y * d.width + rest) * d.channels + c, some = part.count - c;
                slide(taps, pitch, (d.width - rest + d.stride - 1) / d.stride, [&](int64_t x, Lanes sum) {
                    store(sum, to_map + place + x * d.stride * d.channels, some);
                });
            }
    }

    const Part& part;
    const Depthwise& d;
    const int64_t pitch;
    Rows rows, gradients;
    std::vector<Tap> taps;
    std::vector<float> sums, of_bias;
};

// Calls `work(part)` for each image, in several parts if there are more threads than images. What is computed does not
// depend on the parts.
template <typename Work>
inline void for_each_part(const Depthwise& d, int threads, const Work& work) {
    const int64_t blocks = (d.channels + lanes - 1) / lanes;
    const int64_t parts = std::min(blocks, (threads + d.images - 1) / d.images);
    const int64_t size = (blocks + parts - 1) / parts * lanes;
#pragma omp parallel for collapse(2) schedule(static) num_threads(threads)
    for (int64_t image = 0; image < d.images; ++image)
        for (int64_t part = 0; part < parts; ++part) {
            const int64_t first = part * size;
            if (first < d.channels) work(Part{d, image, first, std::min(size, d.channels - first)});
        }
}

}  // namespace depthwise

// map (images, height, width, channels), weights (rows * columns, channels), bias (channels) or null
// -> out (images, out_height, out_width, channels).
inline void depthwise_forward(const Depthwise& d, const float* map, const float* weights, const float* bias, float* out,
                              int threads) {
    depthwise::for_each_part(
        d, threads, [&](const depthwise::Part& part) { depthwise::forward(part, map, weights, bias, out); });
}

// The gradients, laid out as what they are of; to_map may be null, and so may to_weights with to_bias. `output` is what
// the forward pass gave.
inline void depthwise_backward(const Depthwise& d, const float* map, const float* weights, const float* output,
                               const float* gradient, float* to_map, float* to_weights, float* to_bias, int threads) {
    const int64_t size = d.rows * d.columns * d.channels;
    std::vector<float> of_weights(to_weights ? d.images * size : 0), of_bias(to_weights ? d.images * d.channels : 0);
    depthwise::for_each_part(d, threads, [&](const depthwise::Part& part) {
        float* const weights_of_image = to_weights ? &of_weights[part.image * size] : nullptr;
        float* const bias_of_image = to_weights ? &of_bias[part.image * d.channels] : nullptr;
        depthwise::Backward(part, map, output, gradient).run(weights, to_map, weights_of_image, bias_of_image);
    });
    const auto sum = [&](const std::vector<float>& parts, int64_t count, float* to) {
        std::fill_n(to, count, 0.0f);
        for (int64_t image = 0; image < d.images; ++image)
            for (int64_t i = 0; i < count; ++i) to[i] += parts[image * count + i];
    };
    if (to_weights) sum(of_weights, size, to_weights), sum(of_bias, d.channels, to_bias);
}

}  // namespace kernels
