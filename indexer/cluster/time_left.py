"""How long a request's trips to a cluster may take: until its time is over.

Trips are made many calls below the request, for its spelling as for its sources, so the end is kept
with the thread that answers it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_until: ContextVar[float] = ContextVar("until", default=math.inf)


@contextmanager
def trips_until(moment: float) -> Iterator[None]:
    """No trip that is made inside lasts longer than to a moment of `time.monotonic()`, or to that
    of another `trips_until` around this one, if it is earlier."""
    before = _until.set(min(moment, _until.get()))
    try:
        yield
    finally:
        _until.reset(before)


def seconds_left() -> float:
    """Until the trips of this request must have ended; infinite if nobody waits."""
    return _until.get() - time.monotonic()
