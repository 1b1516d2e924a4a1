"""Dates with slashes, such as 05/08/2026: whether the day or the month is first.

It is decided once for a file, from all of its dates, as the decimal sign of prices is: 25/08/2026
tells, 05/08/2026 alone does not. Where none tells, or both are met, they are refused by value.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import Any

from omnisearch.data.importers.source import Row

TIMES = {
    **dict.fromkeys(("pins", "products"), ("created_at",)),
    "board_items": ("added_at",),
    **dict.fromkeys(("engagements", "judgments"), ("time",)),
    "campaigns": ("start", "end"),
}
_FIRST_ROWS = 1000  # a file without such a date in them is not read once more
_DATE = re.compile(r"\s*(\d\d?)([/-])(\d\d?)\2(\d{4})(?P<clock>,?|,?[ T].+)", re.ASCII | re.DOTALL)


def with_dates(
    rows: Iterable[Row], again: Iterator[Row], fields: tuple[str, ...], notes: list[str]
) -> Iterator[Row]:
    """The rows with such dates of these fields as ISO 8601.

    `again` are the same rows, read before. What was decided is added to `notes`.
    """
    with closing(again):  # type: ignore[type-var]
        day_first = _day_first(again, fields)
    if day_first is None:
        yield from rows
        return
    for row in rows:
        if row.values:
            written = {f: _iso(row.values[f], day_first) for f in fields if f in row.values}
            row = row._replace(values=row.values | written)
        yield row
    notes.append(f"Dates such as 05/08/2026: the {'day' if day_first else 'month'} is first.")


def _day_first(rows: Iterator[Row], fields: tuple[str, ...]) -> bool | None:
    """Whether the day is first in all dates that tell; None if none tells, or they differ."""
    met, told = False, set()
    for number, row in enumerate(rows):
        if number == _FIRST_ROWS and not met:
            return None
        for value in (row.values.get(field) for field in fields) if row.values else ():
            found = _DATE.fullmatch(value) if type(value) is str else None
            met = met or found is not None
            if found and max(int(found[1]), int(found[3])) > 12:
                told.add(int(found[1]) > 12)
    return told.pop() if len(told) == 1 else None


def _iso(value: Any, day_first: bool) -> Any:
    found = _DATE.fullmatch(value) if type(value) is str else None
    if found is None:
        return value
    day, month = (found[1], found[3]) if day_first else (found[3], found[1])
    return f"{found[4]}-{month:0>2}-{day:0>2}{found['clock'].removeprefix(',')}"
