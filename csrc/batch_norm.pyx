"""Python face of batch_norm.hpp. lib/ops/batch_norm.py checks what comes in."""

from libc.stdint cimport int64_t

include "guards.pxi"


cdef extern from "batch_norm.hpp" namespace "kernels" nogil:
    cdef struct Norm:
        int64_t pixels
        int64_t channels
        float epsilon
        int activation

    void norm_forward(
        const Norm& n, const float* map, const float* weight, const float* bias, float* out, float* mean,
        float* variance, int threads
    ) except +
    void norm_backward(
        const Norm& n, const float* map, const float* weight, const float* bias, const float* mean,
        const float* variance, const float* gradient, float* to_map, float* to_weight, float* to_bias, int threads
    ) except +


cdef Norm problem(
    const float[:, ::1] map, const float[::1] weight, const float[::1] bias, float epsilon, int activation, int threads
) except *:
    """The sizes, which must fit together."""
    expect(map.shape[0] >= 1 and map.shape[1] >= 1, "a map (pixels, C), both of 1 or more")
    expect(weight.shape[0] == map.shape[1] and bias.shape[0] == map.shape[1], "weight and bias (C,)")
    expect(0 <= activation <= 4 and threads >= 1, "an activation of 0 to 4, threads above 0")
    return Norm(map.shape[0], map.shape[1], epsilon, activation)


def normalize(
    const float[:, ::1] map,  # IN (pixels, C)
    const float[::1] weight,  # IN (C,)
    const float[::1] bias,  # IN (C,)
    float epsilon,
    int activation,
    int threads,
    float[:, ::1] out,  # OUT (pixels, C)
    float[::1] mean,  # OUT (C,)
    float[::1] variance,  # OUT (C,), the mean of the squares
):
    """BatchNorm with the map's own statistics, then the activation."""
    cdef Norm n = problem(map, weight, bias, epsilon, activation, threads)
    expect(out.shape[0] == n.pixels and out.shape[1] == n.channels, "out of the map's shape")
    expect(mean.shape[0] == n.channels and variance.shape[0] == n.channels, "mean and variance (C,)")
    with nogil:
        norm_forward(n, &map[0, 0], &weight[0], &bias[0], &out[0, 0], &mean[0], &variance[0], threads)


def normalize_backward(
    const float[:, ::1] map,  # IN (pixels, C)
    const float[::1] weight,  # IN (C,)
    const float[::1] bias,  # IN (C,)
    float epsilon,
    int activation,
    int threads,
    const float[::1] mean,  # IN (C,), of the forward pass
    const float[::1] variance,  # IN (C,)
    const float[:, ::1] gradient,  # IN (pixels, C)
    float[:, ::1] to_map,  # OUT (pixels, C)
    float[::1] to_weight,  # OUT (C,)
    float[::1] to_bias,  # OUT (C,)
):
    """The gradients."""
    cdef Norm n = problem(map, weight, bias, epsilon, activation, threads)
    expect(gradient.shape[0] == n.pixels and gradient.shape[1] == n.channels, "the gradient of the map's shape")
    expect(to_map.shape[0] == n.pixels and to_map.shape[1] == n.channels, "to_map of the map's shape")
    expect(mean.shape[0] == n.channels and variance.shape[0] == n.channels, "mean and variance (C,)")
    expect(to_weight.shape[0] == n.channels and to_bias.shape[0] == n.channels, "to_weight and to_bias (C,)")
    with nogil:
        norm_backward(
            n, &map[0, 0], &weight[0], &bias[0], &mean[0], &variance[0], &gradient[0, 0], &to_map[0, 0], &to_weight[0],
            &to_bias[0], threads,
        )
