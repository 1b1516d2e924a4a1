"""Times as people read them; everything is in UTC."""

from __future__ import annotations

from datetime import UTC, datetime


def day(seconds: float) -> str:
    """The day of a time in seconds since 1970: 2024-03-31."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d}"


def moment(seconds: float) -> str:
    """A time in seconds since 1970: 2024-03-31 17:05 UTC."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"
