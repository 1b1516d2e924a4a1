"""Off-policy replay: on logs whose truth is known, and through the engine."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from omnisearch.cli.main import app
from omnisearch.data.catalogue.schema import open_catalogue
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import NotReady
from omnisearch.evaluation.experiments import store
from omnisearch.evaluation.experiments.counterfactual import (
    METHODS,
    NEVER,
    NOTHING,
    counts_of,
    estimates,
    interval,
    jackknifed,
    looked_at_in,
    trust,
)
from omnisearch.evaluation.experiments.definition import experiment_of
from omnisearch.evaluation.experiments.replay import replay
from omnisearch.evaluation.experiments.shown import GROUPS, PLACES, Shown, shown_in, shown_of

LOOKED = np.array([1.0, 0.5, 0.3, 0.2])
LIKED = np.array([[0.6, 0.5, 0.4, 0.3, 0.2, 0.1], [0.1, 0.2, 0.8, 0.1, 0.3, 0.3]])  # (q, items)


def drawn(searches: int, shuffled: float, seed: int = 1) -> Shown:
    """Two queries' items 0 to 4, of which four are shown: in order, or by chance. The users look
    by LOOKED and like by LIKED. Item 5 is never shown."""
    rng = np.random.default_rng(seed)
    query = rng.integers(2, size=searches)
    page = np.broadcast_to(np.arange(5), (searches, 5)).copy()
    mixed = rng.random(searches) < shuffled
    page[mixed] = rng.permuted(page[mixed], axis=1)
    page = page[:, :4]
    chosen = rng.random(page.shape) < LOOKED * LIKED[query[:, None], page]
    return Shown(
        queries=["lamp", "rug"],
        pairs={(of, "pin", f"p{key}"): 5 * of + key for of in range(2) for key in range(5)},
        query=query,
        group=np.arange(searches) % GROUPS,
        search=np.repeat(np.arange(searches), 4),
        pair=(5 * query[:, None] + page).ravel(),
        place=np.tile(np.arange(4), searches),
        chosen=chosen.ravel(),
    )


BEST = np.array([[0, 1, 2, 3], [7, 9, 6, 5]])  # pairs, by how much they are liked


def truth(target: np.ndarray) -> float:
    liked = LIKED[np.arange(2)[:, None], target % 5]
    return float((LOOKED * liked).sum(axis=1).mean())


def test_estimates_are_what_a_plain_loop_finds() -> None:
    shown = drawn(400, 1.0)
    looked = np.append([1, 0.6, 0.5, 0.4], np.full(PLACES - 4, 0.1))
    target = np.array([[4, 0, NEVER, 1], [7, 9, NOTHING, NOTHING]])
    found = dict(
        zip(
            METHODS,
            estimates(counts_of(shown), looked, target, np.ones(2, bool)),
            strict=False,
        )
    )
    same = any_place = asked = kept = 0.0
    for query, page in enumerate(target):
        n = int((shown.query == query).sum())
        for place, pair in enumerate(page):
            rows = shown.pair == pair
            asked += n * looked[place] * (pair != NOTHING)
            if pair < 0:
                continue
            here = rows & (shown.place == place)
            same += (shown.chosen & here).sum() * min(10, n / here.sum())
            views = looked[shown.place[rows]].sum()
            part = min(1.0, 10 / (n * looked[place] / views))
            kept += part * n * looked[place]
            any_place += part * n * looked[place] * shown.chosen[rows].sum() / views
    assert found["same place"] == pytest.approx(same / 400)
    assert found["any place"] == pytest.approx(any_place / 400)
    assert found["self-normalised"] == pytest.approx(any_place / 400 * asked / kept)
    robust, model = found["doubly robust"], found["model"]
    assert found["any place"] < min(robust, model)  # what was never shown brings something


def test_intervals_hold_the_truth_of_another_order() -> None:
    held = np.zeros(len(METHODS))
    for seed in range(40):
        whole, parts = jackknifed(drawn(4_000, 1.0, seed), [BEST], np.ones(2, bool))
        for at in range(len(METHODS)):
            around = interval(whole[0, at], parts[:, 0, at])
            held[at] += around.low <= truth(BEST) <= around.high
    assert (held >= 34).all()  # of 38 expected


def test_the_log_says_what_it_cannot_answer() -> None:
    shown = drawn(4_000, 0.02)
    counts = counts_of(shown)
    looked = looked_at_in(counts)
    everything = np.ones(2, bool)
    known = trust(shown, counts, looked, np.array([[0, 1, 2, 3], [5, 6, 7, 8]]), everything)
    assert known.never == 0 and known.clipped < 1e-9 and known.effective > 3_800
    rare = trust(shown, counts, looked, np.array([[4, 1, 2, 3], [5, 6, 7, 8]]), everything)
    assert rare.clipped > 0.1 and rare.heaviest > 50 and rare.effective < known.effective
    new = trust(shown, counts, looked, np.array([[NEVER, 1, 2, 3], [5, 6, 7, 8]]), everything)
    assert new.never == pytest.approx(0.25, abs=0.03)  # 1 of 2 + 2 * (0.5 + 0.3 + 0.2) looks
    assert new.low < known.low < new.high


def test_a_page_may_be_longer_than_those_of_the_log() -> None:
    """What the log says of the first four places holds; further ones were never looked at."""
    shown, both = drawn(4_000, 1.0), np.ones(2, bool)
    longer = np.hstack([BEST, np.full((2, 4), NEVER)])
    short, whole = (
        trust(shown, counts_of(shown), looked_at_in(counts_of(shown)), target, both)
        for target in (BEST, longer)
    )
    assert short.never == 0 and whole.never > 0.2
    assert whole.low == pytest.approx(short.low) and whole.high > short.high
    assert np.isfinite(jackknifed(shown, [longer], both)[1]).all()


def test_rows_of_a_session_are_one_search(shop: Workspace) -> None:
    db = open_catalogue(shop.catalogue)
    rows = [
        ("a", "p1", "impression", 1),
        ("a", "p1", "impression", 4),  # again on the page
        ("a", "p2", "impression", 30),
        ("a", "p2", "save", None),
        ("a", "p3", "save", 3),  # never shown
        ("b", "p1", "impression", 2),
        ("b", "p1", "click", 2),
        (None, "p1", "impression", 1),
    ]
    db.conn.execute("DELETE FROM engagements")
    for number, (session, key, action, position) in enumerate(rows):
        db.conn.execute(
            "INSERT INTO engagements VALUES (?, 5, 'lamp', 'pin', ?, ?, 1, NULL, NULL, NULL, ?, ?)",
            (number, key, action, session, position),
        )
    found = shown_of(shown_in(db, (0, 9), ["save"]))
    db.conn.commit()
    db.conn.close()
    assert found.queries == ["lamp"] and found.query.tolist() == [0, 0]
    assert list(found.pairs) == [(0, "pin", "p1"), (0, "pin", "p2")]
    assert found.search.tolist() == [0, 0, 1] and found.pair.tolist() == [0, 1, 0]
    assert found.place.tolist() == [0, 19, 1] and found.chosen.tolist() == [False, True, False]


@pytest.fixture
def shop(trained: Workspace, tmp_path: Path) -> Workspace:
    shutil.copytree(trained.root, tmp_path / "shop")
    return Workspace(tmp_path / "shop")


def test_a_replay_of_the_world(shop: Workspace) -> None:
    """The world's own search showed other items: the log must not claim to answer."""
    variants = {"control": {}, "words": {"system": "token"}}
    store.create(shop, experiment_of({"name": "words", "variants": variants}, "test"))
    line = ["experiment", "replay", "words", "--queries", "30", "--workspace", str(shop.root)]
    result = CliRunner().invoke(app, [*line, "--json"])
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)["data"]
    assert not told["learned"] and told["queries"] == 30 and told["days"] == 7
    control, words = told["variants"]
    assert control["apart"] == {} and set(words["apart"]) == {*METHODS, "fulfilment"}
    assert control["trust"]["searches"] == words["trust"]["searches"] == told["searches"]
    assert control["why_not"] and words["why_not"]
    trusted = control["trust"]
    assert trusted["low"] <= control["values"]["doubly robust"]["value"] <= trusted["high"]
    said = CliRunner().invoke(app, [*line, "--days", "400"]).output
    assert "may have learned" in said and "the log cannot say" in said


def test_a_log_without_places_is_refused(shop: Workspace) -> None:
    db = open_catalogue(shop.catalogue)
    db.conn.execute("UPDATE engagements SET position = NULL")
    db.conn.commit()
    db.conn.close()
    with pytest.raises(NotReady, match="what users were shown"):
        replay(shop, experiment_of({"name": "two", "variants": {"a": {}, "b": {}}}, "test"))
