"""The report reads the log user by user: the same figures as of the whole log at once, exactly."""

from __future__ import annotations

import tracemalloc
from collections import Counter, defaultdict
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import orjson
import pytest

from omnisearch.data.catalogue.feedback import add_events, open_feedback
from omnisearch.data.catalogue.schema import open_catalogue
from omnisearch.data.catalogue.searches import Logged, add_searches, open_searches
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import Unavailable
from omnisearch.evaluation.experiments import store
from omnisearch.evaluation.experiments.definition import INTERLEAVE, Experiment, Variant
from omnisearch.evaluation.experiments.interleaving import preference
from omnisearch.evaluation.experiments.measures import measure
from omnisearch.evaluation.experiments.percentiles import ArrayTimes
from omnisearch.evaluation.experiments.report import report, reported
from omnisearch.evaluation.experiments.scratch import Scratch, opened, unlogged

DAY = 86_400_000
VARIANTS = ("control", "deeper", "wider")
THREE = Experiment("deeper", tuple(map(Variant, VARIANTS)))
ACTIONS = ("click", "save", "long_click", "checkout", "impression")
Rows = list[Logged]
Events = dict[str, list[tuple[str, str, str]]]


@pytest.fixture
def shop(tmp_path: Path) -> Workspace:
    workspace = Workspace.create(tmp_path / "shop")
    rng = np.random.default_rng(8)
    db = open_catalogue(workspace.catalogue, create=True)
    created = 1_790_000_000 - rng.integers(0, 90 * 86_400, 60)
    prices = [5 + number / 7 for number in range(60)]
    rows = [
        {"id": f"p{number}", "created_at": int(created[number]), "price": prices[number]}
        for number in range(60)
    ]
    db["products"].insert_all({**row, "currency": "EUR"} for row in rows)
    db.conn.commit()
    db.conn.close()
    return workspace


def begun(shop: Workspace, experiment: Experiment = THREE) -> int:
    """Milliseconds since 1970."""
    store.create(shop, experiment)
    store.start(shop, experiment.name, at=1_790_000_000)
    return 1_790_000_000_000


def random_log(begin: int, seed: int, users: int) -> tuple[Rows, Events]:
    """Users who search again, reword, page and act; some have two variants, one is a robot."""
    rng = np.random.default_rng(seed)
    rows: Rows = []
    events: Events = defaultdict(list)
    for number in range(users):
        variant, user = VARIANTS[int(rng.integers(3))], bytes([number // 256, number % 256])
        for search in range(900 if number == 7 else 1 + int(rng.poisson(6))):
            at = begin - 3 * DAY + int(rng.integers(10 * DAY))
            if number == 7:
                at = begin + search
            elif (
                rng.random() < 0.4
                and rows
                and rows[-1].user == bytes([number // 256, number % 256])
            ):
                at = rows[-1].time + int(rng.integers(40 * 60_000))
            if number % 50 == 3:
                variant = VARIANTS[int(rng.integers(3))]
            part = ("deeper", variant) if at >= begin else ("", "")
            query = f"query {rng.integers(4)}"
            name = f"{number}-{search}"
            took, total = float(rng.lognormal(2, 1)), int(rng.integers(3))
            rows.append(Logged(name, at, user, *part, query, "en", 1, total, took, 1))
            for action in rng.choice(ACTIONS, int(rng.integers(4))).tolist():
                events[name].append((action, "product", f"p{rng.integers(70)}"))
    events["unlogged"].append(("save", "product", "p1"))
    events["unlogged too"].append(("impression", "product", "p1"))
    return rows, events


def written(shop: Workspace, rows: Rows, events: Events) -> None:
    with closing(open_searches(shop.searches, create=True)) as log:
        add_searches(log, rows)
    with closing(open_feedback(shop.feedback, create=True)) as log:
        told = [
            {"request_id": name, "action": action, "entity": entity, "item_id": key}
            for name, each in events.items()
            for action, entity, key in each
        ]
        add_events(log, [(str(n), orjson.dumps(each)) for n, each in enumerate(told)], 1)


def searches_in(rows: Rows) -> list[list[Logged]]:
    """The searches of rows in the order of users and times, all at once."""
    found: list[list[Logged]] = []
    for row in sorted(rows, key=lambda row: (row.user, row.time, row.request_id)):
        last = found[-1][-1] if found else None
        names = ("user", "variant", "query")
        same = last and all(getattr(last, name) == getattr(row, name) for name in names)
        if last and same and row.time - last.time <= 30 * 60_000:
            found[-1].append(row)
        else:
            found.append([row])
    return found


def at_once(shop: Workspace, rows: Rows, events: Events, begin: int) -> Any:
    """`Measured` of arrays with a value for each search of the whole log."""
    done = {name: set(each) for name, each in events.items()}

    def acted(search: list[Logged], *actions: str) -> bool:
        return any(event[0] in actions for row in search for event in done.get(row.request_id, ()))

    def of(search: list[Logged], action: str) -> set[str]:
        every = {event for row in search for event in done.get(row.request_id, ())}
        return {key for each, _, key in every if each == action}

    found = searches_in([row for row in rows if row.experiment])
    of_user: dict[bytes, list[list[Logged]]] = defaultdict(list)
    for search in found:
        of_user[search[0].user].append(search)
    mixed = {user for user, each in of_user.items() if len({s[0].variant for s in each}) > 1}
    most = {user: Counter(s[0].time // DAY for s in each) for user, each in of_user.items()}
    robots = {user for user, each in most.items() if max(each.values()) > 500} - mixed
    found = [search for search in found if search[0].user not in mixed | robots]
    names = sorted({search[0].user for search in found})
    number = {name: place for place, name in enumerate(names)}
    user = np.array([number[search[0].user] for search in found])
    day = np.array([(search[0].time - begin) // DAY for search in found])
    before = np.zeros((len(names), 2))
    for search in searches_in([row for row in rows if row.time < begin]):
        if search[0].user in number:
            before[number[search[0].user]] += acted(search, *THREE.actions), 1
    with closing(open_catalogue(shop.catalogue).conn) as db:
        known = {
            key: (price, created)
            for key, price, created in db.execute("SELECT id, price, created_at FROM products")
        }
    ages = [
        [s[0].time / 1000 - known[key][1] for key in of(s, "impression") if key in known]
        for s in found
    ]
    fulfilled = np.array([acted(search, *THREE.actions) for search in found], float)
    again = np.zeros(len(found))
    for place, (one, two) in enumerate(pairwise(found)):
        soon = two[0].time - one[-1].time <= 5 * 60_000
        again[place] = soon and two[0].user == one[0].user and not fulfilled[place]
    values = {
        "fulfilment": fulfilled,
        "gctr": np.array([acted(search, "long_click") for search in found], float),
        "click": np.array([acted(search, "click") for search in found], float),
        "save": np.array([acted(search, "save") for search in found], float),
        "checkout": np.array([acted(search, "checkout") for search in found], float),
        "revenue, EUR": np.array(
            [
                sum(known[key][0] for key in sorted(of(s, "checkout")) if key in known)
                for s in found
            ],
            float,
        ),
        "no results": np.array([search[0].total == 0 for search in found], float),
        "reformulated": again,
        "new items shown, 30 days": np.array(
            [sum(0 <= age <= 30 * 86_400 for age in each) for each in ages], float
        ),
    }
    dated = np.array([sum(age >= 0 for age in each) for each in ages], float)
    took = np.array([search[0].took_ms for search in found])
    variant = np.array([VARIANTS.index(of_user[name][0][0].variant) for name in names])

    def sums(measure: str, taken: Any = slice(None)) -> tuple[np.ndarray, np.ndarray]:
        weights = dated[taken] if measure.startswith("new") else None
        return (
            np.bincount(user[taken], values[measure][taken], len(names)),
            np.bincount(user[taken], weights, len(names)).astype(float),
        )

    return SimpleNamespace(
        variant=variant,
        searches=np.bincount(user).astype(float),
        values=values,
        times=[ArrayTimes(took[variant[user] == p], user[variant[user] == p]) for p in range(3)],
        before=before,
        mixed=len(mixed),
        robots=len(robots),
        last_day=int(day.max()),
        sums=sums,
        fulfilled=lambda until: sums("fulfilment", day <= until),
    )


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_random_log_has_the_figures_of_the_whole_log(shop: Workspace, seed: int) -> None:
    begin = begun(shop)
    rows, events = random_log(begin, seed, 700)
    written(shop, rows, events)
    kept = store.load(shop, "deeper")
    whole = reported(kept, at_once(shop, rows, events, begin), 1)
    with opened(shop) as scratch:
        found = reported(kept, measure(shop, kept, scratch), unlogged(shop, scratch))
    assert found.mixed > 5 and found.robots == 1 and len(found.comparisons) == 2
    assert {line.measure[:3] for line in found.comparisons[0].lines} >= {"new", "rev", "lat", "ref"}
    assert orjson.dumps(found.to_json()) == orjson.dumps(whole.to_json())


def test_an_interleaving_has_the_preference_of_the_whole_log(shop: Workspace) -> None:
    two = Experiment("two", THREE.variants[:2], mode=INTERLEAVE)
    begin = begun(shop, two)
    rng = np.random.default_rng(5)
    rows: Rows = []
    events: Events = defaultdict(list)
    credits = []
    for number in range(900):
        shares = rng.random(3).tolist()
        drafted = orjson.dumps([["pin", f"p{place}", each] for place, each in enumerate(shares)])
        user, name = bytes([int(rng.integers(120))]), f"{number}"
        part = ("lamp", "en", 1, 3, 2.0, 1, drafted.decode())
        rows.append(Logged(name, begin + number * 1000, user, "two", "interleave", *part))
        chosen = int(rng.integers(5))
        if chosen < 3:
            events[name].append(("save", "pin", f"p{chosen}"))
        credits.append((1 - shares[chosen], shares[chosen]) if chosen < 3 else (0, 0))
    written(shop, rows, events)
    found = report(shop, store.load(shop, "two"))
    a, b = np.array(credits, float).T
    whole = preference(a, b, np.array([row.user.hex() for row in rows]))
    assert found.preference == whole and found.searches == {INTERLEAVE: 900}
    assert found.users == {INTERLEAVE: len({row.user for row in rows})} and found.days == 1


def peak(shop: Workspace, days: int) -> int:
    """Bytes of Python's objects at most, for the report of 300 users with 8 searches a day."""
    begin = begun(shop, Experiment(f"days-{days}", THREE.variants[:2]))
    rows = [
        Logged(
            *(f"{days}-{user}-{search}", begin + search * DAY // 8, user.to_bytes(4, "big")),
            *(f"days-{days}", VARIANTS[user % 2], f"a query of some length, {search}", "en"),
            *(1, 5, float(search), 1),
        )
        for user in range(300)
        for search in range(8 * days)
    ]
    written(shop, rows, {})
    del rows
    store.stop(shop, f"days-{days}")
    tracemalloc.start()
    found = report(shop, store.load(shop, f"days-{days}"))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert sum(found.searches.values()) == 300 * 8 * days
    return most


def test_memory_does_not_grow_with_the_searches(shop: Workspace) -> None:
    peak(shop, 1)  # imports what is imported late
    few, many = peak(shop, 2), peak(shop, 40)
    assert many - few < 100 * 300 * 8 * 38 / 4  # a fourth of 100 bytes a search


def test_a_full_temporary_folder_is_named() -> None:
    with closing(Scratch()) as scratch:
        scratch.db.execute("PRAGMA max_page_count=10")
        with pytest.raises(Unavailable, match="full") as error:
            scratch.add_times(0, 0, map(float, range(100_000)))
    assert "TMPDIR" in error.value.how
