"""Work in a thread that stops between its steps while searches are under way.

Threads share the interpreter's lock, so a search beside a thread that computes takes twice its
time; priorities of the system do not change that.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from omnisearch.data.workspace.steps import between_steps
from omnisearch.service.serving.pool import Pool

_NAP = 0.0005
_PATIENCE = 0.1  # seconds that it waits in all: what is published is found within a second


@contextmanager
def stepping_aside(pool: Pool) -> Iterator[None]:
    """What this thread does inside waits for searches where it calls `end_step`."""
    left = _PATIENCE

    def wait() -> None:
        nonlocal left
        while pool.under_way and left > 0:
            begun = time.monotonic()
            time.sleep(_NAP)
            left -= time.monotonic() - begun

    with between_steps(wait):
        yield
