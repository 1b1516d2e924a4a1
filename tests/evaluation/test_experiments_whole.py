"""An experiment from its file to its report, on logs as a service writes them."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from itertools import groupby
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
from omnisearch.data.workspace.errors import InputError
from omnisearch.evaluation.experiments import store
from omnisearch.evaluation.experiments.assignment import user_hash, variant_of
from omnisearch.evaluation.experiments.definition import Experiment, Variant, read_experiment
from omnisearch.evaluation.experiments.measures import (
    NO_PRICES,
    Measured,
    Prices,
    credits_of,
    measured,
    prices_of,
)
from omnisearch.evaluation.experiments.report import report
from omnisearch.evaluation.experiments.scratch import Events, Scratch
from omnisearch.evaluation.experiments.searches import DAY_MS, SAME_SEARCH_MS

TWO = Experiment("deeper", (Variant("control"), Variant("deeper")))
FILE = b"""
name = "deeper"
about = "Twice as many candidates."
actions = ["save", "checkout"]
users = 5000

[variants.control]
share = 3

[variants.deeper]
engine = { l1_keep = 400 }
"""


def test_a_file_of_an_experiment_is_read(tmp_path: Path) -> None:
    found = read_experiment(FILE, "deeper.toml")
    assert (found.name, found.users, found.actions) == ("deeper", 5000, ("save", "checkout"))
    assert [variant.name for variant in found.variants] == ["control", "deeper"]
    assert found.variants[1].engine == {"l1_keep": 400}
    assert found.buckets() == [750, 1000]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (b'name = "deeper"', b'name = "De eper"', "name must be"),
        (b'name = "deeper"', b"", "name must be"),
        (b"users = 5000", b"users = 9", "users must be"),
        (b"users = 5000", b'users = "x"', "users is text, and must be a whole number"),
        (b'"save"', b'"like"', "like"),
        (b"share = 3", b"share = -1", r"variants.control.share must be above 0"),
        (b"share = 3", b"share = 100000", r"variants.deeper.share is below"),
        (b"share = 3", b"shares = 3", "no field variants.control.shares"),
        (b"[variants.deeper]\n", b"", "2 to 10 variants"),
        (b"[variants.deeper]", b"[variants.'x y']", "variant's name"),
        (b"share = 3", b'system = "best"', "no system 'best'"),
        (b"share = 3", b'rules = "all"', "rules must be"),
        (b"users = 5000", b"users = ", "not valid TOML"),
        (b"users = 5000", b'mode = "both"', "mode must be"),
        (b"users = 5000", b'mode = "interleave"\n[variants.third]', "Two variants"),
        (b"users", b"\xff", "not valid TOML"),
    ],
)
def test_a_wrong_file_is_refused_with_the_field(old: bytes, new: bytes, said: str) -> None:
    with pytest.raises(InputError, match=said) as error:
        read_experiment(FILE.replace(old, new), "deeper.toml")
    assert "deeper.toml" in error.value.where


def test_users_are_shared_out_as_planned_and_keep_their_variant() -> None:
    experiment = read_experiment(FILE, "test")
    hashes = [user_hash(f"user {number}", b"k" * 32) for number in range(20_000)]
    half = [variant_of(experiment, 50, user) for user in hashes]
    all_ = [variant_of(experiment, 100, user) for user in hashes]
    assert 0.48 < np.mean([variant is not None for variant in half]) < 0.52
    assert 0.74 < np.mean([variant is experiment.control for variant in all_]) < 0.76
    for part, whole in zip(half, all_, strict=True):
        assert part is None or part is whole
    other = Experiment("other", experiment.variants)
    same = [variant_of(other, 100, user) is whole for user, whole in zip(hashes, all_, strict=True)]
    assert 0.58 < np.mean(same) < 0.67  # 0.75² + 0.25²: independent of the first


def row(request_id: str, user: int, variant: str, query: str, at: int, total: int = 5) -> Logged:
    name = "deeper" if variant else ""
    return Logged(request_id, at, bytes([user]), name, variant, query, "en", 1, total, 2.0, 1)


def scratch_of(events: Events) -> Scratch:
    scratch = Scratch()
    scratch.add_events((name, *event) for name, each in events.items() for event in each)
    return scratch


def measured_of(rows: list[Logged], events: Events, prices: Prices = NO_PRICES) -> Measured:
    by_user = (list(each) for _, each in groupby(rows, lambda row: row.user))
    return measured(TWO, by_user, scratch_of(events), 0, prices)


def test_searches_are_told_apart_and_events_belong_to_them() -> None:
    rows = [
        row("e1", 1, "", "vase", -500),
        row("a1", 1, "control", "lamp", 0),
        row("a2", 1, "control", "lamp", 1_000),  # page 2
        row("a3", 1, "control", "rug", 60_000, total=0),
        row("a4", 1, "control", "red rug", 70_000),  # reworded
        row("a5", 1, "control", "lamp", SAME_SEARCH_MS + 100_000),  # another search
        row("b1", 2, "deeper", "lamp", DAY_MS + 5),
        row("c1", 3, "control", "lamp", 5),
        row("c2", 3, "deeper", "lamp", 9),  # had both
    ]
    done = {"a2": "save", "b1": "click", "e1": "checkout", "gone": "save"}
    events = {name: {(action, "pin", "p1")} for name, action in done.items()}
    found = measured_of(rows, events)
    assert found.variant.tolist() == [0, 1]
    assert found.searches.tolist() == [4, 1]
    assert found.days.tolist() == [[0, 0, 1, 4], [1, 1, 0, 1]]
    sums = {name: each.tolist() for name, each in found.values.items()}
    assert sums == {
        **{"fulfilment": [1, 0], "gctr": [0, 0], "click": [0, 1], "save": [1, 0]},
        **{"no results": [1, 0], "reformulated": [1, 0]},
    }
    assert found.before.tolist() == [[1, 1], [0, 0]]
    assert (found.mixed, found.last_day) == (1, 1)
    done_until, searches = found.fulfilled(until=0)
    assert (done_until.tolist(), searches.tolist()) == ([1, 0], [4, 0])


def test_revenue_is_what_was_bought_at_known_prices() -> None:
    rows = [row("a1", 1, "control", "lamp", 0), row("a2", 1, "control", "lamp", 9)]
    rows += [row("b1", 2, "deeper", "lamp", 0)]
    bought = ("checkout", "product", "p1")
    events = {
        "a1": {bought, ("save", "product", "p2"), ("checkout", "pin", "p2")},
        "a2": {bought, ("checkout", "product", "unpriced")},  # the same search, once more
        "b1": {bought, ("checkout", "product", "p2")},
    }
    found = measured_of(rows, events, Prices("EUR", {"p1": 5.0, "p2": 7.5}))
    assert found.values["revenue, EUR"].tolist() == [5.0, 12.5]
    assert "revenue, EUR" not in measured_of(rows, events).values


def test_prices_are_of_one_currency(shop: Workspace) -> None:
    db = open_catalogue(shop.catalogue)
    priced = (("p1", 5, "EUR"), ("p2", 9, "USD"), ("p3", 7, "EUR"), ("p4", None, "EUR"))
    db["products"].insert_all({"id": id, "price": p, "currency": c} for id, p, c in priced)
    db.conn.commit()
    db.conn.close()
    events = {"a": {("checkout", "product", f"p{number}") for number in range(6)}}
    found = prices_of(shop, scratch_of(events))
    assert (found.currency, dict(found.of)) == ("EUR", {"p1": 5.0, "p3": 7.0})
    assert prices_of(shop, scratch_of({"a": {("save", "product", "p1")}})) == NO_PRICES


def test_credit_goes_to_who_brought_the_result() -> None:
    drafted = orjson.dumps([["pin", "p1", 0.0], ["pin", "p2", 1.0], ["pin", "p3", 0.5]]).decode()
    rows = [row(name, 1, "interleave", "lamp", 0)._replace(drafted=drafted) for name in "abcd"]
    events = {
        "a": {("save", "pin", "p1"), ("click", "pin", "p2"), ("long_click", "pin", "p1")},
        "b": {("save", "pin", "p2"), ("save", "pin", "p3"), ("save", "pin", "elsewhere")},
    }
    a, b = credits_of(rows, events, ("save", "long_click"))
    assert a.tolist() == [1, 0.5, 0, 0] and b.tolist() == [0, 1.5, 0, 0]


@pytest.fixture
def shop(tmp_path: Path) -> Workspace:
    workspace = Workspace.create(tmp_path / "shop")
    open_catalogue(workspace.catalogue, create=True).conn.close()
    return workspace


def test_an_experiment_is_created_started_and_stopped(shop: Workspace) -> None:
    store.create(shop, TWO)
    assert store.load(shop, "deeper").state == "recording" and store.running(shop) is None
    with pytest.raises(InputError, match="already"):
        store.create(shop, TWO)
    assert store.start(shop, "deeper", 10).traffic == 10
    store.create(shop, Experiment("other", TWO.variants))
    with pytest.raises(InputError, match="'deeper' is running"):
        store.start(shop, "other")
    assert store.start(shop, "deeper", 50).traffic == 50
    with pytest.raises(InputError, match="fewer"):
        store.start(shop, "deeper", 20)
    with pytest.raises(InputError, match="above 0"):
        store.start(shop, "deeper", 0)
    assert store.stop(shop, "deeper").state == "stopped" and store.running(shop) is None
    with pytest.raises(InputError, match="was stopped"):
        store.start(shop, "deeper")
    store.start(shop, "other")
    store.stop(shop, "deeper")  # is over, and the other one goes on
    assert store.running_name(shop) == "other"
    with pytest.raises(InputError, match="There are: deeper, other"):
        store.load(shop, "none")
    again = store.load(shop, "deeper").experiment
    assert again == TWO and (shop.experiments / "KEY").stat().st_mode & 0o077 == 0


def simulated(shop: Workspace, users: int, lost: float = 0.0) -> None:
    """Users of two variants, of whom the second fulfils 40% of searches and the first 25%."""
    rng = np.random.default_rng(3)
    kept = store.load(shop, "deeper")
    key, began = store.key_of(shop), kept.began
    assert key is not None and began is not None
    rows, events = [], []
    for number in range(users):
        user = user_hash(f"user {number}", key)
        variant = variant_of(kept.experiment, 100, user)
        assert variant is not None
        if variant.name == "deeper" and rng.random() < lost:
            continue
        rate = 0.4 if variant.name == "deeper" else 0.25
        for search in range(1 + rng.poisson(2)):
            name, at = f"{number}-{search}", began * 1000 + search * DAY_MS
            part = ("deeper", variant.name, f"query {search}", "en", 1, 5, 2.0, 1)
            rows.append(Logged(name, at, user, *part))
            if rng.random() < rate:
                item = {"entity": "pin", "item_id": "p1"}
                event = {"request_id": name, "action": "save", **item}
                events.append((name, orjson.dumps(event)))
    with closing(open_searches(shop.searches, create=True)) as log:
        assert add_searches(log, rows) == len(rows)
        assert add_searches(log, rows) == 0
    with closing(open_feedback(shop.feedback, create=True)) as log:
        add_events(log, events, 1)


def test_the_report_finds_what_is_there(shop: Workspace) -> None:
    store.create(shop, TWO)
    with pytest.raises(InputError, match="has not been started"):
        report(shop, store.load(shop, "deeper"))
    store.start(shop, "deeper")
    with pytest.raises(InputError, match="No searches are logged"):
        report(shop, store.load(shop, "deeper"))
    simulated(shop, 3_000)
    found = report(shop, store.load(shop, "deeper"))
    assert sum(found.users.values()) == 3_000 and found.split_as_planned
    [comparison] = found.comparisons
    lift = comparison.deciding.relative
    assert 0 < lift.low < 0.6 < lift.high and comparison.deciding.p_value < 0.001
    assert {line.measure for line in comparison.lines} >= {"fulfilment", "save", "no results"}
    assert [day.day for day in comparison.course] == list(range(found.days))
    assert comparison.course[-1].low > comparison.course[0].low


def test_lost_users_raise_a_hand(shop: Workspace) -> None:
    store.create(shop, TWO)
    store.start(shop, "deeper")
    simulated(shop, 6_000, lost=0.15)
    found = report(shop, store.load(shop, "deeper"))
    assert not found.split_as_planned


def test_the_commands(shop: Workspace, tmp_path: Path) -> None:
    def run(*words: object, code: int = 0) -> str:
        line = ["experiment", *map(str, words), "--workspace", str(shop.root)]
        result = CliRunner().invoke(app, line)
        if code:
            assert isinstance(result.exception, InputError), result.output
            return str(result.exception)
        assert result.exit_code == 0, result.output
        return result.output

    assert "no experiments" in run("list")
    file = tmp_path / "deeper.toml"
    file.write_bytes(FILE.replace(b"400", b"-400"))
    assert "variants.deeper.engine" in run("create", file, code=2)
    file.write_bytes(FILE.replace(b"engine = { l1_keep = 400 }", b"generation = 7"))
    assert "There is no generation 7" in run("create", file, code=2)
    file.write_bytes(FILE)
    assert "Next: `omnisearch experiment start deeper`" in run("create", file)
    assert "10% of the users take part in deeper" in run("start", "deeper", "--traffic", 10)
    simulated(shop, 40)
    assert "needs 100 users" in run("report", "deeper")
    assert "running" in run("list")
    assert json.loads(run("list", "--json"))["data"]["experiments"][0]["state"] == "running"
    assert "everybody gets what is live" in run("stop", "deeper")
    told = json.loads(run("report", "deeper", "--json"))["data"]
    assert told["comparisons"] == [] and told["state"] == "stopped"


def test_a_damaged_log_is_named(shop: Workspace) -> None:
    store.create(shop, TWO)
    store.start(shop, "deeper")
    shop.searches.write_bytes(b"no database" * 1000)
    with pytest.raises(Exception, match="log of searches cannot be read"):
        report(shop, store.load(shop, "deeper"))
    shop.searches.unlink()
    with closing(sqlite3.connect(shop.searches)) as db:
        db.execute("PRAGMA user_version=9")
    with pytest.raises(Exception, match="version 9"):
        report(shop, store.load(shop, "deeper"))
