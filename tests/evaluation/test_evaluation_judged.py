"""Judgments as gains: averaged over judges, on the scale of their data set."""

from __future__ import annotations

from typing import Any

import pytest

from omnisearch.data.catalogue.schema import set_meta
from omnisearch.evaluation.judged import RELEVANT, data_notes, gains_of_query, judged_gains


def judge(db: Any, query: str, item: str, *grades: float) -> None:
    for number, grade in enumerate(grades):
        row = {"query": query, "entity": "product", "item_id": item, "judge": f"j{number}"}
        db["judgments"].insert(row | {"grade": grade, "time": 0})


@pytest.fixture
def judged(db: Any) -> Any:
    """Three data sets with scales to 1, 2 and 3."""
    judge(db, "copper sink", "esci:E", 1.0)
    judge(db, "copper sink", "esci:S", 0.1)
    judge(db, "copper sink", "hd:1", 1.0, 2.0, 0.0)
    judge(db, "other", "hd:2", 2.0)
    judge(db, "other", "plain", 3.0, 3.0, 0.0)
    judge(db, "other", "worse", 1.0, 2.0, 1.0)
    db.conn.commit()
    return db


def test_gains_are_means_over_the_highest_grade_of_the_data_set(judged: Any) -> None:
    gains = judged_gains(judged)
    assert gains["copper sink"] == {
        ("product", "esci:E"): 1.0,
        ("product", "esci:S"): pytest.approx(0.1),
        ("product", "hd:1"): 0.5,
    }
    assert gains["other"]["product", "plain"] == pytest.approx(2 / 3)
    assert gains["other"]["product", "worse"] < RELEVANT <= gains["copper sink"]["product", "hd:1"]
    assert gains_of_query(judged, "copper sink") == gains["copper sink"]
    assert gains_of_query(judged, "never seen") == {}


def test_a_data_set_of_zeros_has_gains_of_zero(db: Any) -> None:
    judge(db, "q", "a", 0.0)
    assert judged_gains(db) == {"q": {("product", "a"): 0.0}}


def test_judgings_put_into_the_catalogue_keep_their_scale(db: Any) -> None:
    row = {"query": "q", "entity": "product", "time": 0}
    for item, grade in (("partly", 0.3), ("not", 0.1)):
        judging = {"item_id": item, "judge": "judging:spring:anna", "grade": grade}
        db["judgments"].insert(row | judging)
    db.conn.commit()
    gains = judged_gains(db)["q"]
    assert gains == {("product", "partly"): 0.3, ("product", "not"): 0.1}
    assert max(gains.values()) < RELEVANT


def test_notes_say_what_the_data_is(db: Any) -> None:
    assert data_notes(db) == []
    with db.conn:
        set_meta(db, "synthetic", True)
        set_meta(db, "derived_from_labels", ["esci"])
    assert [note.split(":")[0] for note in data_notes(db)] == [
        "Synthetic data",
        "Judgments and engagement derived from the labels of esci",
    ]
