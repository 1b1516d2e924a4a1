"""Tables in 80 columns: no word is broken, and what does not fit is told in sentences."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from omnisearch.cli import common


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    found = io.StringIO()
    monkeypatch.setattr(common, "out", Console(file=found, width=80))
    return found


COLUMNS = ["file", "kind", "rows", "taken", "changed", "refused", "left out"]


def test_words_stay_whole_where_cells_are_wrapped(page: io.StringIO) -> None:
    row = ["the export of the shop, of November", "engagements", 1234567, 1234567, 1, 2, 3]
    common.table("Imported", COLUMNS, [row])
    lines = page.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    words = set(page.getvalue().replace("│", " ").split())
    assert {"export", "November", "engagements", "1,234,567"} <= words


def test_what_does_not_fit_is_told_in_sentences(page: io.StringIO) -> None:
    name = "queries-export-of-the-shop-2026-11-30.csv"
    common.table("Imported", COLUMNS, [[name, "queries", 77, 77, 1234567, 0, 0]])
    told = " ".join(page.getvalue().split())
    assert told == (
        f"Imported {name}: kind queries, rows 77, taken 77, changed 1,234,567, refused 0, "
        "left out 0"
    )
