"""Dates as files write them, in whatever country they were saved."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from omnisearch.data.importers.times import time


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("15.02.2026", (2026, 2, 15)),
        ("5.2.2026", (2026, 2, 5)),
        ("15.02.2026 14:30", (2026, 2, 15, 14, 30)),
        ("15.02.2026, 14:30:05", (2026, 2, 15, 14, 30, 5)),
        ("15.02.2026 14:30 +0200", (2026, 2, 15, 12, 30)),
        ("2026/02/15", (2026, 2, 15)),
        ("2026/2/5 07:00:00", (2026, 2, 5, 7)),
    ],
)
def test_dates_of_spreadsheets(text, read):
    assert time(text, "time") == int(datetime(*read, tzinfo=UTC).timestamp())
