"""Work in a thread that stops while searches are under way.

Threads share the interpreter's lock, so a search beside a thread that computes takes twice its
time; priorities of the system do not change that.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from omnisearch.service.serving.pool import Pool

_NAP = 0.0005
_PATIENCE = 0.2  # seconds that it waits in all: what is published is found within a second


@contextmanager
def stepping_aside(pool: Pool) -> Iterator[None]:
    """What this thread does inside waits for searches at each call and return of a function.

    So the work itself, which is in many small steps, need not know of it. A profiler in this thread
    is replaced: the interpreter's hook for these is what calls.
    """
    left = _PATIENCE

    def step(*_: Any) -> None:
        nonlocal left
        while pool.under_way and left > 0:
            begun = time.monotonic()
            time.sleep(_NAP)
            left -= time.monotonic() - begun

    sys.setprofile(step)
    try:
        yield
    finally:
        sys.setprofile(None)
