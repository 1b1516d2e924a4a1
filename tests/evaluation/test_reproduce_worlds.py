"""What tables ask of a sample world's truth: complete grades, ceilings; intervals over worlds."""

from __future__ import annotations

from contextlib import closing
from math import log2

import numpy as np
import pytest
from scipy import stats

from omnisearch.data.catalogue.schema import open_catalogue
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import InputError
from omnisearch.evaluation.reproduce.curve import reproduce_curve
from omnisearch.evaluation.reproduce.pairs import Column, all_columns
from omnisearch.evaluation.reproduce.reproduce import Reproduce, reproduce_table
from omnisearch.evaluation.reproduce.runs import first_rows
from omnisearch.evaluation.reproduce.sample import Sample
from omnisearch.evaluation.reproduce.spec import Finding, Model, Table
from omnisearch.evaluation.reproduce.table_report import (
    CONFIRMED,
    OPEN,
    Measured,
    markdown,
    reproduction,
)
from omnisearch.evaluation.reproduce.worlds import ceilings, graded_columns, truth_of, week_of
from omnisearch.world.truth import Truth

TINY = {"steps": 4, "warmup_steps": 1, "valid_every": 2}


@pytest.fixture(scope="module")
def base(tables_folder) -> Workspace:
    return Workspace.open(tables_folder / "base")


@pytest.fixture(scope="module")
def truth(base) -> Truth:
    found = truth_of(base)
    assert found is not None
    return found


def plain_ndcg(grades: list[int], everything: list[int]) -> float:
    """nDCG@10, written out."""

    def dcg(values: list[int]) -> float:
        return sum(value / log2(place + 2) for place, value in enumerate(values[:10]))

    return dcg(grades) / dcg(sorted(everything, reverse=True))


def test_the_week_is_busier_than_the_logs(base, truth) -> None:
    with closing(open_catalogue(base.catalogue)) as db:
        logged, week = all_columns(db), all_columns(db, week_of(db, truth, 7))
    assert len(week["pin/save"].pairs) > 8 * len(logged["pin/save"].pairs)
    assert week["pin/relevance"] == logged["pin/relevance"]  # judges are the catalogue's


def test_graded_columns_have_ndcg_by_the_grades_of_all_items(base, truth) -> None:
    with closing(open_catalogue(base.catalogue)) as db:
        columns = graded_columns(db, truth, week_of(db, truth, 7))
        country = dict(db.conn.execute("SELECT id, country FROM queries"))
    column = columns["product/ndcg"]
    products = [key for key, row in truth.item_of.items() if row >= truth.items.pins]
    shown = [list(np.random.default_rng(n).permutation(products)[:10]) for n in range(99)]
    some = column.only(set(column.queries[:99]))
    for query, keys, found in zip(some.queries, shown, some.values(shown), strict=True):
        grade, _ = truth.grades([(query, key) for key in keys])
        every, _ = truth.grades([(query, key) for key in products])
        assert found == pytest.approx(plain_ndcg(grade.tolist(), every.tolist()))
    of_countries = [each for name, each in columns.items() if name.startswith("product/ndcg ")]
    assert sum(len(each.queries) for each in of_countries) == len(column.queries)
    assert {country[query] for query in columns["pin/ndcg US"].queries} == {"US"}


def test_a_ceiling_is_the_chance_of_being_found_if_equals_are_in_random_order(truth) -> None:
    query = next(text for text, row in truth.query_of.items() if truth.grades_of_all(row).any())
    number, pins = truth.query_of[query], truth.items.pins
    pairs = [(query, key) for key, row in list(truth.item_of.items())[:pins:5] if row < pins]
    columns = {"pin/relevance": Column("pin", pairs), "pin/save": Column("pin", pairs)}
    columns["query/click"] = Column("query", [(query, query)])
    found = ceilings(truth, columns)
    assert set(found) == {"pin/relevance", "pin/save"}
    rng = np.random.default_rng(0)
    score = {
        "pin/relevance": truth.relevance(np.array([number]), np.arange(pins)),
        "pin/save": (truth.chances(number) * ~truth.items.dark)[:pins],
    }
    for name, scores in score.items():
        times = np.zeros(pins)
        for _ in range(2000):
            times[np.lexsort((rng.random(pins), -scores))[:10]] += 1
        rows = [truth.item_of[key] for _, key in pairs]
        np.testing.assert_allclose(found[name], times[rows] / 2000, atol=0.05)


def test_the_first_rows_are_those_of_a_plain_sort() -> None:
    rng = np.random.default_rng(1)
    queries, vectors = rng.standard_normal((300, 8)), rng.standard_normal((57, 8))
    plain = np.argsort(-(queries @ vectors.T), axis=1)[:, :10]
    np.testing.assert_array_equal(first_rows(queries, vectors), plain)
    assert first_rows(queries, vectors[:4]).shape == (300, 4)


def test_over_several_worlds_intervals_and_p_values_are_students() -> None:
    rng = np.random.default_rng(2)
    values = [rng.normal(0.1, 1, 50) for _ in range(5)]
    sample = Sample([[str(n) for n in range(50)]] * 5)
    means = [each.mean() for each in values]
    reference = stats.ttest_1samp(means, 0)
    assert sample.p_value(values) == pytest.approx(reference.pvalue)
    low, high = reference.confidence_interval()
    assert sample.interval(values) == pytest.approx((low, high))
    assert sample.count == 250


def test_what_decides_is_corrected_for_its_number() -> None:
    """One comparison of 30 is below 0.05 by chance more often than not."""
    rng = np.random.default_rng(5)
    names = [f"pin/c{n}" for n in range(30)]
    columns = {name: Column("pin", [(f"q{n}", "p") for n in range(100)]) for name in names}
    hits = {
        model: [{f"learned:{name}": rng.random(100) < 0.3 for name in names}]
        for model in ("a", "b")
    }
    models, finding = (Model("a"), Model("b")), Finding("a is better", "a", "b")

    def made(decides: tuple[str, ...]):
        table = Table("t", tuple(names), models, (finding,), decides)
        return reproduction("t", table, [Measured(columns, hits)], [])

    every = made(())
    assert all(verdict.verdict == OPEN and verdict.decides for verdict in every.verdicts)
    luckiest = min(every.verdicts, key=lambda verdict: verdict.p).column
    one = {verdict.column: verdict for verdict in made((luckiest,)).verdicts}
    assert one[luckiest].p < 0.05  # as if it alone had been named, which nobody may do afterwards
    assert [name for name, verdict in one.items() if verdict.decides] == [luckiest]
    assert "(not decided)" in markdown(made((luckiest,)))


def test_worlds_are_trained_on_and_measured_one_by_one(tables_folder) -> None:
    folder = tables_folder
    models = (
        Model("SearchSage", "compat", train={"weight_learned": 0.0, "mix_query": 0.0}),
        Model("OmniSearchSage"),
    )
    finding = Finding("it finds more", "OmniSearchSage", "SearchSage")
    columns = ("pin/save", "pin/ndcg", "query/click")
    table = Table("Two worlds", columns, models, (finding,), (), 300, "tiny", TINY)
    truths: set[bool] = set()

    def on_run(number: int, total: int, name: str):
        assert total == 4
        return lambda report: truths.update(
            Workspace(work).truth.exists() for work in (folder / "work").iterdir()
        )

    made = reproduce_table("two", table, Reproduce(folder, seeds=1, worlds=2), on_run)
    assert truths == {False}  # what is trained cannot read the truth
    assert {path.name for path in folder.glob("base*")} >= {"base", "base-8"}
    figure = made.figures["OmniSearchSage"]["pin/save"]
    assert len(figure.seeds) == 2 and figure.seeds[0] != figure.seeds[1]
    assert figure.mean == pytest.approx(np.mean(figure.seeds))
    assert made.ceilings.keys() == {"pin/save", "pin/ndcg"}
    assert made.ceilings["pin/ndcg"] == 1 > made.ceilings["pin/save"] > 0.2
    text = (folder / "two.md").read_text()
    assert "2 worlds" in text and "| ceiling |" in text and "over worlds" in text


def test_only_sample_worlds_come_in_several(base, tmp_path) -> None:
    with pytest.raises(InputError, match="several seeds"):
        Reproduce(tmp_path, base, worlds=2)


def test_a_clear_difference_is_confirmed_on_every_world() -> None:
    rng = np.random.default_rng(4)
    column = Column("pin", [(f"q{n}", "p") for n in range(500)])
    worlds = [
        Measured(
            {"c": column},
            {
                name: [{"learned:c": rng.random(500) < rate}]
                for name, rate in (("a", 0.6), ("b", 0.3))
            },
            {"c": np.full(500, 0.8)},
        )
        for _ in range(5)
    ]
    table = Table("t", ("c",), (Model("a"), Model("b")), (Finding("a is better", "a", "b"),))
    made = reproduction("t", table, worlds, [])
    assert made.verdicts[0].verdict == CONFIRMED and made.ceilings == {"c": pytest.approx(0.8)}
    assert made.columns["c"] == {"pairs": 2500, "queries": 2500}


def test_a_curve_has_every_budget_beside_the_ceiling(tables_folder) -> None:
    models = (Model("A", train=TINY), Model("B", train={"batch_pairs": 32}))
    finding = Finding("A is better", "A", "B")
    table = Table("By budget", ("pin/save",), models, (finding,), ("pin/save",), 300, "tiny")
    options = Reproduce(tables_folder, seeds=1)
    text, values = reproduce_curve("curve", table, options, [3, 2, 3])
    assert [made["about"]["steps"] for made in values] == [2, 3]
    rows = [line for line in text.splitlines() if line.startswith("| pin/save")]
    for row, model in zip(rows, ("A", "B"), strict=True):
        figures = [made["figures"][model]["pin/save"]["mean"] for made in values]
        ceiling = values[0]["ceilings"]["pin/save"]
        cells = " | ".join(f"{each:.3f}" for each in [*figures, ceiling])
        assert row == f"| pin/save | {model} | {cells} |"
    assert "| finding | on | 2 steps | 3 steps |" in text
    assert (tables_folder / "curve-curve.md").read_text() == text
