"""Measures by a sample world's truth are what its users do, and no order beats the best one."""

from __future__ import annotations

from io import StringIO
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from omnisearch.evaluation.render_terminal import metrics_table
from omnisearch.evaluation.tables import NEW, TRUTH, true_tables
from omnisearch.evaluation.truth import FULFILMENT, NDCG, true_values
from omnisearch.world import sessions
from omnisearch.world.itemtext import item_id
from omnisearch.world.truth import Truth


@pytest.fixture(scope="module")
def truth() -> Truth:
    return Truth.of(300, seed=3)


def page_of(truth: Truth, rows: list[int]) -> list[tuple[str, str]]:
    return [("pin", item_id(truth.items, row)) for row in rows]


def of_query(truth: Truth, query: str) -> tuple[np.ndarray, np.ndarray]:
    row = truth.query_of[query]
    return truth.grades_of_all(row), truth.chances(row)


def relevant_rows(truth: Truth, query: str, n: int) -> list[int]:
    grades, chances = of_query(truth, query)
    return np.argsort(-(grades + chances), kind="stable")[:n].tolist()


def test_fulfilment_is_the_share_of_simulated_sessions_with_engagement(
    truth: Truth, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "ACCIDENT", 0.0)  # so that every action is engagement
    query = next(text for text in truth.query_of if of_query(truth, text)[0].max() == 3)
    page, asked = relevant_rows(truth, query, 12)[4:12], 20_000
    everyone = np.arange(asked)
    session = (everyone + 10**9, everyone, np.full(asked, truth.query_of[query]))
    rows = np.tile(np.array(page), (asked, 1))
    parts = sessions.acts(
        truth.items,
        truth.queries,
        rows,
        truth.relevance(session[2][:, None], rows),
        session,
        np.random.default_rng(0),
    )
    engaged = np.unique(
        np.concatenate([p[1][p[5] != sessions.ACTIONS.index("impression")] for p in parts])
    )
    values, _ = true_values(truth, {"it": {query: page_of(truth, page)}}, [query])
    expected = float(values["it"][FULFILMENT][0])
    assert 0.2 < expected < 0.99
    assert len(engaged) / asked == pytest.approx(expected, abs=0.015)  # over four standard errors


def test_no_order_is_above_the_ceiling_and_the_oracle_reaches_it(truth: Truth) -> None:
    for query in list(truth.query_of)[:20]:
        grades, chances = of_query(truth, query)
        best = np.argsort(-chances, kind="stable")[:5].tolist()
        rankings = {
            "by grade": {query: page_of(truth, np.argsort(-grades, kind="stable").tolist())},
            "by chance": {query: page_of(truth, np.argsort(-chances, kind="stable").tolist())},
        }
        values, ceilings = true_values(truth, rankings, [query])
        assert values["by grade"][NDCG][0] == pytest.approx(ceilings[NDCG][0])
        assert values["by chance"][FULFILMENT][0] == pytest.approx(ceilings[FULFILMENT][0])
        of_orders = [sessions.fulfilment(chances[list(order)]) for order in permutations(best)]
        assert max(of_orders) == pytest.approx(sessions.fulfilment(chances[best]))


def test_grades_of_items_that_nobody_judged_count(truth: Truth) -> None:
    query = next(text for text in truth.query_of if (of_query(truth, text)[0] == 3).sum() >= 2)
    grades, _ = of_query(truth, query)
    (first, second), worst = np.flatnonzero(grades == 3)[:2], int(np.argmin(grades))
    rankings = {
        "a": {query: page_of(truth, [worst, first])},
        "b": {query: page_of(truth, [second])},
    }
    rankings["c"] = {query: [("pin", "not of this world"), *rankings["b"][query]]}
    values, _ = true_values(truth, rankings, [query])
    a, b, c = (float(values[system][NDCG][0]) for system in "abc")
    ideal = (-np.sort(-grades)[:10] / np.log2(np.arange(2, 12))).sum()
    assert a == pytest.approx((3 / np.log2(3) + grades[worst]) / ideal)
    assert b == c == pytest.approx(3 / ideal)


def test_tables_of_the_truth_name_what_is_possible(truth: Truth) -> None:
    queries = list(truth.query_of)[:30]
    order = list(range(len(truth.items)))
    some = {query: page_of(truth, order[:10]) for query in queries}
    best = {query: page_of(truth, relevant_rows(truth, query, 10)) for query in queries}
    new = [("pin", item_id(truth.items, row)) for row in order[::3]]
    unknown = {"not a query of the world": []}
    tables = true_tables(truth, {"some": some | unknown, "best": best | unknown}, new, seed=0)
    assert [table.name for table in tables] == [TRUTH, f"{TRUTH}: {NEW}"]
    every, of_new = tables
    assert (every.queries, every.available) == (30, 31)
    assert every.metrics["best"][NDCG].mean == pytest.approx(every.ceiling[NDCG])
    assert every.against[NDCG]["some"].low > 0
    assert of_new.ceiling[FULFILMENT] < every.ceiling[FULFILMENT]
    assert of_new.metrics["best"][FULFILMENT].mean < every.metrics["best"][FULFILMENT].mean
    stream = StringIO()
    Console(file=stream, width=120).print(metrics_table(every.metrics, every.name, every.ceiling))
    assert (
        "best possible" in stream.getvalue() and f"{every.ceiling[NDCG]:.3f}" in stream.getvalue()
    )
    assert true_tables(truth, {"some": unknown}, new, seed=0) == []


def test_nothing_that_learns_or_searches_knows_where_the_truth_is() -> None:
    source = Path(sessions.__file__).parents[1]
    readers = {
        path.relative_to(source).parts[0]
        for path in source.rglob("*.py")
        if ".truth" in (text := path.read_text()) or "import TRUTH" in text
    }
    assert readers <= {"world", "evaluation", "pipeline", "data"}
    keeper = (source / "data").rglob("*.py")
    assert [path.name for path in keeper if ".truth" in path.read_text()] == ["folders.py"]
