"""Python face of depthwise.hpp. lib/ops/depthwise.py checks what comes in."""

from libc.stdint cimport int64_t
from libcpp cimport bool as cbool

include "guards.pxi"


cdef extern from "depthwise.hpp" namespace "kernels" nogil:
    cdef struct Depthwise:
        int64_t images
        int64_t height
        int64_t width
        int64_t channels
        int64_t out_height
        int64_t out_width
        int64_t rows
        int64_t columns
        int64_t stride
        int64_t top
        int64_t left
        cbool clip

    void depthwise_forward(
        const Depthwise& d, const float* map, const float* weights, const float* bias, float* out, int threads
    ) except +
    void depthwise_backward(
        const Depthwise& d, const float* map, const float* weights, const float* output, const float* gradient,
        float* to_map, float* to_weights, float* to_bias, int threads
    ) except +


cdef Depthwise problem(
    const float[:, :, :, ::1] map,
    const float[:, :, ::1] weights,
    const float[:, :, :, ::1] output,
    int64_t stride,
    pads,
    bint clip,
) except *:
    """The sizes of a convolution, which must fit together."""
    cdef int64_t i, top, bottom, left, right
    top, bottom, left, right = pads  # zeros above, below, left and right of the map
    for i in range(4):
        expect(map.shape[i] >= 1 and output.shape[i] >= 1, "maps (B, h, w, C), all of 1 or more")
    expect(map.shape[0] == output.shape[0] and map.shape[3] == output.shape[3], "the output's B and C the map's")
    expect(weights.shape[2] == map.shape[3], "weights (rows, columns, C)")
    expect(weights.shape[0] >= 1 and weights.shape[1] >= 1 and stride >= 1, "kernel and stride of 1 or more")
    expect(0 <= top < weights.shape[0] and 0 <= bottom < weights.shape[0], "fewer zeros than the kernel's rows")
    expect(0 <= left < weights.shape[1] and 0 <= right < weights.shape[1], "fewer zeros than the kernel's columns")
    cdef int64_t height = map.shape[1] + top + bottom - weights.shape[0]
    cdef int64_t width = map.shape[2] + left + right - weights.shape[1]
    expect(height >= 0 and output.shape[1] == height // stride + 1, "output rows as many as there are windows")
    expect(width >= 0 and output.shape[2] == width // stride + 1, "output columns as many as there are windows")
    return Depthwise(
        map.shape[0], map.shape[1], map.shape[2], map.shape[3], output.shape[1], output.shape[2],
        weights.shape[0], weights.shape[1], stride, top, left, clip,
    )


def forward(
    const float[:, :, :, ::1] map,  # IN (B, h, w, C)
    const float[:, :, ::1] weights,  # IN (rows, columns, C)
    const float[::1] bias,  # IN (C,), or None
    int64_t stride,
    pads,
    bint clip,
    int threads,
    float[:, :, :, ::1] out,  # OUT (B, h', w', C)
):
    """The convolution, with zeros around the map, and ReLU6 after it with ``clip``."""
    cdef Depthwise d = problem(map, weights, out, stride, pads, clip)
    cdef const float* shift = NULL
    expect(threads >= 1, "threads above 0")
    if bias is not None:
        expect(bias.shape[0] == map.shape[3], "bias (C,)")
        shift = &bias[0]
    with nogil:
        depthwise_forward(d, &map[0, 0, 0, 0], &weights[0, 0, 0], shift, &out[0, 0, 0, 0], threads)


def backward(
    const float[:, :, :, ::1] map,  # IN (B, h, w, C)
    const float[:, :, ::1] weights,  # IN (rows, columns, C)
    const float[:, :, :, ::1] output,  # IN (B, h', w', C), of the forward pass
    const float[:, :, :, ::1] gradient,  # IN (B, h', w', C)
    int64_t stride,
    pads,
    bint clip,
    int threads,
    float[:, :, :, ::1] to_map,  # OUT (B, h, w, C), or None
    float[:, :, ::1] to_weights,  # OUT (rows, columns, C), or None
    float[::1] to_bias,  # OUT (C,), or None; there if ``to_weights`` is
):
    """The gradients."""
    cdef Depthwise d = problem(map, weights, output, stride, pads, clip)
    cdef float* of_map = NULL
    cdef float* of_weights = NULL
    cdef float* of_bias = NULL
    cdef int i
    expect(threads >= 1, "threads above 0")
    for i in range(4):
        expect(gradient.shape[i] == output.shape[i], "the gradient of the output's shape")
        if to_map is not None:
            expect(to_map.shape[i] == map.shape[i], "to_map of the map's shape")
    if to_map is not None:
        of_map = &to_map[0, 0, 0, 0]
    if to_weights is not None:
        for i in range(3):
            expect(to_weights.shape[i] == weights.shape[i], "to_weights of the weights' shape")
        expect(to_bias is not None and to_bias.shape[0] == map.shape[3], "to_bias (C,), with to_weights")
        of_weights, of_bias = &to_weights[0, 0, 0], &to_bias[0]
    with nogil:
        depthwise_backward(
            d, &map[0, 0, 0, 0], &weights[0, 0, 0], &output[0, 0, 0, 0], &gradient[0, 0, 0, 0], of_map,
            of_weights, of_bias, threads,
        )
