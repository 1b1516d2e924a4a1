"""Processes that give way to those that answer."""

from __future__ import annotations

import os
from contextlib import suppress


def give_way(nice: int, policy: str) -> None:
    """Lower the priority of this process, and schedule it by a policy of `os` where there is one.

    Args:
        policy: 'SCHED_BATCH', which interrupts nobody, or 'SCHED_IDLE', which takes only what
            processors nothing else wants.
    """
    os.nice(nice)
    if hasattr(os, policy):
        with suppress(OSError):  # a sandbox may not permit it
            os.sched_setscheduler(0, getattr(os, policy), os.sched_param(0))
