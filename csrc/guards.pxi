# What every Python face asks before it takes a pointer: the last line of defense behind lib/ops/checks.py.

cdef int expect(bint holds, str rule) except -1:
    """Raises a ValueError unless the rule holds."""
    if not holds:
        raise ValueError(f"a kernel's arguments must fit together: {rule}")
    return 0
