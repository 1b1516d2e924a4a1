"""What is left out, in numbers and with the reason.

Nothing is dropped in silence: the commands print a sentence for each, and `--json`, the rankers'
report and an evaluation hold them as `left_out`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class LeftOut:
    """How many of what were left out, and why: a part of a sentence after a colon."""

    count: int
    what: str
    why: str

    def __str__(self) -> str:
        return f"Left out: {self.what} ({self.count:,}): {self.why}."


def some(found: Iterable[LeftOut]) -> list[LeftOut]:
    """Those that left something out."""
    return [each for each in found if each.count]
