"""The metrics equal trec_eval's, and keep their definitions' properties."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnisearch.data.workspace.errors import InputError
from omnisearch.evaluation.metrics import evaluate_run, mean, measure, ndcg, order_by_score
from omnisearch.evaluation.trec import read_qrels, read_run

CUTS = (5, 10, 15, 20, 30, 100, 200, 500, 1000)
NAMES = [
    *("ndcg", "map", "Rprec", "recip_rank", "bpref"),
    *(f"{stem}_{k}" for stem in ("P", "recall", "ndcg_cut", "map_cut") for k in CUTS),
    *("success_1", "success_5", "success_10"),
]


def expected(path: Path) -> dict[tuple[str, str], float]:
    rows = (line.split() for line in path.read_text().splitlines())
    return {(name, query): float(value) for name, query, value in rows if name in NAMES}


@pytest.mark.parametrize("file", ["out.test", "out.test.a", "out.test.aq"])
def test_equal_to_trec_eval_to_four_decimals(shared_data: Path, file: str) -> None:
    folder = shared_data / "trec_eval"
    values = evaluate_run(
        read_run(folder / "results.test"), read_qrels(folder / "qrels.test"), NAMES
    )
    wanted = expected(folder / file)
    assert len(wanted) >= 13
    for (name, query), value in wanted.items():
        mine = mean(values[name]) if query == "all" else values[name][query]
        assert f"{mine:.4f}" == f"{value:.4f}", (name, query)


def plain_ndcg(ranking: list[str], gains: dict[str, float], k: int) -> float:
    """The textbook form with arrays, apart from the code under test."""
    got = np.array([gains.get(doc, 0.0) for doc in ranking[:k]]).clip(min=0)
    best = np.sort(np.array(list(gains.values())).clip(min=0))[::-1][:k]
    ideal = (best / np.log2(np.arange(len(best)) + 2)).sum()
    return float((got / np.log2(np.arange(len(got)) + 2)).sum() / ideal) if ideal else 0.0


def test_graded_judgments(shared_data: Path) -> None:
    folder = shared_data / "trec_eval"
    run, qrels = read_run(folder / "results.test"), read_qrels(folder / "qrels.rel_level")
    assert {grade for row in qrels.values() for grade in row.values()} == {-1, 0, 1, 2, 3, 4}
    values = evaluate_run(run, qrels, ["ndcg_cut_20", "recall_1000", "P_10"], level=2)
    for query, ranking in run.items():
        reference = plain_ndcg(ranking, qrels[query], 20)
        assert values["ndcg_cut_20"][query] == pytest.approx(reference)
        good = {doc for doc, grade in qrels[query].items() if grade >= 2}
        share = len(good & set(ranking)) / len(good) if good else 0
        assert values["recall_1000"][query] == pytest.approx(share)


def test_condensed_lists_hold_the_judged_alone(shared_data: Path) -> None:
    folder = shared_data / "trec_eval"
    run, qrels = read_run(folder / "results.test"), read_qrels(folder / "qrels.test")
    judged = {q: [doc for doc in found if doc in qrels[q]] for q, found in run.items()}
    assert sum(map(len, judged.values())) < 0.9 * sum(map(len, run.values()))
    values = evaluate_run(run, qrels, ["condensed_ndcg_cut_10", "unjudged_10"])
    for query, found in judged.items():
        reference = plain_ndcg(found, qrels[query], 10)
        assert values["condensed_ndcg_cut_10"][query] == pytest.approx(reference)
        assert reference >= plain_ndcg(run[query], qrels[query], 10) - 1e-12
        first = run[query][:10]
        assert values["unjudged_10"][query] == len(set(first) - set(qrels[query])) / len(first)
    # bpref ignores the unjudged: of the condensed lists it is what trec_eval says of the whole.
    bpref = evaluate_run(judged, qrels, ["bpref"])["bpref"]
    for (name, query), value in expected(folder / "out.test.aq").items():
        if name == "bpref" and query != "all":
            assert f"{bpref[query]:.4f}" == f"{value:.4f}"


def test_ties_go_to_the_greater_document_number() -> None:
    assert order_by_score({"a": 1.0, "c": 1.0, "b": 1.0, "z": 0.5}) == ["c", "b", "a", "z"]
    # Single precision, as trec_eval: these two scores are one.
    assert order_by_score({"a": 1.0 + 1e-9, "b": 1.0}) == ["b", "a"]


def test_fractional_gains() -> None:
    gains = {"e": 1.0, "s": 0.1, "c": 0.01, "i": 0.0}
    assert ndcg(["e", "s", "c", "i"], gains) == 1.0
    dcg = 0.1 + 1 / math.log2(3)
    best = 1 + 0.1 / math.log2(3) + 0.01 / 2
    assert ndcg(["s", "e"], gains, k=10) == pytest.approx(dcg / best)


def test_bpref_ignores_the_unjudged_and_counts_judged_ones_above() -> None:
    gains = {"a": 1, "b": 1, "x": 0, "y": 0, "pool": -1}
    # x stands above b: 1 - 1/2; nothing judged stands above a.
    assert measure("bpref")(["new", "pool", "a", "x", "b"], gains, 1.0) == pytest.approx(0.75)


def test_queries_without_judgments_are_left_out_and_empty_runs_are_nan() -> None:
    values = evaluate_run({"q": ["a"], "unjudged": ["a"]}, {"q": {"a": 1}, "no run": {}}, ["P_5"])
    assert values == {"P_5": {"q": 0.2}}
    assert math.isnan(mean({}))


@pytest.mark.parametrize("name", ["ndgc", "P_0", "P_", "P_x", "recall_-1", "ndcg_cut_99999999"])
def test_unknown_metrics_are_refused(name: str) -> None:
    with pytest.raises(InputError, match="no metric"):
        measure(name)


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("1 0 doc", "must have 4 fields, got 3"),
        ("1 0 doc high", "not a number"),
        ("1 0 doc inf", "not finite"),
        ("1 0 a 1\n1 0 a 2", "listed twice"),
    ],
)
def test_bad_qrels_name_the_line(tmp_path: Path, line: str, what: str) -> None:
    path = tmp_path / "qrels"
    path.write_text(f"0 0 fine 1\n\n{line}\n")
    with pytest.raises(InputError, match=what) as caught:
        read_qrels(path)
    assert caught.value.where.startswith(f"{path}:")


def test_a_missing_file_and_a_nan_score_are_input_errors(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        read_run(tmp_path / "none")
    (tmp_path / "run").write_text("1 Q0 a 1 nan me\n")
    with pytest.raises(InputError, match="NaN"):
        read_run(tmp_path / "run")


DOCS = st.lists(st.sampled_from("abcdefghij"), unique=True)
GRADES = st.dictionaries(st.sampled_from("abcdefghij"), st.sampled_from([-1.0, 0.0, 0.5, 1.0, 2.0]))
ALL = [*NAMES, "success_3", "ndcg_cut_3", "P_3", "recall_3"]


@given(DOCS, GRADES, st.sampled_from(ALL))
def test_every_metric_lies_between_0_and_1(ranking: list, gains: dict, name: str) -> None:
    assert 0 <= measure(name)(ranking, gains, 1.0) <= 1 + 1e-12


@given(DOCS, GRADES, st.integers(1, 12))
def test_ndcg_equals_the_textbook(ranking: list, gains: dict, k: int) -> None:
    assert ndcg(ranking, gains, k=k) == pytest.approx(plain_ndcg(ranking, gains, k))


@given(DOCS, GRADES, st.sampled_from([n for n in ALL if not n.startswith("bpref")]), st.data())
def test_moving_a_better_document_up_never_hurts(
    ranking: list, gains: dict, name: str, data: st.DataObject
) -> None:
    if len(ranking) < 2:
        return
    place = data.draw(st.integers(1, len(ranking) - 1))
    before, after = ranking[place - 1], ranking[place]
    if gains.get(after, 0) <= gains.get(before, 0):
        return
    swapped = [*ranking[: place - 1], after, before, *ranking[place + 1 :]]
    score = measure(name)
    assert score(swapped, gains, 1.0) >= score(ranking, gains, 1.0) - 1e-12


@given(GRADES)
def test_the_ideal_order_has_ndcg_1(gains: dict) -> None:
    ideal = sorted(gains, key=lambda doc: -gains[doc])
    assert ndcg(ideal, gains) == pytest.approx(1.0 if max(gains.values(), default=0) > 0 else 0.0)


@given(st.dictionaries(st.text(min_size=1), st.floats(allow_nan=False)))
def test_order_is_total_and_descending(scores: dict) -> None:
    ranking = order_by_score(scores)
    assert sorted(ranking) == sorted(scores)
    with np.errstate(over="ignore"):
        singles = [np.float32(scores[doc]) for doc in ranking]
    assert all(left >= right for left, right in pairwise(singles))
