"""Python face of pointwise.hpp. lib/ops/pointwise.py checks what comes in."""

from libc.stdint cimport int64_t
from libcpp cimport bool as cbool

include "guards.pxi"


cdef extern from "pointwise.hpp" namespace "kernels" nogil:
    cdef struct Pointwise:
        int64_t pixels
        int64_t inputs
        int64_t outputs
        cbool clip

    void pointwise_forward(
        const Pointwise& p, const float* map, const float* weights, const float* bias, float* out, int threads
    ) except +
    void pointwise_backward(
        const Pointwise& p, const float* map, const float* weights, const float* output, const float* gradient,
        float* to_map, float* to_weights, float* to_bias, int threads
    ) except +


cdef Pointwise problem(
    const float[:, ::1] map, const float[:, ::1] weights, const float[:, ::1] output, bint clip, int threads
) except *:
    """The sizes, which must fit together."""
    expect(map.shape[0] >= 1 and map.shape[1] >= 1 and output.shape[1] >= 1, "maps (pixels, C), all of 1 or more")
    expect(output.shape[0] == map.shape[0], "as many pixels of the output as of the map")
    expect(weights.shape[0] == output.shape[1] and weights.shape[1] == map.shape[1], "weights (outputs, inputs)")
    expect(threads >= 1, "threads above 0")
    return Pointwise(map.shape[0], map.shape[1], output.shape[1], clip)


def convolve(
    const float[:, ::1] map,  # IN (pixels, inputs)
    const float[:, ::1] weights,  # IN (outputs, inputs)
    const float[::1] bias,  # IN (outputs,), or None
    bint clip,
    int threads,
    float[:, ::1] out,  # OUT (pixels, outputs)
):
    """The convolution, and ReLU6 after it with ``clip``."""
    cdef Pointwise p = problem(map, weights, out, clip, threads)
    cdef const float* shift = NULL
    if bias is not None:
        expect(bias.shape[0] == p.outputs, "bias (outputs,)")
        shift = &bias[0]
    with nogil:
        pointwise_forward(p, &map[0, 0], &weights[0, 0], shift, &out[0, 0], threads)


def convolve_backward(
    const float[:, ::1] map,  # IN (pixels, inputs)
    const float[:, ::1] weights,  # IN (outputs, inputs)
    const float[:, ::1] output,  # IN (pixels, outputs), of the forward pass
    const float[:, ::1] gradient,  # IN (pixels, outputs)
    bint clip,
    int threads,
    float[:, ::1] to_map,  # OUT (pixels, inputs), or None
    float[:, ::1] to_weights,  # OUT (outputs, inputs), or None
    float[::1] to_bias,  # OUT (outputs,), or None; there if ``to_weights`` is
):
    """The gradients."""
    cdef Pointwise p = problem(map, weights, output, clip, threads)
    cdef float* of_map = NULL
    cdef float* of_weights = NULL
    cdef float* of_bias = NULL
    expect(gradient.shape[0] == p.pixels and gradient.shape[1] == p.outputs, "the gradient of the output's shape")
    if to_map is not None:
        expect(to_map.shape[0] == p.pixels and to_map.shape[1] == p.inputs, "to_map of the map's shape")
        of_map = &to_map[0, 0]
    if to_weights is not None:
        expect(to_weights.shape[0] == p.outputs and to_weights.shape[1] == p.inputs, "to_weights of the weights' shape")
        expect(to_bias is not None and to_bias.shape[0] == p.outputs, "to_bias (outputs,), with to_weights")
        of_weights, of_bias = &to_weights[0, 0], &to_bias[0]
    with nogil:
        pointwise_backward(
            p, &map[0, 0], &weights[0, 0], &output[0, 0], &gradient[0, 0], of_map, of_weights, of_bias, threads
        )
