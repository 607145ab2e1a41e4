// Greedy NMS on the GPU, without a copy to the host. Boxes come by rank. A chunk of them is settled among
// itself (mask of mutual overlaps, then one warp walks it in order), then its boxes that stay strike out all
// later ones. So memory does not grow with the square of the number of boxes, and nothing waits for the
// device.
#include "../pair.hpp"
#include "kernels.hpp"
#include "launch.cuh"

namespace kernels {

constexpr int word_bits = 64;
constexpr int words = chunk_size / word_bits;  // of a row of the mask: one a lane of the walking warp
static_assert(words == 32, "settle_chunk keeps one word of removed boxes a lane");

// Whether `better` strikes out `box`.
template <typename T>
__device__ bool exceeds(const T* better, const T* box, T threshold, bool is_iof) {
    const T part = intersection(better[0], better[1], better[2], better[3], box[0], box[1], box[2], box[3]);
    const T area = area_of(box[0], box[1], box[2], box[3]);
    const T whole = is_iof ? area : area_of(better[0], better[1], better[2], better[3]) + area - part;
    return divide(part, whole) > threshold;
}

__device__ bool same(const int64_t* labels, int64_t a, int64_t b) {
    return !labels || labels[a] == labels[b];
}

// mask[row][word]: the boxes of the chunk after `row` that it strikes out. A block a word and 64 rows, a
// thread a row. Words left of the diagonal and beyond the last box are not written: they say nothing.
template <typename T>
__global__ void mask_chunk(const T* boxes, const int64_t* labels, int64_t begin, int64_t end, T threshold,
                           bool is_iof, uint64_t* mask) {
    if (blockIdx.x < blockIdx.y) return;
    const int word = blockIdx.x;
    const int row = blockIdx.y * word_bits + threadIdx.x;
    const int64_t i = begin + row;
    uint64_t bits = 0;
    for (int bit = 0; i < end && bit < word_bits; ++bit) {
        const int64_t j = begin + word * word_bits + bit;
        if (j > i && j < end && same(labels, i, j) &&
            exceeds(boxes + 4 * i, boxes + 4 * j, threshold, is_iof))
            bits |= uint64_t(1) << bit;
    }
    mask[row * words + word] = bits;
}

// What a word of boxes strikes out in one word, `column` of their 64 rows: only the rows whose bit is set in `alive`
// count. All are read, several at a time: one after the other, each would wait for the memory.
__device__ uint64_t rows_of(uint64_t alive, const uint64_t* column) {
    constexpr int at_once = 16;
    uint64_t struck = 0;
    for (int first = 0; first < word_bits; first += at_once) {
        uint64_t row[at_once];
#pragma unroll
        for (int k = 0; k < at_once; ++k) row[k] = column[(first + k) * words];
#pragma unroll
        for (int k = 0; k < at_once; ++k) struck |= alive >> (first + k) & 1 ? row[k] : 0;
    }
    return struck;
}

// Walks the chunk by rank and writes which of its boxes stay. One warp; lane w keeps word w of what is
// removed.
__global__ void __launch_bounds__(words)
    settle_chunk(const uint64_t* mask, int64_t begin, int64_t end, bool* stays) {
    const int lane = threadIdx.x;
    uint64_t removed = 0;
#pragma unroll 16
    for (int bit = 0; bit < word_bits; ++bit) {
        const int64_t i = begin + lane * word_bits + bit;
        const bool takes_part = stays[std::min(i, end - 1)] && i < end;
        if (!takes_part) removed |= uint64_t(1) << bit;
    }
    __shared__ uint64_t diagonal[word_bits];
    for (int word = 0; begin + word * word_bits < end; ++word) {
        const uint64_t* rows = mask + int64_t(word) * word_bits * words;
        __syncwarp();
        for (int bit = lane; bit < word_bits; bit += words) diagonal[bit] = rows[bit * words + word];
        __syncwarp();
        uint64_t alive = ~__shfl_sync(~0u, removed, word);
#pragma unroll
        for (int bit = 0; bit < word_bits; ++bit)
            alive &= ~(alive >> bit & 1 ? diagonal[bit] : 0);
        if (lane == word) removed = ~alive;
        const uint64_t struck = rows_of(alive, rows + lane);
        if (lane > word) removed |= struck;
    }
    for (int bit = 0; bit < word_bits; ++bit) {
        const int64_t i = begin + lane * word_bits + bit;
        if (i < end) stays[i] = !(removed >> bit & 1);
    }
}

// Strikes out the boxes after the chunk that one of its boxes exceeds. A thread a box.
template <typename T>
__global__ void strike_later(const T* boxes, const int64_t* labels, int64_t begin, int64_t end, int64_t count,
                             T threshold, bool is_iof, bool* stays) {
    const int64_t j = end + int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
    if (j >= count || !stays[j]) return;
    const T box[4] = {boxes[4 * j], boxes[4 * j + 1], boxes[4 * j + 2], boxes[4 * j + 3]};
    for (int64_t i = begin; i < end; ++i) {
        if (stays[i] && same(labels, i, j) && exceeds(boxes + 4 * i, box, threshold, is_iof)) {
            stays[j] = false;
            return;
        }
    }
}

template <typename T>
int cuda_nms(const T* boxes, const int64_t* labels, int64_t count, T threshold, bool is_iof, uint64_t* mask,
             bool* stays, void* stream) {
    constexpr int threads = 128;
    for (int64_t begin = 0; begin < count; begin += chunk_size) {
        const int64_t end = std::min(begin + chunk_size, count);
        const unsigned later_blocks = (count - end + threads - 1) / threads;
        const unsigned used_words = (end - begin + word_bits - 1) / word_bits;
        cudaError_t error = launch(mask_chunk<T>, dim3(used_words, used_words), word_bits, stream, boxes,
                                   labels, begin, end, threshold, is_iof, mask);
        if (!error) error = launch(settle_chunk, 1, words, stream, mask, begin, end, stays);
        if (!error && later_blocks)
            error = launch(strike_later<T>, later_blocks, threads, stream, boxes, labels, begin, end, count,
                           threshold, is_iof, stays);
        if (error) return error;
    }
    return cudaSuccess;
}

template int cuda_nms(const float*, const int64_t*, int64_t, float, bool, uint64_t*, bool*, void*);
template int cuda_nms(const double*, const int64_t*, int64_t, double, bool, uint64_t*, bool*, void*);

// A block a group: for each box that stays, by rank, all threads strike out later ones.
__global__ void group_nms(const float* boxes, int64_t size, float threshold, bool* stays) {
    boxes += 4 * size * blockIdx.x;
    stays += size * blockIdx.x;
    for (int64_t i = 0; i < size; ++i) {
        __syncthreads();
        if (!stays[i]) continue;
        for (int64_t j = i + 1 + threadIdx.x; j < size; j += blockDim.x)
            if (stays[j] && exceeds(boxes + 4 * i, boxes + 4 * j, threshold, false)) stays[j] = false;
    }
}

int cuda_group_nms(const float* boxes, int64_t groups, int64_t size, float threshold, bool* stays,
                   void* stream) {
    if (groups == 0 || size == 0) return cudaSuccess;
    return launch(group_nms, unsigned(groups), 128, stream, boxes, size, threshold, stays);
}

}  // namespace kernels
