"""Relevance of what an experiment's variants showed, by judges who know what is true."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from typer.testing import CliRunner

from omnisearch.cli.main import app
from omnisearch.data.catalogue.searches import reading_searches
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import Corrupt, InputError
from omnisearch.evaluation.experiments import store
from omnisearch.evaluation.experiments.definition import experiment_of
from omnisearch.evaluation.experiments.judged import Asked, chance, drawn_queries
from omnisearch.evaluation.experiments.ratio import Estimate
from omnisearch.evaluation.experiments.relevance import (
    Judged,
    RelevanceLine,
    compared,
    lines_of,
    relevance_of,
)
from omnisearch.evaluation.experiments.simulate import simulate
from omnisearch.evaluation.judging.answers import open_log
from omnisearch.evaluation.judging.folder import Judging
from omnisearch.evaluation.judging.queries import strata_of
from omnisearch.world.truth import Truth

TRUE_GRADES = {0: 1, 1: 3, 2: 4, 3: 5}  # of the world → of judges
# The encoder of these tests is barely trained: words find far more.
TWO: dict[str, Any] = {"control": {}, "meaning": {"system": "embedding"}}


@pytest.fixture
def shop(trained: Workspace, tmp_path: Path) -> Workspace:
    shutil.copytree(trained.root, tmp_path / "shop")
    return Workspace(tmp_path / "shop")


def run(shop: Workspace, *words: str) -> str:
    result = CliRunner().invoke(app, [*words, "--workspace", str(shop.root)])
    if result.exception:
        raise result.exception
    return result.output


def tried(shop: Workspace, name: str, variants: dict[str, Any], users: int = 400) -> None:
    store.create(shop, experiment_of({"name": name, "variants": variants}, "test"))
    simulate(shop, name, users, days=14, before=7, seed=1)


def judged_by_truth(shop: Workspace, name: str) -> Judging:
    """Three judges answer what is true, of whom one is mistaken now and then."""
    judging, truth = Judging.open(shop, name), Truth.read(shop.truth)
    pairs = list(judging.pairs.values())
    grades = truth.grades([(pair.query, pair.item_id) for pair in pairs])[0]
    true = {pair.id: TRUE_GRADES[grade] for pair, grade in zip(pairs, grades, strict=True)}
    odd = np.random.default_rng(0).random(len(true)) < 0.1
    for judge in ("anna", "ben", "odd"):
        mistaken = odd if judge == "odd" else np.zeros(len(true), bool)
        with open_log(judging, judge) as log:
            log.add(
                {
                    pair: 6 - grade if wrong else grade
                    for (pair, grade), wrong in zip(true.items(), mistaken, strict=True)
                }
            )
    return judging


def census(shop: Workspace, name: str) -> dict[str, float]:
    """Variant → the true share of relevant first results, over all searches of the log."""
    truth = Truth.read(shop.truth)
    found: dict[str, list[float]] = {}
    with reading_searches(shop.searches) as db:
        for query, variant, shown in db.execute(
            "SELECT query, variant, shown FROM searches WHERE experiment = ?", [name]
        ):
            items = [(query, key) for _, key in orjson.loads(shown)]
            good = truth.grades(items)[0] >= 2 if items else np.zeros(0)
            found.setdefault(variant, []).append(good.sum() / 8)
    return {variant: float(np.mean(each)) for variant, each in found.items()}


def line_of(found: list[RelevanceLine], measure: str = "relevant") -> RelevanceLine:
    return next(
        each for each in found if (each.measure, each.segment) == (measure, "weighted to traffic")
    )


def test_a_worse_variant_is_found_and_by_how_much(shop: Workspace) -> None:
    tried(shop, "worse", TWO)
    assert "`omnisearch judge experiment worse`" in " ".join(
        run(shop, "experiment", "report", "worse").split()
    )
    assert "pairs to judge" in run(shop, "judge", "experiment", "worse", "--number", "150")
    assert "0 of 150 drawn queries are judged" in run(shop, "experiment", "report", "worse")
    judged_by_truth(shop, "worse")
    kept = store.load(shop, "worse")
    found = relevance_of(shop, kept)
    assert found is not None and (found.queries, found.judged, found.lacking) == (150, 150, 0)
    true, line = census(shop, "worse"), line_of(found.lines)
    assert line.difference.high < 0
    assert line.difference.low < true["meaning"] - true["control"] < line.difference.high
    assert line.control.low < true["control"] < line.control.high
    assert line_of(found.lines, "grade").difference.high < 0
    shown = run(shop, "experiment", "report", "worse")
    assert "Relevance of the first 8 results" in shown and "nan" not in shown
    assert "150 of 150 drawn queries are judged; 0 pairs lack judgments." in shown
    told = json.loads(run(shop, "experiment", "report", "worse", "--json"))["data"]["relevance"]
    assert told["lines"][0]["difference"]["value"] == line.difference.value
    assert {each["segment"] for each in told["lines"]} == {
        *("weighted to traffic", "head", "torso", "tail")
    }


def test_judges_cannot_tell_which_variant_showed_what(shop: Workspace) -> None:
    tried(shop, "blind", {**TWO, "words": {"system": "token"}}, users=200)
    run(shop, "judge", "experiment", "blind", "--number", "30")
    judging = Judging.open(shop, "blind")
    assert judging.design.systems == ["control", "meaning", "words"]
    for name in ("pairs.jsonl", "queries.jsonl"):
        content = (judging.folder / name).read_text()
        assert "meaning" not in content and "control" not in content
    kept = {(shown.query, shown.system): shown.pairs for shown in judging.shown}
    logged: dict[tuple[str, str], set[tuple[str, ...]]] = {}
    with reading_searches(shop.searches) as db:
        for query, variant, shown in db.execute("SELECT query, variant, shown FROM searches"):
            ids = tuple(key for _, key in orjson.loads(shown or "[]"))
            logged.setdefault((query, variant), set()).add(ids)
    for key, pairs in kept.items():
        assert tuple(judging.pairs[pair].item_id for pair in pairs) in logged[key]
    judged_by_truth(shop, "blind")
    assert "control" not in run(shop, "judge", "report", "blind").split("\n", 1)[1]
    found = relevance_of(shop, store.load(shop, "blind"))
    assert found is not None
    assert {line.variant for line in found.lines} == {"meaning", "words"}


def test_what_is_not_judged_does_not_count(shop: Workspace) -> None:
    tried(shop, "partly", TWO, users=150)
    run(shop, "judge", "experiment", "partly", "--number", "60")
    judging = Judging.open(shop, "partly")
    first = next(iter(judging.pairs))
    for judge in ("anna", "ben", "cleo"):
        with open_log(judging, judge) as log:
            log.add({first: 5})
    found = relevance_of(shop, store.load(shop, "partly"))
    assert found is not None and found.judged == 0
    assert found.lacking == len(judging.pairs) - 1
    shown = run(shop, "experiment", "report", "partly")
    assert "`omnisearch judge ask partly --judge NAME`" in " ".join(shown.split())


def test_what_cannot_be_drawn(shop: Workspace) -> None:
    store.create(shop, experiment_of({"name": "new", "variants": TWO}, "test"))
    with pytest.raises(InputError, match="no search that shows what a variant of 'new' found"):
        run(shop, "judge", "experiment", "new")
    with pytest.raises(InputError, match="There is no experiment 'none'"):
        run(shop, "judge", "experiment", "none")
    turns = {"name": "turns", "variants": TWO, "mode": "interleave"}
    store.create(shop, experiment_of(turns, "test"))
    (shop.judging / "turns").mkdir(parents=True)  # another name would not help
    with pytest.raises(InputError, match="in one list"):
        run(shop, "judge", "experiment", "turns")
    tried(shop, "odd", TWO, users=50)
    with reading_searches(shop.searches) as db:
        db.execute("UPDATE searches SET shown = '[]'")
    with pytest.raises(InputError, match="nothing to judge: the variants found nothing for the"):
        run(shop, "judge", "experiment", "odd")
    assert not (shop.judging / "odd").exists()
    with reading_searches(shop.searches) as db:
        db.execute("UPDATE searches SET shown = '[[1, 2]]'")
    with pytest.raises(Corrupt, match="is no list of items"):
        run(shop, "judge", "experiment", "odd")


def test_an_experiment_that_was_drawn_is_told_how_to_go_on(shop: Workspace) -> None:
    tried(shop, "twice", TWO, users=50)
    run(shop, "judge", "experiment", "twice", "--number", "5")
    with pytest.raises(InputError, match=r"drawn for judging already. Judge it with .*ask twice"):
        run(shop, "judge", "experiment", "twice")
    shutil.rmtree(shop.judging / "twice")
    (shop.root / "queries.txt").write_text("boho bedroom\n")
    run(shop, "judge", "draw", "twice", "--queries", str(shop.root / "queries.txt"))
    with pytest.raises(InputError, match=r"is not of this experiment\. Rename that folder"):
        run(shop, "judge", "experiment", "twice")


def test_weighted_means_equal_a_plain_computation() -> None:
    rng = np.random.default_rng(5)
    segment = np.repeat(["head", "tail"], (20, 30))
    weight = rng.integers(1, 5, (50, 2)) * (rng.random((50, 2)) < 0.8)
    values = np.where(weight > 0, rng.random((50, 2)), np.nan)
    shares = {"head": 0.25, "tail": 0.75}

    def means(rows: np.ndarray) -> np.ndarray:
        both = np.zeros(2)
        for name, share in shares.items():
            for side in (0, 1):
                at = [row for row in rows if segment[row] == name and weight[row, side]]
                both[side] += share * np.average(values[at, side], weights=weight[at, side])
        return both

    found = compared(segment, weight.astype(float), values, shares)
    plain = means(np.arange(50))
    assert [each.value for each in found] == pytest.approx([*plain, plain[1] - plain[0]])
    again = []
    for _ in range(2000):
        rows = np.concatenate([rng.integers(0, 20, 20), rng.integers(20, 50, 30)])
        control, treatment = means(rows)
        again.append((control, treatment, treatment - control))
    errors = np.std(again, axis=0)
    assert [each.error for each in found] == pytest.approx(errors, rel=0.12)


def test_too_few_queries_of_a_segment_are_not_compared() -> None:
    segment = np.repeat(["head", "tail"], (3, 30))
    values = np.full((33, 2), 0.5)
    values[0] = 1.0
    weight = np.ones((33, 2))
    shares = {"head": 0.5, "tail": 0.5}
    assert compared(segment, weight, values, shares)[0].value == pytest.approx(0.5 + 0.5 / 6)
    values[1] = np.nan  # the head has three queries alone, of which one is not judged
    assert np.isnan(compared(segment, weight, values, shares)[2].value)


def test_a_variant_with_one_query_of_a_segment_is_not_compared_in_it() -> None:
    segment = np.repeat("tail", 20)
    weight = np.ones((20, 2))
    weight[1:, 1] = 0
    values = np.where(weight > 0, np.linspace(0.4, 0.6, 20)[:, None], np.nan)
    assert all(np.isnan(each.low) for each in compared(segment, weight, values, {"tail": 1.0}))


def test_intervals_hold_what_is_true_as_often_as_they_say(tiny_workspace: Workspace) -> None:
    """A plain loop over 300 experiments: two variants alike, and one that is worse."""
    truth, rng = Truth.read(tiny_workspace.truth), np.random.default_rng(0)
    queries, popular = len(truth.queries.text), truth.queries.text
    true = np.zeros((queries, 3))  # shares of relevant results: of two alike, and a worse variant
    for query in range(queries):
        grades, errors = truth.grades_of_all(query), rng.normal(0, 1, len(truth.items))
        pages = [np.argsort(spread * errors - grades)[:8] for spread in (1, 1, 1.5)]
        true[query] = [(grades[page] >= 2).mean() for page in pages]
    often = 1 / np.arange(1, queries + 1)
    often = rng.permutation(often / often.sum())
    for share in (0.5, 0.2):
        found = [simulated(popular, often, true[:, [0, 1]], share, seed) for seed in range(300)]
        assert 0.925 <= np.mean([each.low <= 0 <= each.high for each in found]) <= 0.975
    known = float(often @ (true[:, 2] - true[:, 0]))
    found = [simulated(popular, often, true[:, [0, 2]], 0.5, seed) for seed in range(100)]
    assert np.mean([each.low <= known <= each.high for each in found]) >= 0.95
    assert np.mean([each.high < 0 for each in found]) >= 0.95
    assert np.mean([each.value for each in found]) == pytest.approx(known, abs=0.01)


def simulated(
    texts: list[str], often: np.ndarray, values: np.ndarray, share: float, seed: int
) -> Estimate:
    """Users ask, each of one variant; 90 queries are drawn and judged."""
    rng = np.random.default_rng(seed)
    users = (rng.random(500) < share).astype(int)
    asked: dict[str, Asked] = {}
    number = {text: row for row, text in enumerate(texts)}
    for variant in users:
        theirs = Counter(rng.choice(len(texts), 1 + rng.poisson(2), p=often).tolist())
        for query, searches in theirs.items():
            about = asked.setdefault(texts[query], Asked())
            about.searches += searches
            about.users += 1
            about.variants.add(int(variant))
    by_searches = sorted(asked, key=lambda query: -asked[query].searches)
    strata = strata_of({query: asked[query].searches for query in by_searches})
    drawn = drawn_queries(asked, strata, 90, seed)
    weight = np.zeros((len(drawn), 2))
    for row, entry in enumerate(drawn):
        for variant in asked[entry.query].variants:
            part = (1 - share, share)[variant]
            weight[row, variant] = entry.weight / chance(asked[entry.query], part)
    rows = [number[entry.query] for entry in drawn]
    known = np.where(weight > 0, values[rows], np.nan)[:, :, None]
    judged = Judged(np.array([entry.stratum for entry in drawn]), weight, known.repeat(2, axis=2))
    traffic = Counter[str]()
    for query, about in asked.items():
        traffic[strata[query]] += about.searches
    return lines_of(judged, ["control", "other"], traffic)[0].difference
