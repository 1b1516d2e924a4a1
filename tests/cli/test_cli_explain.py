"""`search --explain`: a table of stages with its legend, as wide as a terminal."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from omnisearch.cli import search
from omnisearch.engine.response import Hit, Response

FIGURES: dict[str, Any] = {
    "sources": {
        "token_products": {"rank": 3, "score": 4.2},
        "learned_products": {"rank": 1, "score": 0.61},
        "bestsellers": {"rank": 12, "score": 7.0},
    },
    "learned": 0.61,
    "compat": None,
    "bm25": 4.2,
    "rrf": None,
    "l1": 1.875,
    "l2": 12.125,
    "l2_heads": {"engagement": 0.5},
    "teacher": None,
    "score": 12.125,
    "blend": "score",
}


def hit(rank: int, **changed: Any) -> Hit:
    title = "A solid copper bathroom sink with a hammered rim, 40 cm"
    explain = FIGURES | changed
    return Hit(
        *(rank, "product", f"p{rank}", 12.125, title, None, None, 129.0, "EUR", None, False),
        explain=explain,
    )


@pytest.fixture
def text(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    hits = [hit(1), hit(2, blend="bound", l2=None, rules=["sinks first"])]
    response = Response(
        *("copper sink", "copper sink", hits, [], 3, 12.5, 2, 2), stages={"query": 8.1, "l1": 0.4}
    )
    console = Console(file=io.StringIO(), width=80)
    monkeypatch.setattr(search, "out", console)
    search.show(response)
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined]


def test_every_stage_has_a_column_and_no_title_holds_figures(text: list[str]) -> None:
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in text if "│" in line]
    head = [
        [cell.strip() for cell in line.split("┃")[1:-1]] for line in text if line.startswith("┃")
    ]
    assert head[-1] == ["#", "found by", "words", "meaning", "L1", "L2"]
    stages = [row for row in rows if len(row) == 6]
    found_by = "words 3, meaning 1, bestsellers 12"
    assert stages[0] == ["1", found_by, "4.200", "0.610", "1.875", "12.125"]
    assert stages[1][0] == "2*" and stages[1][-1] == "–"
    assert not any("sources" in line or "l2_heads" in line for line in text)
    assert all(len(line) <= 80 for line in text)


def test_the_legend_explains_what_is_shown_and_nothing_else(text: list[str]) -> None:
    told = [line.split(":")[0] for line in text if ": " in line]
    assert {"found by", "words", "meaning", "L1", "L2", "*"} <= set(told)
    assert not {"older", "fusion", "teacher"} & set(told)
    assert "Rules at 2: sinks first" in text
    assert "Milliseconds of each stage: query 8.1, l1 0.4" in text
