"""What `omnisearch rank train` and `rank report` tell of a training."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from omnisearch.cli import common, rank

REPORT = {
    "rows": 51_200,
    "queries": 412,
    "trained_on": {"engagement": 380, "relevance": 25},
    "held_out": {"engagement": 77, "relevance": 6},
    "left_out": [
        {"count": 100, "what": "judged queries", "why": "a data set keeps them for its test"}
    ],
    "ndcg@10": {"engagement": {"l2": 0.51, "l1": 0.48}},
    "order": "l2",
}


def test_counts_of_what_was_learned_from_and_of_what_was_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    console = Console(file=io.StringIO(), width=80)
    for module in (rank, common):
        monkeypatch.setattr(module, "out", console)
    rank.show(REPORT, Path("rankers/1"))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "Learned from 412 queries and 51,200 of their candidates" in text
    lines = [line.split("│")[1:-1] for line in text.splitlines() if "│" in line]
    rows = [[cell.strip() for cell in line] for line in lines]
    assert rows[:2] == [["of the log", "380", "77"], ["judged", "25", "6"]]
    assert "Left out: judged queries (100): a data set keeps them for its test." in text
    assert all(len(line) <= 80 for line in text.splitlines() if "│" in line)


def test_a_report_of_an_earlier_omnisearch_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    rank.show({"ndcg@10": {}}, None)
    assert "are not live" in " ".join(capsys.readouterr().out.split())
