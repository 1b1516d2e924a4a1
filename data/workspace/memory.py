"""Caches that do not keep what they belong to, and returning freed memory to the system."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Callable
from functools import lru_cache
from typing import ParamSpec, TypeVar, cast
from weakref import WeakMethod

P = ParamSpec("P")
R = TypeVar("R")


def remembering(method: Callable[P, R], most: int) -> Callable[P, R]:
    """`lru_cache` of a bound method, to be kept in an attribute of its object.

    With `lru_cache` alone the object would hold itself. A generation would then be freed by the
    garbage collector, some time and all at once, which stops every thread for tens of milliseconds.
    """
    known = WeakMethod(method)

    def called(*args: P.args, **named: P.kwargs) -> R:
        bound = known()
        assert bound is not None, "the object of a cached method is gone"
        return bound(*args, **named)

    return cast(Callable[P, R], lru_cache(most)(called))


def trim_memory() -> None:
    """Return freed memory to the system, if the C library is glibc.

    A generation or a training allocates many small pieces, which glibc keeps after they are freed:
    without this, a process would keep the memory of several.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
