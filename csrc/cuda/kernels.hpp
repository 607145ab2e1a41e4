// What the CUDA sources offer to their Cython face: device pointers, a stream, and a CUDA error code (0:
// launched). Nothing here waits for the device or allocates; the caller owns all memory.
#pragma once

#include <cstdint>

namespace kernels {

constexpr int64_t chunk_size = 2048;  // boxes whose mutual overlaps are held at once, a multiple of 64 * 32

// boxes1 (rows, 4), boxes2 (columns, 4) -> out (rows, columns); mode as in pair.hpp
template <typename T>
int cuda_overlaps(const T* boxes1, int64_t rows, const T* boxes2, int64_t columns, int mode, T nwd_constant,
                  float* out, void* stream);

// boxes (count, 4) and labels (count) or null, by rank; stays (count): which boxes take part -> which stay.
// mask (chunk_size, chunk_size / 64) is scratch memory.
template <typename T>
int cuda_nms(const T* boxes, const int64_t* labels, int64_t count, T threshold, bool is_iof, uint64_t* mask,
             bool* stays, void* stream);

// NMS of many lists at once: boxes (groups, size, 4) by rank; stays (groups, size): which take part -> which
// stay
int cuda_group_nms(const float* boxes, int64_t groups, int64_t size, float threshold, bool* stays,
                   void* stream);

const char* cuda_error_text(int code);

}  // namespace kernels
