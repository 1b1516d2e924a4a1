"""The callback for reporting progress."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[int, int], None]  # (done, total); a total of 0 means unknown
