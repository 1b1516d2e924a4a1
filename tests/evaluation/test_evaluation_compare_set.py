"""Systems over a query set: the query file, the figures, the tests, the page."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from omnisearch.data.catalogue.schema import set_meta
from omnisearch.data.workspace.errors import InputError, NotReady
from omnisearch.evaluation.compare_set import SetOptions, compare_queries
from omnisearch.evaluation.metrics import ndcg
from omnisearch.evaluation.query_file import read_queries
from omnisearch.evaluation.render_terminal import set_tables
from omnisearch.evaluation.report_set_html import set_page
from omnisearch.evaluation.significance import holm, randomisation_test
from omnisearch.evaluation.systems import overlap

QUERIES = [f"query {number}" for number in range(40)]


def pins(*numbers: int) -> list[tuple[str, str]]:
    return [("pin", f"p{number}") for number in numbers]


@pytest.fixture
def filled(engine: Any, db: Any) -> Any:
    """40 queries with 3 relevant pins each; 'full' is the better the more it knows of them."""
    random = np.random.default_rng(0)
    db.conn.execute("DELETE FROM judgments")
    for query in QUERIES:
        good = random.choice(12, 3, replace=False)
        for number in good:
            row = {"query": query, "entity": "pin", "item_id": f"p{number}", "judge": "a"}
            db["judgments"].insert(row | {"grade": 1.0, "time": 0})
        for system, knows in {"token": 0.3, "embedding": 1.0, "full": 2.5}.items():
            scores = random.normal(size=12)
            scores[good] += knows
            engine.rankings[system][query] = pins(*np.argsort(-scores))
    db.conn.commit()
    return engine


def test_figures_equal_those_computed_by_hand(filled: Any, db: Any) -> None:
    comparison = compare_queries(filled, db, [*QUERIES, "nobody judged this"])
    assert (comparison.queries, comparison.measured) == (41, 40)
    assert comparison.gains_from == "judgments"
    by_query: dict[str, dict[Any, float]] = {}
    for row in db["judgments"].rows:
        by_query.setdefault(row["query"], {})["pin", row["item_id"]] = row["grade"]
    values = {
        system: [ndcg(filled.rankings[system][query], by_query[query], k=10) for query in QUERIES]
        for system in ("token", "embedding", "full")
    }
    for system, numbers in values.items():
        assert comparison.metrics[system]["nDCG@10"].mean == pytest.approx(np.mean(numbers))
    pair = {(pair.a, pair.b): pair for pair in comparison.pairs}
    assert set(pair) == {("token", "embedding"), ("token", "full"), ("embedding", "full")}
    found = pair["token", "full"].differences["nDCG@10"]
    assert found.mean == pytest.approx(np.mean(values["full"]) - np.mean(values["token"]))
    assert found.wins + found.ties + found.losses == 40 and found.wins > found.losses
    p_values = [randomisation_test(values[a], values[b]) for a, b in pair]
    corrected = [entry.p_holm["nDCG@10"] for entry in comparison.pairs]
    assert corrected == pytest.approx(holm(p_values))
    shares = [
        overlap(filled.rankings["token"][query], filled.rankings["full"][query], 10)
        for query in QUERIES
    ]
    # The unjudged query has two empty rankings, which agree wholly.
    assert pair["token", "full"].overlap == pytest.approx((sum(shares) + 1) / 41)
    assert comparison.rows[-1].metrics == {}
    orjson.loads(orjson.dumps(comparison.to_json()))


def test_what_nobody_judged_is_told_and_counted_apart(filled: Any, db: Any) -> None:
    comparison = compare_queries(filled, db, QUERIES)
    page, terminal = " ".join(set_page(comparison).split()), printed(comparison)
    for system, of in comparison.metrics.items():
        first = [filled.rankings[system][query][:10] for query in QUERIES]
        judged = [{("pin", row["item_id"]) for row in rows} for rows in judgments_by_query(db)]
        share = np.mean([len(set(a) - b) / 10 for a, b in zip(first, judged, strict=True)])
        assert of["unjudged@10"].mean == pytest.approx(share)
        assert of["condensed nDCG@10"].mean == 1.0  # the three judged ones are equally good
        assert f"{share:.3f}" in page and f"{share:.3f}" in terminal
    # No one is better for being judged.
    assert all("unjudged@10" not in pair.differences for pair in comparison.pairs)
    assert all("bpref" in pair.differences for pair in comparison.pairs)


def judgments_by_query(db: Any) -> list[list[dict[str, Any]]]:
    return [list(db["judgments"].rows_where("query = ?", [query])) for query in QUERIES]


def test_held_out_engagement_stands_in_where_nobody_judged(filled: Any, db: Any) -> None:
    db.conn.execute("DELETE FROM judgments")
    held_out = {"query 3": {("pin", "p1"): 1.0}}
    comparison = compare_queries(filled, db, QUERIES, SetOptions(held_out=held_out))
    assert (comparison.measured, comparison.gains_from) == (1, "held-out engagement")
    assert set(comparison.metrics["full"]) == {"nDCG@10", "Recall@10", "Recall@100", "MRR"}


def test_without_any_gains_only_the_overlap_is_told(filled: Any, db: Any) -> None:
    db.conn.execute("DELETE FROM judgments")
    comparison = compare_queries(filled, db, QUERIES[:3])
    assert comparison.gains_from == "" and comparison.measured == 0
    assert 0 < comparison.pairs[0].overlap <= 1
    assert orjson.loads(orjson.dumps(comparison.to_json()))["metrics"]["full"]["MRR"] == {
        **{"mean": None, "low": None},
        "high": None,
    }
    assert "only the overlap is known" in " ".join(set_page(comparison).split())
    assert "None of the queries" in printed(comparison)


def test_queries_that_training_may_have_seen_are_counted(filled: Any, db: Any) -> None:
    def said() -> list[str]:
        notes = compare_queries(filled, db, QUERIES[:10]).notes
        return [note.split(" are not")[0] for note in notes]

    assert said() == ["10 of the 10 measured queries"]
    for number in range(10):
        db["queries"].insert({"id": f"query {number}", "split": "test"})
    assert said() == []
    db["queries"].update("query 3", {"split": "train"})
    assert said() == ["1 of the 10 measured queries"]


def test_features_made_for_serving_do_not_stop_a_comparison(filled: Any, db: Any) -> None:
    for number, day in enumerate((0, 50, 100)):
        row = {"event": number, "time": day * 86_400, "query": "query 1", "entity": "pin"}
        row |= {"item_id": "p1", "action": "save", "count": 1}
        db["engagements"].insert(row)
    with db.conn:
        set_meta(db, "engaged_until", 101 * 86_400)
    comparison = compare_queries(filled, db, QUERIES)
    assert comparison.measured == 40 and "40 of the 40 measured" in comparison.notes[0]
    db.conn.execute("DELETE FROM judgments")
    with pytest.raises(NotReady, match="leak"):
        compare_queries(filled, db, QUERIES)


@pytest.mark.parametrize("systems", [("token",), ("token", "token"), ()])
def test_two_different_systems_are_needed(filled: Any, db: Any, systems: tuple[str, ...]) -> None:
    with pytest.raises(InputError, match="two different"):
        compare_queries(filled, db, QUERIES, SetOptions(systems=systems))


def printed(comparison: Any) -> str:
    stream = StringIO()
    Console(file=stream, width=140).print(set_tables(comparison))
    return stream.getvalue()


def test_page_and_tables_tell_the_figures_and_escape_queries(filled: Any, db: Any) -> None:
    bad = "<script>alert(1)</script>"
    for system in filled.rankings.values():
        system[bad] = system["query 0"]
    db["judgments"].insert(
        {"query": bad, "entity": "pin", "item_id": "p0", "judge": "a", "grade": 1.0, "time": 0}
    )
    db.conn.commit()
    comparison = compare_queries(filled, db, [*QUERIES, bad])
    page, shown = set_page(comparison), printed(comparison)
    assert "<script" not in page and "&lt;script&gt;" in page
    mean = comparison.metrics["full"]["nDCG@10"].mean
    assert f"{mean:.3f}" in page and f"{mean:.3f}" in shown
    found = comparison.pairs[1].differences["nDCG@10"]
    assert f"{found.wins} / {found.ties} / {found.losses}" in page
    assert "Full stack against Token" in page and "Full stack against Token" in shown


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.txt", "\ufeffBoho  Bedroom\n# a comment\n\nkupferne Spüle\nBOHO bedroom\n"),
        ("a.jsonl", '"Boho Bedroom"\n\n{"text": "kupferne Spüle", "n": 1}\n{"query": " "}\n'),
        ("a.csv", 'id,query\n1,"Boho\n Bedroom"\n2,kupferne Spüle\n3,\n'),
        ("a.tsv", "search_term\tid\nboho bedroom\t1\nkupferne Spüle\t2\n"),
        ("a.csv", "id;query\n1;Boho Bedroom\n2;kupferne Spüle\n".encode("cp1252")),
        ("a.txt", "Boho Bedroom\nkupferne Spüle\n".encode("cp1252")),
        ("a.txt", "Boho Bedroom\r\nkupferne Spüle\r\n".encode("utf-16")),
        ("a.jsonl", '"Boho Bedroom"\n"kupferne Spüle"\n'.encode("cp1252")),
    ],
)
def test_query_files_in_four_forms(tmp_path: Path, name: str, content: str | bytes) -> None:
    assert read_queries(write(tmp_path, name, content)) == ["boho bedroom", "kupferne spüle"]


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("a.txt", "", "has no queries"),
        ("a.txt", "# only a comment\n", "has no queries"),
        ("a.txt", b"\xff\xfe\x00", "cannot be decoded"),
        ("a.jsonl", '{"query": 3}\n', "has no query"),
        ("a.jsonl", "{]\n", "not JSON"),
        ("a.csv", "name,id\nx,1\n", "no query column"),
        ("a.csv", "", "no query column"),
    ],
)
def test_bad_query_files_are_explained(
    tmp_path: Path, name: str, content: str | bytes, what: str
) -> None:
    with pytest.raises(InputError, match=what) as caught:
        read_queries(write(tmp_path, name, content))
    assert str(tmp_path / name) in caught.value.where


def test_a_missing_query_file_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_queries(tmp_path / "none.txt")


RANKING = st.lists(st.integers(0, 20).map(lambda number: ("pin", str(number))), unique=True)


@given(RANKING, RANKING, st.integers(1, 15))
def test_overlap_is_symmetric_and_bounded(a: list, b: list, k: int) -> None:
    assert overlap(a, b, k) == overlap(b, a, k)
    assert 0 <= overlap(a, b, k) <= 1
    assert overlap(a, list(reversed(a[:k])), k) == 1
