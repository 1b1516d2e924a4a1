"""Counts as people read them."""

from __future__ import annotations


def counted(number: int, one: str, many: str = "") -> str:
    """A count with its thing: '1 rule', '1,200 rules'; `many` is a plural without a plain s."""
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"
