"""Python face of overlaps.hpp. The shapes are checked by lib/ops/overlaps.py."""

from libc.stdint cimport int64_t

include "guards.pxi"

ctypedef fused real:
    float
    double


cdef extern from "overlaps.hpp" namespace "kernels" nogil:
    cdef enum class Mode:
        iou
        iof
        giou
        nwd
    void all_overlaps[T](
        const T* boxes1, int64_t rows, const T* boxes2, int64_t columns, Mode mode, T constant, float* out
    ) except +

MODES = {"iou": 0, "iof": 1, "giou": 2, "nwd": 3}


def bbox_overlaps(
    const real[:, ::1] boxes1,  # IN (N, 4)
    const real[:, ::1] boxes2,  # IN (M, 4)
    int mode,  # IN one of MODES
    double constant,  # IN pixels, of NWD
    float[:, ::1] out,  # OUT (N, M)
):
    expect(boxes1.shape[1] == 4 and boxes2.shape[1] == 4, "boxes (N, 4)")
    expect(out.shape[0] == boxes1.shape[0] and out.shape[1] == boxes2.shape[0], "out (N, M)")
    expect(0 <= mode < len(MODES), "mode one of MODES")
    if out.shape[0] == 0 or out.shape[1] == 0:
        return
    with nogil:
        all_overlaps(
            &boxes1[0, 0], boxes1.shape[0], &boxes2[0, 0], boxes2.shape[0], <Mode>mode,
            <real>constant, &out[0, 0],
        )
