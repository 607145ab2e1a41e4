"""Python face of the CUDA kernels: device pointers and a stream as integers. lib/ops checks what they point
at."""

from libc.stdint cimport int64_t, uint64_t
from libcpp cimport bool as cbool

include "guards.pxi"


cdef extern from "cuda/kernels.hpp" namespace "kernels" nogil:
    const int64_t chunk_size
    int cuda_overlaps[T](
        const T* boxes1, int64_t rows, const T* boxes2, int64_t columns, int mode, T constant, float* out,
        void* stream
    )
    int cuda_nms[T](
        const T* boxes, const int64_t* labels, int64_t count, T threshold, cbool is_iof, uint64_t* mask,
        cbool* stays, void* stream
    )
    int cuda_group_nms(
        const float* boxes, int64_t groups, int64_t size, float threshold, cbool* stays, void* stream
    )
    const char* cuda_error_text(int code)


CHUNK_SIZE = chunk_size
MODES = {"iou": 0, "iof": 1, "giou": 2, "nwd": 3}


cdef check(int code):
    if code:
        raise RuntimeError(f"a CUDA kernel could not be launched: {cuda_error_text(code).decode()}")


def bbox_overlaps(
    size_t boxes1,  # IN (rows, 4) float32, or float64 if is_double
    int64_t rows,
    size_t boxes2,  # IN (columns, 4)
    int64_t columns,
    int mode,  # IN one of MODES
    double constant,  # IN pixels, of NWD
    size_t out,  # OUT (rows, columns) float32
    bint is_double,
    size_t stream,
):
    cdef int code
    expect(rows >= 0 and columns >= 0 and 0 <= mode < len(MODES), "0 or more boxes, mode one of MODES")
    expect(rows * columns == 0 or (boxes1 and boxes2 and out), "pointers to boxes and results")
    if is_double:
        code = cuda_overlaps[double](
            <const double*>boxes1, rows, <const double*>boxes2, columns, mode, constant, <float*>out,
            <void*>stream
        )
    else:
        code = cuda_overlaps[float](
            <const float*>boxes1, rows, <const float*>boxes2, columns, mode, <float>constant, <float*>out,
            <void*>stream
        )
    check(code)


def nms(
    size_t boxes,  # IN (count, 4) by rank, float32, or float64 if is_double
    size_t labels,  # IN (count,) int64 by rank, or 0
    int64_t count,
    double threshold,
    bint is_iof,
    size_t mask,  # scratch (CHUNK_SIZE, CHUNK_SIZE / 64) int64
    size_t stays,  # IN (count,) bool, which boxes take part; OUT which stay
    bint is_double,
    size_t stream,
):
    cdef int code
    expect(count >= 0 and 0 <= threshold <= 1, "0 or more boxes, threshold in 0 .. 1")
    expect(count == 0 or (boxes and mask and stays), "pointers to boxes, mask and results")
    if is_double:
        code = cuda_nms[double](
            <const double*>boxes, <const int64_t*>labels, count, threshold, is_iof, <uint64_t*>mask,
            <cbool*>stays, <void*>stream
        )
    else:
        code = cuda_nms[float](
            <const float*>boxes, <const int64_t*>labels, count, <float>threshold, is_iof, <uint64_t*>mask,
            <cbool*>stays, <void*>stream
        )
    check(code)


def group_nms(
    size_t boxes,  # IN (groups, size, 4) float32 by rank
    int64_t groups,
    int64_t size,
    float threshold,
    size_t stays,  # IN (groups, size) bool, which boxes take part; OUT which stay
    size_t stream,
):
    expect(groups >= 0 and size >= 0 and 0 <= threshold <= 1, "0 or more groups and boxes, threshold in 0 .. 1")
    expect(groups * size == 0 or (boxes and stays), "pointers to boxes and results")
    check(cuda_group_nms(<const float*>boxes, groups, size, threshold, <cbool*>stays, <void*>stream))
