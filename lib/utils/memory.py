"""How this process gets memory from the system."""

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of glibc's malloc.h
MOST = 2**31 - 1


def keep_memory() -> bool:
    """Has the C library keep freed memory for the next request instead of giving it back to the system.

    By default glibc maps each large block anew and unmaps it when it is freed, so on a CPU each map of each step
    costs page faults and zeroed pages: about a quarter of a training step. What the environment variables
    MALLOC_MMAP_MAX_=0 and MALLOC_TRIM_THRESHOLD_ do is done here for this process and those that it starts by fork.
    To be called before the first large allocation.

    Returns:
        Whether it was done; other C libraries than glibc have no such setting.
    """
    if sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and bool(mallopt(M_MMAP_MAX, 0) and mallopt(M_TRIM_THRESHOLD, MOST))
