"""Times as files write them: each returns seconds since 1970, or raises `Refused`."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from functools import lru_cache
from time import time as now
from typing import Any

from omnisearch.data.importers.value_checks import Refused, number

MAX_TIME = 10**11  # seconds; larger values are milliseconds

FUTURE = "is more than a day in the future"
UNCLEAR = "does not say whether the day or the month is first: write 2026-02-15 or 15.02.2026"
DAY = 86_400

_LEAST_SECONDS = 100_000_000  # smaller numbers may be dates, 20240131 and 202401
_DATE_LIKE = re.compile(r"\d{8}(?:\.0+)?|(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:\.0+)?", re.ASCII)
_HOUR = re.compile(r"(?<=[ T])(\d:\d\d(?::\d\d)?)(?!\d)")  # 9:05, as spreadsheets write it
_HALVES = re.compile(r"(\d\d?)(:\d\d(?::\d\d)?) ?([AP])\.? ?M\.?$", re.IGNORECASE)  # 9:05 PM
_ZONE = re.compile(r"\s+([+-]\d\d:?\d\d|UTC|GMT|Z)$")  # 10:30:00 -0500
_CLOCK = r",?(?P<clock>| .+)"
_DATES = (  # the day is first with points, and the year with slashes, in whatever country
    re.compile(rf"(?P<day>\d\d?)\.(?P<month>\d\d?)\.(?P<year>\d{{4}}){_CLOCK}", re.ASCII),
    re.compile(rf"(?P<year>\d{{4}})/(?P<month>\d\d?)/(?P<day>\d\d?){_CLOCK}", re.ASCII),
)
_EITHER = re.compile(r"\d\d?([/-])\d\d?\1\d{4}(?:\D.*)?", re.ASCII)


def time(value: Any, field: str) -> int | None:
    """Seconds since 1970 UTC from seconds or a text: ISO 8601, 29.2.2024 or 2024/2/29.

    UTC unless it names a zone.
    """
    if type(value) is int and _LEAST_SECONDS <= value < MAX_TIME:
        return value
    if value is None or value == "":
        return None
    if type(value) is str:
        return _time(value, field)
    if isinstance(value, date):  # Parquet dates
        return _time(value.isoformat(), field)
    found = number(value, field, float("-inf"), float("inf"))
    return None if found is None else _time(repr(int(found)), field)


def past_time(value: Any, field: str) -> int | None:
    """As `time`; refused if it is more than a day later than this machine's clock."""
    found = time(value, field)
    if found is not None and found > now() + DAY:
        raise Refused(field, FUTURE, value)
    return found


@lru_cache(maxsize=65_536)
def _time(value: str, field: str) -> int | None:
    stripped = value.strip()
    if not stripped:
        return None
    if _EITHER.fullmatch(stripped):
        raise Refused(field, UNCLEAR, value)
    for form in _DATES:
        if found := form.fullmatch(stripped):
            stripped = f"{found['year']}-{found['month']:0>2}-{found['day']:0>2}{found['clock']}"
    # Eight digits are a date (20240131); as seconds they would be before 1974.
    if _DATE_LIKE.fullmatch(stripped):
        stripped = stripped.partition(".")[0]
    else:
        try:
            seconds = float(stripped)
            return None if seconds != seconds else _in_range(seconds, field, value)
        except ValueError:
            pass
    clock = _HOUR.sub(r"0\1", _HALVES.sub(_of_day, stripped))
    try:
        moment = datetime.fromisoformat(_ZONE.sub(_joined, clock))
    except ValueError:
        raise Refused(field, "is neither ISO 8601 nor seconds", value) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return _in_range(moment.timestamp(), field, value)


def _of_day(clock: re.Match[str]) -> str:
    """12:05 AM is 00:05, and 12:05 PM is 12:05."""
    hour = int(clock[1])
    if not 1 <= hour <= 12:
        return clock[0]
    return f"{hour % 12 + 12 * (clock[3] in 'pP'):02}{clock[2]}"


def _joined(zone: re.Match[str]) -> str:
    return "+00:00" if zone[1] in ("UTC", "GMT", "Z") else zone[1]


def _in_range(seconds: float, field: str, value: Any) -> int:
    if not 0 <= seconds < MAX_TIME:
        raise Refused(field, "is out of range (seconds since 1970 are expected)", str(value))
    return int(seconds)
