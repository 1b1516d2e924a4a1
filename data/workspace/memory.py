"""Returning freed memory to the system."""

from __future__ import annotations

import contextlib
import ctypes


def trim_memory() -> None:
    """Return freed memory to the system, if the C library is glibc.

    A generation or a training allocates many small pieces, which glibc keeps after they are freed:
    without this, a process would keep the memory of several.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
