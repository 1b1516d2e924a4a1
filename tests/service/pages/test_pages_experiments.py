"""The page of experiments: what a report says is on it, whatever its names are."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import numpy as np
import orjson
import pytest
from browser import Tab
from server_process import Server
from test_pages_all import violations
from test_service_workers import wait_for

from omnisearch.data.catalogue.feedback import add_events, open_feedback
from omnisearch.data.catalogue.searches import Logged, add_searches, open_searches
from omnisearch.data.workspace import Workspace
from omnisearch.evaluation.experiments import store
from omnisearch.evaluation.experiments.assignment import user_hash, variant_of
from omnisearch.evaluation.experiments.definition import experiment_of

DAY_MS = 86_400_000
ABOUT = '<img src=x onerror="document.title=1"> \u202eabout'


def logged(workspace: Workspace, name: str, users: int) -> None:
    """Users of both variants over five days; the second fulfils more."""
    rng = np.random.default_rng(3)
    kept, key = store.load(workspace, name), store.key_of(workspace)
    assert key is not None and kept.began is not None
    rows, events = [], []
    for number in range(users):
        user = user_hash(f"user {number}", key)
        variant = variant_of(kept.experiment, 100, user)
        assert variant is not None
        told = ("", "FR" if number < 20 else ("DE", "US")[number % 2], "phone")
        for day in range(5):
            search, at = f"{number}-{day}", 1000 * kept.began + day * DAY_MS
            part = (user, name, variant.name, "lamp", "en", 1, 5, 2.0, 1, *told)
            rows.append(Logged(search, at, *part))
            if rng.random() < (0.5 if variant.name == "deeper" else 0.3):
                for action in ("save", "long_click", "click"):
                    event = {"request_id": search, "action": action}
                    event |= {"entity": "pin", "item_id": "p"}
                    events.append((f"{search} {action}", orjson.dumps(event)))
    with closing(open_searches(workspace.searches, create=True)) as log:
        add_searches(log, rows)
    with closing(open_feedback(workspace.feedback, create=True)) as log:
        add_events(log, events, 1)


@pytest.fixture(scope="module")
def tried(world: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    workspace = Workspace(tmp_path_factory.mktemp("tried") / "workspace")
    shutil.copytree(world.root, workspace.root)
    variants: dict[str, Any] = {"control": {}, "deeper": {"engine": {"l1_keep": 400}}}
    for name in ("later", "deeper"):
        values = {"name": name, "about": ABOUT, "variants": variants}
        store.create(workspace, experiment_of(values, "test"))
    store.start(workspace, "deeper")
    logged(workspace, "deeper", 600)
    with Server(workspace.root) as running:
        running.json("/v1/experiments/deeper")
        wait_for(lambda: not running.json("/v1/experiments/deeper")["making"], 60)
        yield running


@pytest.fixture
def seen(chromium: Any, tried: Server) -> Iterator[Callable[..., Tab]]:
    opened: list[Tab] = []

    def open_tab(**options: Any) -> Tab:
        opened.append(Tab(chromium, tried.url, **options))
        return opened[-1]

    yield open_tab
    for tab in opened:
        foreign, faults = tab.foreign(), tab.faults
        tab.close()
        assert foreign == [] and faults == []


def test_the_report_of_what_runs_is_shown(seen: Callable[..., Tab]) -> None:
    page = seen().open("/experiments", ".forest svg")
    text = page.inner_text("#report")
    assert "deeper beside control" in text and "this is no chance" in text
    assert '<img src=x onerror="document.title=1">' in text and "\u202e" not in text
    assert "country: DE" in text and "country: US" in text and "device" not in text
    assert "fewer than 100 users in a variant are not shown: 1 by country." in text
    plots = page.locator(".forest svg")
    assert plots.count() == 3
    told = plots.first.get_attribute("aria-label")
    assert told.startswith("deeper beside control: fulfilment +")
    assert "on day 5" in plots.nth(1).get_attribute("aria-label")
    first = page.locator(".forest").first
    assert first.locator(".range").count() == first.locator("circle").count() > 2
    assert first.locator(".range.sure").count() >= 1
    page.click("#all a >> text=later")
    page.wait_for_selector("#report .message")
    assert "It has not been started" in page.inner_text("#report")
    assert page.title() == "Experiments · OmniSearch"


def test_an_effect_outside_the_axis_and_one_without_numbers(seen: Callable[..., Tab]) -> None:
    """Intervals that reach far are cut at the axis; a measure without one is left out."""
    tab = seen()

    def answered(route: Any) -> None:
        answer = route.fetch().json()
        if answer.get("report"):
            lines = answer["report"]["comparisons"][0]["lines"]
            lines[1]["effect"]["relative"].update(low=-90, high=90)
            lines[2]["effect"]["relative"].update(value=None, low=None, high=None)
            lines[0]["measure"] = "<b>measure</b> with a name that is long"
        route.fulfill(json=answer)

    tab.page.route("**/v1/experiments/*", answered)
    page = tab.open("/experiments", ".forest svg")
    plot = page.locator(".forest").first
    assert "<b>measure</b> with" in plot.inner_text()
    width = float(plot.locator("svg").get_attribute("viewBox").split()[2])
    ends = plot.locator(".range").evaluate_all(
        "all => all.flatMap(e => [e.x1, e.x2].map(x => x.baseVal.value))"
    )
    assert all(0 < end < width for end in ends)
    assert plot.locator(".range").count() == 3  # of fulfilment, gctr, and save or click


def test_relevance_by_judges_or_how_to_get_it(seen: Callable[..., Tab]) -> None:
    tab = seen()
    page = tab.open("/experiments", ".forest svg")
    section = page.locator("section[aria-label=Relevance]")
    assert "omnisearch judge experiment deeper draws what" in section.inner_text()

    def answered(route: Any) -> None:
        answer = route.fetch().json()
        if answer.get("report"):
            known = {"value": 0.5, "error": 0.1, "low": 0.3, "high": 0.7}
            line = {"variant": "<b>deeper</b>", "measure": "relevant", "segment": "head"}
            line |= {"share": 0.331, "judged": [12, 11], "both": 9}
            line |= {"control": known, "treatment": known, "difference": {**known, "low": -0.023}}
            nothing = {"value": None, "error": None, "low": None, "high": None}
            grade = {**line, "measure": "grade", "share": 1.0}
            few = dict.fromkeys(("control", "treatment", "difference"), nothing)
            lines = [line, grade, {**line, "segment": "tail", **few}]
            judged = {"k": 8, "queries": 30, "judged": 12, "lacking": 5, "lines": lines}
            answer["report"]["relevance"] = judged
        route.fulfill(json=answer)

    tab.page.route("**/v1/experiments/*", answered)
    page = tab.open("/experiments", ".forest svg")
    section = page.locator("section[aria-label=Relevance]")
    text = section.inner_text()
    assert "12 of 30 drawn queries are judged; 5 pairs lack judgments: omnisearch judge ask" in text
    rows = [row.inner_text().split("\t") for row in section.locator("tbody tr").all()]
    assert rows[0] == [
        *("<b>deeper</b>, relevant: head (33% of the searches)", "12", "11", "9"),
        *("0.500", "0.500", "+0.500", "−0.023 to +0.700"),
    ]
    assert rows[1][0] == "<b>deeper</b>, grade: head" and "too few" in rows[2]
    assert violations(page) == ""


@pytest.mark.parametrize(("scheme", "width"), [("light", 1200), ("dark", 360)])
def test_no_accessibility_violations(seen: Callable[..., Tab], scheme: str, width: int) -> None:
    looks = {"color_scheme": scheme, "viewport": {"width": width, "height": 900}}
    page = seen(**looks).open("/experiments", ".forest svg")
    assert violations(page) == ""
    assert page.evaluate("document.documentElement.scrollWidth") <= width
