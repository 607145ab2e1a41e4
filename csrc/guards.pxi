# What every Python face has: whether it was compiled with OpenMP, and what it asks before it takes a pointer, the last
# line of defense behind lib/ops/checks.py.

cdef extern from *:
    """
    #ifdef _OPENMP
    const bool has_openmp = true;
    #else
    const bool has_openmp = false;
    #endif
    """
    const bint has_openmp

HAS_OPENMP = bool(has_openmp)  # else a kernel uses one thread, whatever it is told


cdef int expect(bint holds, str rule) except -1:
    """Raises a ValueError unless the rule holds."""
    if not holds:
        raise ValueError(f"a kernel's arguments must fit together: {rule}")
    return 0
