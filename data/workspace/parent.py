"""A process that ends with the one that started it."""

from __future__ import annotations

import os
import signal
import time


def follow(parent: int) -> None:
    """Stop this process when its parent has ended, however that happened; runs in a thread."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os.kill(os.getpid(), signal.SIGTERM)
