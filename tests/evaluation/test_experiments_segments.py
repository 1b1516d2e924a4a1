"""Segments of an experiment, and users who are no users."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import numpy as np
import orjson
import pytest
from typer.testing import CliRunner

from omnisearch.cli.main import app
from omnisearch.data.catalogue.feedback import add_events, open_feedback
from omnisearch.data.catalogue.schema import open_catalogue
from omnisearch.data.catalogue.searches import Logged, add_searches, open_searches
from omnisearch.data.workspace import Workspace
from omnisearch.evaluation.experiments import store
from omnisearch.evaluation.experiments.definition import Experiment, Variant
from omnisearch.evaluation.experiments.ratio import Moments, Ratio, difference
from omnisearch.evaluation.experiments.report import Report, report
from omnisearch.evaluation.experiments.searches import DAY_MS

TWO = Experiment("deeper", (Variant("control"), Variant("deeper")))
VARIANTS = ("control", "deeper")


def test_sums_of_users_one_by_one_are_the_delta_method() -> None:
    rng = np.random.default_rng(1)
    sides = []
    for rate in (0.3, 0.35):
        below = rng.geometric(0.3, 500)
        sides.append(Ratio(rng.binomial(below, rate), below))
    summed = [Moments(), Moments()]
    for side, moments in zip(sides, summed, strict=True):
        for above, below in zip(side.numerator, side.denominator, strict=True):
            moments.add(above, below)
    whole, streamed = difference(*sides), difference(*summed)
    assert streamed.absolute.error == pytest.approx(whole.absolute.error)
    assert streamed.relative.low == pytest.approx(whole.relative.low)
    assert streamed.p_value == pytest.approx(whole.p_value)
    assert np.isnan(Moments().error) and np.isnan(Moments().value)


def test_a_robot_makes_the_interval_wide_and_not_the_difference_sure() -> None:
    """One user with 10,000 searches in vain among 10,000 users: the delta method takes it for one
    draw. A test that takes searches for draws would be sure of a difference."""
    rng = np.random.default_rng(2)
    below = rng.geometric(0.2, 10_000).astype(float)
    above = rng.binomial(below.astype(int), 0.4).astype(float)
    sides = [Ratio(above[:5000], below[:5000]), Ratio(above[5000:], below[5000:])]
    plain = difference(*sides)
    with_robot = Ratio(np.append(above[5000:], 0), np.append(below[5000:], 10_000))
    robbed = difference(sides[0], with_robot)
    assert robbed.treatment.value < 0.3 < plain.treatment.value
    assert robbed.absolute.error > 5 * plain.absolute.error
    assert robbed.p_value > 0.05


@pytest.fixture
def shop(tmp_path: Path) -> Workspace:
    workspace = Workspace.create(tmp_path / "shop")
    open_catalogue(workspace.catalogue, create=True).conn.close()
    store.create(workspace, TWO)
    store.start(workspace, "deeper")
    return workspace


def logged(shop: Workspace, users: int, robot: int = 0) -> None:
    """German users fulfil 60% of searches instead of 30% with the second variant, others do not.

    Every other user searched before. One query makes half of the earlier searches, the second
    a quarter, others the rest."""
    rng = np.random.default_rng(4)
    began = 1000 * (store.load(shop, "deeper").began or 0)
    rows, done = [], []
    for number in range(users):
        user, variant = number.to_bytes(4, "big"), VARIANTS[number % 4 // 2]
        language = "de" if number % 3 == 0 else "en"
        for search in range(4):
            query = ("lamp", "rug", f"rare {number}")[
                min(int(rng.integers(4)), 3) // 2 + search // 3
            ]
            name, at = f"{number}-{search}", began + search * DAY_MS
            rows.append(Logged(name, at, user, "deeper", variant, query, language, 1, 5, 2.0, 1))
            better = language == "de" and variant == "deeper"
            if rng.random() < (0.6 if better else 0.3):
                done.append(name)
        if number % 2:
            query = "lamp" if number % 4 == 1 else ("rug", f"odd {number}")[number % 8 == 7]
            rows.append(
                Logged(f"{number}-b", began - DAY_MS, user, "", "", query, language, 1, 5, 2.0, 1)
            )
    for search in range(robot):
        name, at = f"robot-{search}", began + 1000 * search
        rows.append(Logged(name, at, b"robot", "deeper", "deeper", f"{search}", "en", 1, 5, 2.0, 1))
    events = [
        (
            name,
            orjson.dumps({"request_id": name, "action": "save", "entity": "pin", "item_id": "p"}),
        )
        for name in done
    ]
    with closing(open_searches(shop.searches, create=True)) as log:
        add_searches(log, rows)
    with closing(open_feedback(shop.feedback, create=True)) as log:
        add_events(log, events, 1)


def reported(shop: Workspace) -> Report:
    return report(shop, store.load(shop, "deeper"))


def test_a_variant_that_the_experiment_does_not_have_counts_for_none(shop: Workspace) -> None:
    """A flipped bit in a log changes a letter of its name."""
    logged(shop, 200)
    before = reported(shop)
    began = 1000 * (store.load(shop, "deeper").began or 0)
    rows = [
        Logged(f"x{n}", began + n, b"odd", "deeper", "deepes", "lamp", "de", 1, 5, 2.0, 1)
        for n in range(3)
    ]
    with closing(open_searches(shop.searches)) as searches:
        add_searches(searches, rows)
    found = reported(shop)
    assert found.mixed == before.mixed + 1
    assert (found.users, found.searches) == (before.users, before.searches)
    assert found.segments == before.segments


def test_segments_tell_where_a_variant_helps(shop: Workspace) -> None:
    logged(shop, 2000)
    found = reported(shop)
    segments = {(each.kind, each.value): each for each in found.segments}
    assert set(segments) == {
        *(("language", "de"), ("language", "en"), ("users", "new"), ("users", "returning")),
        *(("queries", "head"), ("queries", "torso"), ("queries", "tail")),
    }
    german, english = segments["language", "de"], segments["language", "en"]
    assert german.effect.relative.low > 0.6 and german.p_value < 1e-6
    assert english.effect.relative.low < 0 < english.effect.relative.high
    assert all(each.p_value >= each.effect.p_value for each in found.segments)
    assert sum(german.effect.users) + sum(english.effect.users) == 2000
    assert sum(segments["users", "new"].effect.users) == 1000


def test_segments_of_few_users_or_of_one_kind_alone_are_left_out(shop: Workspace) -> None:
    logged(shop, 500)
    with closing(open_searches(shop.searches)) as log:
        log.execute("UPDATE searches SET language = 'en' WHERE user > ?", [(90).to_bytes(4, "big")])
        log.execute("DELETE FROM searches WHERE experiment = ''")
    found = {(each.kind, each.value) for each in reported(shop).segments}
    assert found == {("language", "en")}  # 'de' has too few, and nobody came before


def test_segments_by_country_and_device_where_the_caller_names_them(shop: Workspace) -> None:
    logged(shop, 1200)
    places = "CASE WHEN language = 'de' THEN 'DE' WHEN user < x'000000c8' THEN 'FR' ELSE 'US' END"
    device = "CASE WHEN substr(hex(user), 8) < '8' THEN 'phone' ELSE '' END"
    with closing(open_searches(shop.searches)) as log:
        log.execute(f"UPDATE searches SET country = {places}, device = {device}")
        log.execute("UPDATE searches SET device = 'desktop' WHERE substr(hex(user), 8) > 'B'")
        log.execute(
            "UPDATE searches SET device = 'tablet' WHERE user < ?", [(9).to_bytes(4, "big")]
        )
    found = reported(shop)
    segments = {(each.kind, each.value): each for each in found.segments}
    assert {value for kind, value in segments if kind == "country"} == {"DE", "US"}
    german, others = segments["country", "DE"], segments["country", "US"]
    assert german.effect == segments["language", "de"].effect
    assert german.effect.relative.low > 0.5 and others.effect.relative.low < 0
    assert {value for kind, value in segments if kind == "device"} == {"phone", "desktop"}
    assert sum(segments["device", "phone"].effect.users) == 600 - 8  # and half of the users unsaid
    assert found.left_out == {"country": 1, "device": 1}
    line = ["experiment", "report", "deeper", "--workspace", str(shop.root)]
    said = " ".join(CliRunner().invoke(app, line).output.split())
    assert "country: DE" in said and "device: phone" in said and "country: FR" not in said
    assert "fewer than 100 users in a variant are not shown: 1 by country, 1 by device." in said
    told = json.loads(CliRunner().invoke(app, [*line, "--json"]).stdout)["data"]
    assert told["left_out"] == found.left_out


def test_a_robot_is_left_out_and_said(shop: Workspace) -> None:
    logged(shop, 400)
    plain = reported(shop)
    logged(shop, 0, robot=10_000)
    found = reported(shop)
    assert found.robots == 1 and plain.robots == 0
    assert found.searches == plain.searches
    assert found.comparisons[0].deciding == plain.comparisons[0].deciding
    [before], [after] = (
        [each for each in one.segments if each.value == "en"] for one in (plain, found)
    )
    assert before.effect == after.effect
    line = ["experiment", "report", "deeper", "--workspace", str(shop.root)]
    said = CliRunner().invoke(app, line).output
    assert "1 user made over 500 searches in a day" in said and "exploratory" in said
    told = json.loads(CliRunner().invoke(app, [*line, "--json"]).stdout)["data"]
    assert {each["kind"] for each in told["segments"]} >= {"language", "users"}
