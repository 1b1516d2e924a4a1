"""Recall@10 from one language into another: which pairs are counted, and what is printed."""

from __future__ import annotations

from io import StringIO
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from omnisearch.evaluation.evaluate import EvaluateOptions, evaluate
from omnisearch.evaluation.languages import language_pairs
from omnisearch.evaluation.render_terminal import evaluation_tables

WORDS = {"taube": "de", "kreis": "de", "dove": "en", "ripa": None}


@pytest.fixture
def many(db: Any) -> Any:
    """Pins p0-p5 in English, p6-p11 in German; held-out queries, judged across languages."""
    for number in range(12):
        db["pins"].update(f"p{number}", {"language": "en" if number < 6 else "de"})
    for query, language in WORDS.items():
        db["queries"].insert({"id": query, "text": query, "language": language, "split": "test"})
    for query, key in [("taube", 0), ("taube", 1), ("kreis", 2), ("dove", 6), ("ripa", 3)]:
        row = {"query": query, "entity": "pin", "item_id": f"p{key}", "judge": "j", "grade": 1}
        db["judgments"].insert(row | {"time": 0})
    db.conn.commit()
    return db


def test_pairs_are_sorted_by_both_languages(many: Any) -> None:
    gains = {
        "taube": {("pin", "p0"): 1.0, ("pin", "p1"): 0.2},
        "dove": {("pin", "p6"): 0.5, ("pin", "p0"): 1.0},
        "ripa": {("pin", "p3"): 1.0},
        "unheard of": {("pin", "p3"): 1.0},
    }
    found = language_pairs(many, [gains, {"taube": {("pin", "p0"): 1.0}}])
    assert {name: rows(table) for name, table in found.items()} == {
        "pin/de → en": [("taube", "p0")],
        "pin/en → de": [("dove", "p6")],
        "pin/en → en": [("dove", "p0")],
    }
    assert language_pairs(many, [{"dove": {("pin", "p0"): 1.0}}]) == {}


def rows(table: Any) -> list[tuple[str, str]]:
    return list(zip(table["query"].to_pylist(), table["item_id"].to_pylist(), strict=True))


def test_no_more_pairs_than_asked_for_and_the_same_by_seed(many: Any) -> None:
    gains = {"taube": {("pin", f"p{n}"): 1.0 for n in range(6)}}
    first = language_pairs(many, [gains], most=3, seed=1)["pin/de → en"]
    assert first.num_rows == 3
    assert first.equals(language_pairs(many, [gains], most=3, seed=1)["pin/de → en"])


def test_the_evaluation_tells_recall_by_both_languages(
    many: Any, engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = EvaluateOptions(systems=("token", "full"), fewest=1)
    ids = [f"p{number}" for number in range(12)]
    table = SimpleNamespace(ids=ids, row_of={key: row for row, key in enumerate(ids)})
    # 11 pins alike, p2 of its own: only `kreis` finds what it wants among the first 10.
    vectors = np.tile(np.eye(2, dtype=np.float32)[:1], (12, 1))
    vectors[2] = (0, 1)
    generation = SimpleNamespace(
        number=3,
        checkpoint="c" * 16,
        spaces={("pin", "learned"): SimpleNamespace(vectors=vectors, present=np.ones(12, bool))},
        tokens={},
        tables={"pin": table},
    )

    def queries(texts: list[str]) -> np.ndarray:
        return np.array([(0, 1) if text == "kreis" else (1, 0) for text in texts], np.float32)

    encoder = SimpleNamespace(queries=queries)
    engine.snapshot = SimpleNamespace(
        generation=generation, encoder=encoder, rankers=None, embeds=True
    )
    assert not evaluate(engine, many, options).languages  # too few pairs to say anything
    monkeypatch.setattr("omnisearch.evaluation.evaluate.FEWEST_OF_LANGUAGES", 1)
    found = evaluate(engine, many, options)
    recall = {row.pairs_of: (row.recall, row.pairs, row.queries) for row in found.languages}
    assert recall == {"pin/de → en": (pytest.approx(1 / 3), 3, 2), "pin/en → de": (0.0, 1, 1)}
    page = StringIO()
    Console(file=page, width=200).print(evaluation_tables(found))
    assert "Recall@10 by language" in page.getvalue() and "0.333" in page.getvalue()
