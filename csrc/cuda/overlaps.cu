// Overlaps of every box of one set with every box of another, on the GPU: a thread a pair.
#include "../pair.hpp"
#include "kernels.hpp"
#include "launch.cuh"

namespace kernels {

template <Mode mode, typename T>
__global__ void overlaps_kernel(const T* boxes1, const T* boxes2, int64_t pairs, int64_t columns,
                                T nwd_constant, float* out) {
    const int64_t stride = int64_t(gridDim.x) * blockDim.x;
    for (int64_t pair = int64_t(blockIdx.x) * blockDim.x + threadIdx.x; pair < pairs; pair += stride) {
        const T* a = boxes1 + 4 * (pair / columns);
        const T* b = boxes2 + 4 * (pair % columns);
        const T a_area = area_of(a[0], a[1], a[2], a[3]), b_area = area_of(b[0], b[1], b[2], b[3]);
        const T value =
            overlap<mode>(a[0], a[1], a[2], a[3], a_area, b[0], b[1], b[2], b[3], b_area, nwd_constant);
        out[pair] = is_finite(a) && is_finite(b) ? float(value) : lowest<mode>;
    }
}

template <typename T>
int cuda_overlaps(const T* boxes1, int64_t rows, const T* boxes2, int64_t columns, int mode, T nwd_constant,
                  float* out, void* stream) {
    const int64_t pairs = rows * columns;
    if (pairs == 0) return cudaSuccess;
    constexpr int threads = 256;
    constexpr int64_t most_blocks = 1 << 20;
    const unsigned blocks = std::min((pairs + threads - 1) / threads, most_blocks);
    const auto run = [&](auto kernel) {
        return launch(kernel, blocks, threads, stream, boxes1, boxes2, pairs, columns, nwd_constant, out);
    };
    switch (Mode(mode)) {
        case Mode::iou: return run(overlaps_kernel<Mode::iou, T>);
        case Mode::iof: return run(overlaps_kernel<Mode::iof, T>);
        case Mode::giou: return run(overlaps_kernel<Mode::giou, T>);
        default: return run(overlaps_kernel<Mode::nwd, T>);
    }
}

template int cuda_overlaps(const float*, int64_t, const float*, int64_t, int, float, float*, void*);
template int cuda_overlaps(const double*, int64_t, const double*, int64_t, int, double, float*, void*);

const char* cuda_error_text(int code) { return cudaGetErrorString(cudaError_t(code)); }

}  // namespace kernels
