"""Long work that lets others go first between its steps.

A step ends where no lock is held: who waits inside of one keeps others waiting for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_between: ContextVar[Callable[[], None] | None] = ContextVar("between", default=None)


@contextmanager
def between_steps(call: Callable[[], None]) -> Iterator[None]:
    """Call this after each step of the work inside, in this thread."""
    token = _between.set(call)
    try:
        yield
    finally:
        _between.reset(token)


def end_step() -> None:
    """A step of what may be long work has ended."""
    call = _between.get()
    if call is not None:
        call()
