# What every Python face has: whether it was compiled with OpenMP, from which sources (csrc/build.py defines SOURCES and
# SOURCES_DIGEST), for which processor, and what it asks before it takes a pointer, the last line of defense behind
# lib/ops/checks.py.

cdef extern from *:
    """
    #ifdef _OPENMP
    const bool has_openmp = true;
    #else
    const bool has_openmp = false;
    #endif
    """
    const bint has_openmp
    const char* sources "SOURCES"
    const char* sources_digest "SOURCES_DIGEST"


cdef extern from "instructions.hpp" namespace "kernels":
    const char* missing_instructions()


if missing_instructions():
    raise ImportError(f"built for a processor with {missing_instructions().decode()}: run `make`")
HAS_OPENMP = bool(has_openmp)  # else a kernel uses one thread, whatever it is told
SOURCES = tuple(sources.decode().split())  # names in csrc/
SOURCES_DIGEST = sources_digest.decode()


cdef int expect(bint holds, str rule) except -1:
    """Raises a ValueError unless the rule holds."""
    if not holds:
        raise ValueError(f"a kernel's arguments must fit together: {rule}")
    return 0
