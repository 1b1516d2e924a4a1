"""The share of new items among those shown: of impressions that name a search."""

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
from omnisearch.evaluation.experiments.new_items import created_of, new_among
from omnisearch.evaluation.experiments.report import Line, report

DAY = 86_400
MEASURE = "new items shown, 30 days"
TWO = Experiment("deeper", (Variant("control"), Variant("deeper")))
USERS = 240


def test_an_item_is_new_for_thirty_days_before_the_search() -> None:
    created = {("pin", f"{days}"): (100 - days) * DAY for days in (-1, 0, 30, 31)}
    items = [*created, ("product", "0"), ("pin", "undated")]
    assert new_among(items, created, 100 * DAY * 1000) == (2, 3)  # 0 and 30 days old, of 0, 30, 31
    assert new_among([], created, 0) == (0, 0)


@pytest.fixture
def shop(tmp_path: Path) -> Workspace:
    """Items created 5 and 50 days before the experiment began, and one without a date."""
    workspace = Workspace.create(tmp_path / "shop")
    store.create(workspace, TWO)
    began = store.start(workspace, "deeper").began or 0
    db = open_catalogue(workspace.catalogue, create=True)
    ages = {"new": began - 5 * DAY, "old": began - 50 * DAY, "undated": None}
    for table, prefix in (("pins", ""), ("products", "p-")):
        db[table].insert_all({"id": f"{prefix}{id}", "created_at": at} for id, at in ages.items())
    db.conn.commit()
    db.conn.close()
    return workspace


def logged(shop: Workspace, impressions: bool = True) -> None:
    """Each user searches twice. Of items with a date, the control shows one new one of three, and
    the variant two of four.

    The same page again shows nothing further, and an item that is gone or has no date is not known.
    """
    began = 1000 * (store.load(shop, "deeper").began or 0)
    page = [("pin", "new"), ("pin", "old"), ("product", "p-old"), ("pin", "undated")]
    pages = {
        "control": [*page, ("product", "gone")],
        "deeper": [("pin", "new"), ("product", "p-new"), ("pin", "old"), ("product", "p-old")],
    }
    rows, events = [], []
    for number in range(USERS):
        variant = ("control", "deeper")[number % 2]
        for search in range(3):
            name, query = f"{number}-{search}", f"query {search // 2}"
            at = began + 1000 * search
            part = ("deeper", variant, query, "en", 1, 5, 2.0, 1)
            rows.append(Logged(name, at, number.to_bytes(2, "big"), *part))
            seen = pages[variant] if number % 3 or search < 2 else [("pin", "old")]
            events += [
                {"request_id": name, "action": "impression", "entity": entity, "item_id": key}
                for entity, key in seen
            ]
        events.append({**events[-1], "action": "save"})
    kept = [event for event in events if impressions or event["action"] != "impression"]
    with closing(open_searches(shop.searches, create=True)) as log:
        add_searches(log, rows)
    with closing(open_feedback(shop.feedback, create=True)) as log:
        add_events(log, [(str(n), orjson.dumps(event)) for n, event in enumerate(kept)], 1)


def line_of(shop: Workspace) -> Line | None:
    [comparison] = report(shop, store.load(shop, "deeper")).comparisons
    return next((line for line in comparison.lines if line.measure == MEASURE), None)


def test_the_share_of_new_items_shown_is_a_measure_with_its_interval(shop: Workspace) -> None:
    logged(shop)
    line = line_of(shop)
    assert line is not None and line.share
    # Of three users' six searches, one showed a single old item: 1 of 3 or 2 of 4 items were new.
    assert line.effect.control.value == pytest.approx((5 * 1) / (5 * 3 + 1))
    assert line.effect.treatment.value == pytest.approx((5 * 2) / (5 * 4 + 1))
    assert 0 < line.effect.relative.low < line.effect.relative.value < line.effect.relative.high
    assert line.p_value < 1e-6
    command = ["experiment", "report", "deeper", "--workspace", str(shop.root)]
    printed = " ".join(CliRunner().invoke(app, command).output.split())
    assert "31.25%" in printed and "47.62%" in printed
    told = json.loads(CliRunner().invoke(app, [*command, "--json"]).stdout)["data"]
    assert MEASURE in [each["measure"] for each in told["comparisons"][0]["lines"]]


def test_what_was_not_reported_as_shown_is_not_guessed(shop: Workspace) -> None:
    logged(shop, impressions=False)
    assert line_of(shop) is None


def test_without_dates_nothing_is_new_or_old(shop: Workspace) -> None:
    logged(shop)
    db = open_catalogue(shop.catalogue)
    with db.conn:
        db.conn.execute("UPDATE pins SET created_at = NULL")
        db.conn.execute("UPDATE products SET created_at = NULL")
    db.conn.close()
    assert line_of(shop) is None
    assert created_of(shop, [("pin", "new"), ("query", "x")]) == {}


def test_a_variant_of_which_nothing_is_known_has_no_value(shop: Workspace) -> None:
    logged(shop)
    with closing(open_feedback(shop.feedback)) as log:
        of_control = (
            "json_extract(row, '$.request_id') IN (SELECT request_id FROM s.searches WHERE "
        )
        log.execute("ATTACH ? AS s", [str(shop.searches)])
        log.execute(
            f"DELETE FROM events WHERE json_extract(row, '$.action') = 'impression' AND "
            f"{of_control} variant = 'control')"
        )
    line = line_of(shop)
    assert line is not None and np.isnan(line.effect.control.value)
    command = ["experiment", "report", "deeper", "--workspace", str(shop.root)]
    assert "nan" not in CliRunner().invoke(app, command).output
