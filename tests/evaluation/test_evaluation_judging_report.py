"""The report of a judging, against figures worked out by hand, and its way into the catalogue."""

from __future__ import annotations

from math import isnan
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from judgings import answer, make_judging

from omnisearch.data.catalogue.schema import open_catalogue
from omnisearch.data.workspace.errors import InputError
from omnisearch.evaluation.judged import judged_gains
from omnisearch.evaluation.judging.answers import open_log
from omnisearch.evaluation.judging.apply import apply
from omnisearch.evaluation.judging.draw import pair_id
from omnisearch.evaluation.judging.findings import ALL, WEIGHTED, report
from omnisearch.evaluation.judging.folder import Judging
from omnisearch.evaluation.judging.markdown import markdown
from omnisearch.evaluation.judging.queries import DrawnQuery
from omnisearch.evaluation.judging.verdicts import Verdict
from omnisearch.evaluation.significance import compare_paired, randomisation_test

JUDGES = ("anna", "ben", "cleo")


def judge_all(judging: Judging, grades: dict[str, str]) -> None:
    """Title → the grades of the three judges, such as '54?'; a blank for no answer yet."""
    for place, judge in enumerate(JUDGES):
        given = {
            (pair.query, pair.item_id): None if mark == "?" else int(mark)
            for pair in judging.pairs.values()
            if (mark := grades[pair.item_id][place]) != " "
        }
        answer(judging, judge, given)


@pytest.fixture
def judging(tmp_path: Path) -> Judging:
    """'sofa': token shows a, b and full b, c. 'lamp': token shows d alone, full d, e."""
    queries = [DrawnQuery("sofa", "head", 30, 30.0), DrawnQuery("lamp", "tail", 1, 10.0)]
    return make_judging(tmp_path, {"sofa": ("ab", "bc"), "lamp": ("d", "de")}, queries=queries)


def test_figures_equal_those_worked_out_by_hand(judging: Judging) -> None:
    judge_all(judging, {"a": "331", "b": "455", "c": "434", "d": "5?3", "e": "211"})
    found = report(judging)
    assert (found.pairs, found.judgments, found.lacking, found.measured) == (5, 14, 1, 2)
    rows = {row.group: row for row in found.metrics["relevant"]}
    assert list(rows) == ["head", "tail", ALL, WEIGHTED]
    means = {g: [row.systems[s].mean for s in ("token", "full")] for g, row in rows.items()}
    # sofa: of a, b and of b, c. lamp: d has a tie, which is no majority, and a place is empty.
    assert means["head"] == [0.5, 1.0] and means["tail"] == [0.0, 0.0]
    assert means[ALL] == [0.25, 0.5]
    assert means[WEIGHTED] == pytest.approx([0.375, 0.75])
    assert rows[WEIGHTED].difference.mean == pytest.approx(0.375)
    assert rows[ALL].gain == pytest.approx(1.0) and isnan(rows["tail"].gain)
    assert (rows[ALL].difference.wins, rows[ALL].difference.ties) == (1, 1)
    grade = {row.group: row for row in found.metrics["grade"]}
    assert [e.mean for e in grade["head"].systems.values()] == [4.0, 4.5]  # medians 3, 5 and 5, 4
    assert [e.mean for e in grade["tail"].systems.values()] == [2.5, 2.5]  # 4, empty; 4, 1


def test_intervals_and_tests_are_those_of_the_evaluation(tmp_path: Path) -> None:
    """Twenty queries of one result each, so that a query's value is 0 or 1."""
    random = np.random.default_rng(0)
    names = [f"q{n}" for n in range(20)]
    judging = make_judging(tmp_path, _singles(names), k=1)
    good = {q: random.random(2) < (0.3, 0.7) for q in names}
    for judge in JUDGES:
        given = {(q, f"{q}{s}"): 5 if good[q][n] else 1 for q in names for n, s in enumerate("tf")}
        answer(judging, judge, given)
    found = report(judging)
    (row,) = [row for row in found.metrics["relevant"] if row.group == ALL]
    a, b = np.array([good[q] for q in names], float).T
    assert row.difference.p_value == randomisation_test(a, b)
    assert row.difference == compare_paired(a, b)
    low, high = row.systems["full"].low, row.systems["full"].high
    assert low <= b.mean() <= high and low < high
    assert [r.group for r in found.metrics["relevant"]] == ["head", ALL]  # all weigh alike


def _singles(names: list[str]) -> dict[str, tuple[list[str], list[str]]]:
    return {query: ([f"{query}t"], [f"{query}f"]) for query in names}


def test_a_query_counts_once_all_its_pairs_have_three_answers(judging: Judging) -> None:
    judge_all(judging, {"a": "55 ", "b": "555", "c": "555", "d": "555", "e": "555"})
    found = report(judging)
    assert (found.measured, found.lacking) == (1, 1)
    assert [row.group for row in found.metrics["relevant"]] == ["tail", ALL]
    assert "Only 1 of 2 queries" in markdown(found)
    assert found.grades.kappa_pairs == 4 and found.grades.pairs == 5


def test_a_pair_that_nobody_can_tell_counts_for_no_system(judging: Judging) -> None:
    judge_all(judging, {"a": "111", "b": "???", "c": "555", "d": "???", "e": "444"})
    found = report(judging)
    assert (found.undecided, found.lacking, found.measured) == (2, 2, 2)
    rows = {row.group: row for row in found.metrics["relevant"]}
    assert [e.mean for e in rows["head"].systems.values()] == [0.0, 1.0]
    assert [e.mean for e in rows["tail"].systems.values()] == [0.0, 1.0]  # an empty place, and e
    assert "2 pairs nobody could judge" in markdown(found)


def test_agreement_and_judges(judging: Judging) -> None:
    judge_all(judging, {"a": "554", "b": "111", "c": "12?", "d": "5  ", "e": "333"})
    found = report(judging)
    assert (found.grades.pairs, found.grades.kappa_pairs) == (4, 3)
    assert found.grades.raw == pytest.approx((1 / 3 + 1 + 0 + 1) / 4)
    assert found.relevant.raw == 1.0 and found.relevant.kappa == 1.0
    assert set(found.grades.alpha) == {"nominal", "ordinal", "interval"}
    anna, _, cleo = found.judges
    assert (anna.judge, anna.judgments, cleo.judgments, cleo.cannot_tell) == ("anna", 5, 3, 1)
    assert anna.agrees == pytest.approx(5 / 7)  # a: 1 of 2, b: 2 of 2, c: 0 of 1, e: 2 of 2
    assert anna.mean_grade == pytest.approx(3.0) and anna.relevant == pytest.approx(0.4)


def test_a_judging_that_nobody_began_has_a_report(judging: Judging) -> None:
    found = report(judging)
    assert (found.judgments, found.lacking, found.measured) == (0, 5, 0)
    text = markdown(found)
    assert "5 pairs still lack judgments" in text and "Nobody has judged yet" in text
    assert "nan" not in text
    orjson.dumps(found.to_json())


def test_more_than_three_judgments_all_count(judging: Judging) -> None:
    judge_all(judging, dict.fromkeys("abcde", "441"))
    answer(judging, "dora", {("sofa", "a"): 1, ("sofa", "b"): 4})
    found = report(judging)
    assert found.more == 2 and found.grades.kappa_pairs == 3
    rows = {row.group: row for row in found.metrics["relevant"]}
    assert [e.mean for e in rows["head"].systems.values()] == [0.5, 1.0]  # a: 4, 4, 1, 1


@pytest.mark.parametrize(
    ("grades", "relevant", "median"),
    [
        ((4, 4, 1), True, 4),
        ((5, 3, 3), False, 3),
        ((4, 3), False, 3.5),
        ((5,), True, 5),
        ((1, 5, 5, 3), False, 4),
    ],
)
def test_verdicts(grades: tuple[int, ...], relevant: bool, median: float) -> None:
    verdict = Verdict(tuple(grades.count(value) for value in range(1, 6)), cannot_tell=0)
    assert verdict.relevant == relevant and verdict.grade == median


def test_the_text_lines_up_and_tells_the_figures(judging: Judging) -> None:
    judge_all(judging, {"a": "331", "b": "455", "c": "434", "d": "5?3", "e": "211"})
    found = report(judging)
    text = markdown(found)
    for block in text.split("\n\n"):
        if block.startswith("|"):
            assert len({len(line) for line in block.splitlines()}) == 1
    assert f"{found.grades.kappa:.3f}" in text and "+0.250" in text and "+100%" in text


@pytest.fixture
def stocked(db: Any, judging: Judging) -> Any:
    """A catalogue with the pins a to d, in which others have judged with grades up to 3."""
    for item in "abcd":
        db["pins"].insert({"id": item, "title": item})
    row = {"query": "sofa", "entity": "pin", "item_id": "a", "judge": "anna", "time": 0}
    db["judgments"].insert(row | {"grade": 3.0})
    db.conn.commit()
    return db


def rows_of(db: Any) -> list[tuple]:
    return db.conn.execute("SELECT * FROM judgments ORDER BY 1, 2, 3, 4").fetchall()


def test_finished_judgments_go_into_the_catalogue_once(stocked: Any, judging: Judging) -> None:
    judge_all(judging, {"a": "111", "b": "45?", "c": "44 ", "d": "555", "e": "555"})
    done = apply(judging, stocked)
    assert (done.pairs, done.added, done.changed, done.removed, done.gone) == (3, 8, 0, 0, 1)
    found = rows_of(stocked)
    assert len(found) == 9 and ("sofa", "pin", "a", "anna", 3.0, 0) in found
    assert ("sofa", "pin", "b", "judging:spring:ben", 3.0, 5) in found
    gains = judged_gains(stocked)
    assert gains["sofa"]["pin", "b"] == pytest.approx((0.7 + 1.0) / 2)
    assert gains["lamp"]["pin", "d"] == 1.0 and ("pin", "c") not in gains["sofa"]
    again = apply(judging, stocked)
    assert (again.added, again.changed, again.removed) == (0, 0, 0)
    assert rows_of(stocked) == found
    names = {row[0] for row in stocked.conn.execute("SELECT id FROM queries")}
    assert {"sofa", "lamp"} <= names


def test_what_judges_change_is_changed_and_what_they_take_back_removed(
    stocked: Any, judging: Judging
) -> None:
    judge_all(judging, dict.fromkeys("abcde", "555"))
    apply(judging, stocked)
    answer(judging, "anna", {("sofa", "a"): 1})
    with open_log(judging, "ben") as log:
        log.undo(pair_id("sofa", ("pin", "b")))
    done = apply(judging, stocked)
    # b has two answers now: it is no longer finished, and none of its judgments is kept.
    assert (done.pairs, done.added, done.changed, done.removed) == (3, 0, 1, 3)
    assert ("sofa", "pin", "a", "judging:spring:anna", 0.0, 5) in rows_of(stocked)


def test_a_catalogue_that_is_being_written_is_left_alone(stocked: Any, judging: Judging) -> None:
    judge_all(judging, dict.fromkeys("abcde", "555"))
    before = rows_of(stocked)
    (path,) = (row[2] for row in stocked.conn.execute("PRAGMA database_list"))
    other = open_catalogue(Path(path))
    other.conn.execute("BEGIN IMMEDIATE")
    stocked.conn.execute("PRAGMA busy_timeout = 10")
    with pytest.raises(InputError, match="Another process"):
        apply(judging, stocked)
    other.conn.rollback()
    assert rows_of(stocked) == before


def test_without_other_judgments_grades_are_gains(stocked: Any, judging: Judging) -> None:
    stocked.conn.execute("DELETE FROM judgments")
    stocked.conn.commit()
    judge_all(judging, dict.fromkeys("abcde", "432"))  # what nobody gave is no new top grade
    apply(judging, stocked)
    assert {row[4] for row in rows_of(stocked)} == {0.7, 0.3, 0.1}
    assert apply(judging, stocked).changed == 0
