"""The whole evaluation: which queries are held out, what each system scores on them."""

from __future__ import annotations

from io import StringIO
from types import SimpleNamespace
from typing import Any

import numpy as np
import orjson
import pytest
from rich.console import Console

from omnisearch.data.catalogue.schema import set_meta
from omnisearch.data.workspace.errors import NotReady
from omnisearch.evaluation.evaluate import EvaluateOptions, evaluate, held_out_gains, judged_sets
from omnisearch.evaluation.render_terminal import evaluation_tables

DAY = 86_400
SYSTEMS = ("token", "embedding", "full")


def engage(db: Any, event: int, day: float, query: str, item: tuple[str, str], action: str) -> None:
    entity, key = item
    db["engagements"].insert(
        {
            **{"event": event, "time": int(day * DAY), "query": query, "entity": entity},
            **{"item_id": key, "action": action, "count": 1, "surface": "search"},
            **{"language": "en", "country": "US"},
        }
    )


@pytest.fixture
def logged(engine: Any, db: Any) -> Any:
    """100 days of log; the last week holds three engaged pins, an impression and a query click."""
    engage(db, 1, 1, "old query", ("pin", "p0"), "save")
    engage(db, 2, 99.1, "copper sink", ("pin", "p2"), "save")
    engage(db, 3, 99.2, "copper sink", ("pin", "p5"), "long_click")
    engage(db, 4, 99.3, "sink", ("pin", "p6"), "save")
    engage(db, 5, 99.4, "sink", ("pin", "p7"), "impression")
    engage(db, 6, 100, "sink", ("query", "copper sink"), "click")
    engage(db, 7, 90, "in the gap", ("pin", "p1"), "save")
    db.conn.commit()
    for system, first in {"token": 9, "embedding": 5, "full": 6}.items():
        engine.rankings[system]["sink"] = [("pin", f"p{first}"), ("pin", "p6")]
    ids = [f"p{number}" for number in range(12)]
    table = SimpleNamespace(ids=ids, row_of={key: row for row, key in enumerate(ids)})
    vectors = np.eye(12, dtype=np.float32)
    spaces = {("pin", "learned"): SimpleNamespace(vectors=vectors, present=np.ones(12, bool))}
    generation = SimpleNamespace(
        number=3, checkpoint="c" * 16, spaces=spaces, tokens={}, tables={"pin": table}
    )
    encoder = SimpleNamespace(queries=lambda texts: vectors[[6] * len(texts)])
    told = {"generation": generation, "encoder": encoder, "rankers": None, "embeds": True}
    engine.snapshot = SimpleNamespace(**told)
    return engine


def test_held_out_engagement_is_that_of_the_last_week(logged: Any, db: Any) -> None:
    assert held_out_gains(db) == {
        "copper sink": {("pin", "p2"): 1.0, ("pin", "p5"): 1.0},
        "sink": {("pin", "p6"): 1.0},
    }


def test_every_system_on_every_held_out_set(logged: Any, db: Any) -> None:
    told: list[tuple[int, int]] = []
    result = evaluate(
        logged,
        db,
        EvaluateOptions(systems=SYSTEMS, fewest=1),
        lambda done, total: told.append((done, total)),
    )
    tables = {table.name: table for table in result.tables}
    assert set(tables) == {"held-out engagement", "judged", "judged: new items alone"}
    engaged = tables["held-out engagement"]
    assert engaged.queries == engaged.available == 2
    # 'sink': full has p6 first, the others second. 'copper sink' of p2 and p5: token finds none.
    assert engaged.metrics["full"]["MRR"].mean == pytest.approx((1 + 1 / 4) / 2)
    assert engaged.metrics["token"]["MRR"].mean == pytest.approx((1 / 2 + 0) / 2)
    assert engaged.metrics["embedding"]["Recall@10"].mean == 1.0
    difference = engaged.against["nDCG@10"]["token"]
    token, full = (engaged.metrics[name]["nDCG@10"].mean for name in ("token", "full"))
    assert difference.mean == pytest.approx(full - token) and difference.wins == 2
    assert set(engaged.against) == {"nDCG@10"} == set(engaged.p_holm)
    assert set(difference_of := engaged.against["nDCG@10"]) == {"token", "embedding"}
    assert set(difference_of) == set(engaged.p_holm["nDCG@10"])
    assert told[-1] == (3, 3) and [done for done, _ in told] == [1, 2, 3]
    recall = {(row.pairs_of, row.space, row.group): row.recall for row in result.recall}
    # p6 is the nearest of all; p2 ties with ten others at 0, which count against it.
    assert recall["pin/save", "learned", ""] == 0.5
    assert result.generation == 3 and result.checkpoint == "c" * 16
    assert any("No rankers" in note for note in result.notes)
    assert "unjudged@10" not in engaged.metrics["token"]
    # Of 7 token results p9, p10 and p0 have judgments; of 9 of the full stack p0, p1, p2, p10.
    judged = tables["judged"].metrics
    assert judged["token"]["unjudged@10"].mean == pytest.approx(4 / 7)
    assert judged["full"]["unjudged@10"].mean == pytest.approx(5 / 9)
    # Of the judged alone, token has p9, p10, p0, full the best order; grades 1, 0.75, 0.5, 0.3, 0.
    assert judged["full"]["condensed nDCG@10"].mean == pytest.approx(1.0)
    best = 1 + 0.75 / np.log2(3) + 0.5 / 2 + 0.3 / np.log2(5)
    condensed = (0.3 / np.log2(3) + 1 / 2) / best
    assert judged["token"]["condensed nDCG@10"].mean == pytest.approx(condensed)
    assert set(tables["judged"].against) == {"nDCG@10", "condensed nDCG@10"}
    orjson.dumps(result.to_json())
    stream = StringIO()
    Console(file=stream, width=200).print(evaluation_tables(result))
    assert "held-out engagement: 2 of 2 queries" in stream.getvalue()
    assert "pin/save" in stream.getvalue()
    assert "unjudged@10" in stream.getvalue() and "0.571" in stream.getvalue()


def test_new_items_are_measured_beside_all(logged: Any, db: Any) -> None:
    engage(db, 8, 2, "old query", ("pin", "p2"), "impression")  # before training ended: not new
    db.conn.commit()
    result = evaluate(logged, db, EvaluateOptions(systems=SYSTEMS, fewest=1))
    tables = {table.name: table for table in result.tables}
    new = tables["held-out engagement: new items alone"]
    assert (new.queries, new.available) == (2, 2)
    # 'copper sink' has p5 in the fifth place of embedding, 'sink' p6 in the second.
    assert new.metrics["embedding"]["MRR"].mean == pytest.approx((1 / 5 + 1 / 2) / 2)
    assert new.metrics["embedding"]["Recall@10"].mean == 1.0
    assert new.metrics["token"]["Recall@10"].mean == 0.5
    assert tables["held-out engagement"].metrics["embedding"]["MRR"].mean == (1 / 3 + 1 / 2) / 2
    for event, pin in enumerate(("p5", "p6"), 9):
        engage(db, event, 3, "old query", ("pin", pin), "impression")
    db.conn.commit()
    db.conn.execute("DELETE FROM judgments")
    result = evaluate(logged, db, EvaluateOptions(SYSTEMS, fewest=1))
    assert [table.name for table in result.tables] == ["held-out engagement"]
    assert any("New items are not measured" in note for note in result.notes)


def test_judged_sets_are_of_queries_kept_back_by_prefix(logged: Any, db: Any) -> None:
    rows = [
        ("in the gap", "train", "p1", 1.0),
        ("a", "test", "esci:1", 1.0),
        ("a", "test", "esci:2", 0.0),
        ("a", "test", "coco:1", 1.0),
        ("b", "test", "hd:1", 0.0),
        ("c", "valid", "hd:2", 2.0),
        ("d", None, "hd:3", 2.0),
        ("sink", None, "tate:1", 1.0),  # of the evaluation window
    ]
    db.conn.execute("DELETE FROM judgments")
    for query, split, item, grade in rows:
        db["queries"].upsert({"id": query, "text": query, "split": split}, pk="id")
        row = {"query": query, "entity": "product", "item_id": item, "judge": "a"}
        db["judgments"].insert(row | {"grade": grade, "time": 0})
    assert judged_sets(db) == {
        "judged: esci": {"a": {("product", "esci:1"): 1.0, ("product", "esci:2"): 0.0}},
        "judged: coco": {"a": {("product", "coco:1"): 1.0}},
        "judged: tate": {"sink": {("product", "tate:1"): 1.0}},
    }


def test_a_sample_of_queries_is_seeded(logged: Any, db: Any) -> None:
    one = EvaluateOptions(systems=SYSTEMS, fewest=1, queries=1, seed=5)
    logged.asked.clear()
    evaluate(logged, db, one)
    first = list(logged.asked)
    logged.asked.clear()
    evaluate(logged, db, one)
    assert logged.asked == first and len(first) == 2 * len(SYSTEMS)


def test_nothing_to_measure_by_is_an_error(logged: Any, db: Any) -> None:
    """A script that measures must not take missing figures for good ones."""
    db.conn.execute("DELETE FROM engagements")
    db.conn.execute("UPDATE judgments SET grade = 0")
    with pytest.raises(NotReady, match="There is nothing to measure by") as error:
        evaluate(logged, db, EvaluateOptions(systems=SYSTEMS, fewest=1))
    assert "no judge found anything relevant" in error.value.what
    assert "Import a longer log" in error.value.how and "omnisearch judge" in error.value.how


def test_leaking_features_stop_the_evaluation(logged: Any, db: Any) -> None:
    with db.conn:
        set_meta(db, "engaged_until", 100 * DAY)
    with pytest.raises(NotReady, match="leak"):
        evaluate(logged, db, EvaluateOptions(systems=SYSTEMS, fewest=1))


def test_a_week_of_few_queries_is_not_measured_and_that_is_said(logged: Any, db: Any) -> None:
    result = evaluate(logged, db, EvaluateOptions(systems=SYSTEMS))
    assert not any(table.name.startswith("held-out") for table in result.tables)
    assert result.recall == []
    (said,) = (note for note in result.notes if "engagement of" in note)
    assert "from 1970-04-04 to 1970-04-11" in said and "of 2 queries only" in said
    assert "fewer than 50" in said and "Import a longer log" in said
    console = Console(file=StringIO(), width=80)
    console.print(evaluation_tables(result))
    assert "engagement of 2 queries only" in " ".join(console.file.getvalue().split())
    with db.conn:
        db.conn.execute("DELETE FROM judgments")
    with pytest.raises(NotReady, match="of 2 queries only"):
        evaluate(logged, db, EvaluateOptions(systems=SYSTEMS))


def test_judged_queries_that_are_not_measured_are_told(logged: Any, db: Any) -> None:
    with db.conn:
        db["judgments"].insert(
            {"query": "never asked", "entity": "pin", "item_id": "p1", "judge": "x", "grade": 1.0}
        )
    found = evaluate(logged, db, EvaluateOptions(systems=SYSTEMS, fewest=1)).to_json()["left_out"]
    assert {"count": 1, "what": "judged queries"}.items() <= found[0].items()
    assert "rankers may have learned from them" in found[0]["why"]
