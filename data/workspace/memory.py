"""Memory that was freed."""

from __future__ import annotations

import contextlib
import ctypes


def trim_memory() -> None:
    """Hand freed memory back to the system, where the C library is glibc.

    What a generation or a training held lies in many pieces, which glibc keeps: a process would
    come to hold those of several.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
