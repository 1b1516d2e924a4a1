"""Engaged queries: weights, order, window, the incremental merge, held-out queries, crashes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnisearch.data.catalogue.schema import get_meta, open_catalogue
from omnisearch.data.catalogue.splits import DAY, time_split
from omnisearch.enrichment.engaged_queries import (
    ACTION_WEIGHTS,
    TOP,
    enrich_engaged_queries,
    outdated_queries,
)

DAYS_2_YEARS = 730 * DAY


def new_catalogue(folder: Path, items: int = 5):
    db = open_catalogue(folder / "catalogue.db", create=True)
    with db.conn:
        db.conn.executemany("INSERT INTO pins (id) VALUES (?)", [(f"p{i}",) for i in range(items)])
        db.conn.execute("INSERT INTO products (id) VALUES ('g0')")
    return db


@pytest.fixture
def db(tmp_path):
    db = new_catalogue(tmp_path)
    yield db
    db.conn.close()


def log(db, events):
    """Events are (time, query, entity, item, action, count)."""
    base = db.conn.execute("SELECT COUNT(*) FROM engagements").fetchone()[0]
    with db.conn:
        db.conn.executemany(
            "INSERT INTO engagements "
            "VALUES (?, ?, ?, ?, ?, ?, ?, NULL, NULL, 'search', NULL, NULL)",
            [(base + n, *event) for n, event in enumerate(events)],
        )


def lists(db):
    found = {}
    for table in ("pins", "products"):
        for key, value in db.conn.execute(f"SELECT id, engaged_queries FROM {table}"):
            if value is not None:
                found[key] = json.loads(value)
    return found


def reference(events, until, window=DAYS_2_YEARS):
    """The same, from the definition: item → [[query, weight, last time]]."""
    sums: dict = defaultdict(lambda: defaultdict(lambda: [0, 0]))
    for when, query, _, item, action, count in events:
        if until - window <= when < until and ACTION_WEIGHTS[action] * count > 0:
            entry = sums[item][query]
            entry[0] += ACTION_WEIGHTS[action] * count
            entry[1] = max(entry[1], when)
    return {
        item: sorted(
            ([query, *entry] for query, entry in queries.items()),
            key=lambda e: (-e[1], -e[2], e[0]),
        )[:TOP]
        for item, queries in sums.items()
    }


def test_queries_are_weighted_by_what_users_did(db):
    log(
        db,
        [
            (10, "seen", "pin", "p1", "impression", 900),
            (11, "clicked", "pin", "p1", "click", 3),
            (12, "saved", "pin", "p1", "save", 1),
            (13, "saved", "pin", "p1", "long_click", 1),
            (14, "bought", "product", "g0", "checkout", 1),
            (15, "carted", "product", "g0", "add_to_cart", 1),
        ],
    )
    assert enrich_engaged_queries(db) == 2
    assert lists(db) == {
        "p1": [["saved", 6, 13], ["clicked", 3, 11]],
        "g0": [["bought", 8, 14], ["carted", 4, 15]],
    }
    assert enrich_engaged_queries(db) == 0  # nothing changed


def test_only_the_top_20_stay_and_ties_go_to_the_latest(db):
    log(db, [(n, f"q{n:02}", "pin", "p1", "click", 1) for n in range(30)])
    enrich_engaged_queries(db)
    assert [entry[0] for entry in lists(db)["p1"]] == [f"q{n:02}" for n in range(29, 9, -1)]


def test_the_default_ends_with_the_training_period(db):
    end = 1_600_000_000
    log(db, [(end - 60 * DAY, "old", "pin", "p1", "save", 1)])
    log(db, [(end - 20 * DAY, "gap", "pin", "p1", "save", 1)])
    log(db, [(end, "evaluated", "pin", "p1", "save", 1)])
    enrich_engaged_queries(db)
    assert [entry[0] for entry in lists(db)["p1"]] == ["old"]
    assert get_meta(db, "engaged_until") == time_split(db).train_until
    enrich_engaged_queries(db, until=2**62)
    assert len(lists(db)["p1"]) == 3
    assert get_meta(db, "engaged_until") == end + 1


def test_lists_of_another_log_are_outdated(db):
    assert not outdated_queries(db)
    log(db, [(day * DAY, "oak", "pin", "p0", "save", 1) for day in range(100)])
    enrich_engaged_queries(db)
    assert not outdated_queries(db)
    log(db, [(99 * DAY + 5, "elm", "pin", "p1", "save", 1)])  # after the end of training
    assert not outdated_queries(db)
    log(db, [(120 * DAY, "elm", "pin", "p1", "save", 1)])  # which now comes later
    assert outdated_queries(db)
    enrich_engaged_queries(db, incremental=True)
    assert not outdated_queries(db)
    with db.conn:  # another event in the place of one
        db.conn.execute("UPDATE engagements SET event = 1000 WHERE event = 3")
    assert outdated_queries(db)
    enrich_engaged_queries(db, until=2**62)
    assert not outdated_queries(db)


def test_the_window_is_two_years(db):
    end = 1_600_000_000
    log(db, [(end - DAYS_2_YEARS, "in", "pin", "p1", "save", 1)])
    log(db, [(end - DAYS_2_YEARS - 1, "out", "pin", "p1", "save", 1)])
    enrich_engaged_queries(db, until=end)  # the log ends before
    last = end - DAYS_2_YEARS + 1
    assert get_meta(db, "engaged_until") == last
    log(db, [(end, "now", "pin", "p1", "save", 1)])
    enrich_engaged_queries(db, until=end)
    assert [entry[0] for entry in lists(db)["p1"]] == ["in"]
    enrich_engaged_queries(db, until=end, window_days=1)
    assert lists(db) == {}


def test_queries_that_a_data_set_holds_out_are_no_feature(db):
    log(db, [(1, "kept", "pin", "p1", "save", 1), (1, "test", "pin", "p1", "save", 1)])
    enrich_engaged_queries(db)
    assert len(lists(db)["p1"]) == 2
    with db.conn:
        db.conn.execute("INSERT INTO queries (id, split) VALUES ('test', 'test')")
    enrich_engaged_queries(db, incremental=True)
    assert [entry[0] for entry in lists(db)["p1"]] == ["kept"]
    enrich_engaged_queries(db)
    assert [entry[0] for entry in lists(db)["p1"]] == ["kept"]


def test_imported_lists_stay_where_there_is_no_log(db):
    with db.conn:
        db.conn.execute("UPDATE pins SET engaged_queries = '[[\"boho\", 3, 0]]' WHERE id = 'p1'")
    assert enrich_engaged_queries(db) == 0
    assert lists(db) == {"p1": [["boho", 3, 0]]}
    assert get_meta(db, "engaged_until") is None


few_queries = st.lists(
    st.tuples(
        st.integers(0, 300),  # days
        st.sampled_from([f"q{i}" for i in range(TOP)]),  # no item can have more than 20
        st.just("pin"),
        st.sampled_from(["p0", "p1", "p2"]),
        st.sampled_from(sorted(ACTION_WEIGHTS)),
        st.integers(1, 5),
    ),
    max_size=80,
)


def in_seconds(events):
    return [(day * DAY, *rest) for day, *rest in events]


@settings(max_examples=40)
@given(few_queries, st.lists(st.integers(0, 301), min_size=1, max_size=4))
def test_the_merge_equals_the_full_computation(tmp_path_factory, events, stops):
    """No item ever has more than 20 queries and no event leaves the window: exact."""
    db = new_catalogue(tmp_path_factory.mktemp("merge"))
    log(db, events := in_seconds(events))
    stops = sorted({*stops, 301})
    for stop in stops:
        enrich_engaged_queries(db, until=stop * DAY, incremental=True)
        assert lists(db) == reference(events, stop * DAY)
    db.conn.close()


@settings(max_examples=40)
@given(few_queries, st.integers(0, 301), st.integers(1, 200))
def test_the_full_computation_equals_its_definition(tmp_path_factory, events, stop, window):
    db = new_catalogue(tmp_path_factory.mktemp("full"))
    log(db, events := in_seconds(events))
    enrich_engaged_queries(db, until=stop * DAY, window_days=window)
    last = max((event[0] for event in events), default=-1)
    assert lists(db) == reference(events, min(stop * DAY, last + 1), window * DAY)
    db.conn.close()


many_queries = st.lists(
    st.tuples(
        st.integers(0, 100),
        st.integers(0, 45).map("q{}".format),
        st.just("pin"),
        st.just("p0"),
        st.sampled_from(["save", "click"]),
        st.integers(1, 3),
    ),
    min_size=30,
    max_size=150,
)


@settings(max_examples=30)
@given(many_queries, st.integers(1, 100))
def test_the_merge_never_invents_engagement(tmp_path_factory, events, stop):
    """Where it cannot be exact it only forgets: no weight above the true one."""
    db = new_catalogue(tmp_path_factory.mktemp("bound"))
    log(db, events := in_seconds(events))
    enrich_engaged_queries(db, until=stop * DAY)
    enrich_engaged_queries(db, until=101 * DAY, incremental=True)
    true: dict = defaultdict(int)
    for _, query, _, _, action, count in events:
        true[query] += ACTION_WEIGHTS[action] * count
    entries = lists(db)["p0"]
    assert entries == sorted(entries, key=lambda e: (-e[1], -e[2], e[0]))
    assert len(entries) == min(TOP, len(true))
    assert all(weight <= true[query] for query, weight, _ in entries)
    db.conn.close()


def test_what_the_merge_cannot_know_a_query_that_fell_out(db):
    """As documented: a query below the 20 returns with its new events only."""
    log(db, [(1, f"q{n:02}", "pin", "p1", "save", 1) for n in range(TOP)])
    log(db, [(1, "small", "pin", "p1", "click", 1)])
    enrich_engaged_queries(db, until=2)
    log(db, [(5, "small", "pin", "p1", "save", 1)])
    enrich_engaged_queries(db, until=6, incremental=True)
    assert lists(db)["p1"][0] == ["small", 4, 5]
    enrich_engaged_queries(db, until=6)
    assert lists(db)["p1"][0] == ["small", 5, 5]


def test_what_the_merge_cannot_know_events_that_left_the_window(db):
    """As documented: old events of a query that is still engaged go on counting, others expire."""
    log(db, [(0, "both", "pin", "p1", "save", 1), (0, "old", "pin", "p1", "save", 1)])
    enrich_engaged_queries(db, until=DAY, window_days=10)
    log(db, [(9 * DAY, "both", "pin", "p1", "save", 1)])
    enrich_engaged_queries(db, until=9 * DAY + 1, window_days=10, incremental=True)
    log(db, [(12 * DAY, "x", "pin", "p2", "impression", 1)])
    enrich_engaged_queries(db, until=12 * DAY, window_days=10, incremental=True)
    assert lists(db) == {"p1": [["both", 8, 9 * DAY]]}
    enrich_engaged_queries(db, until=12 * DAY, window_days=10)
    assert lists(db) == {"p1": [["both", 4, 9 * DAY]]}


def test_the_merge_needs_no_old_log(db):
    """The log's old part may be thrown away: that is what the merge is for."""
    log(db, [(1, "boho", "pin", "p1", "save", 1), (9, "late", "pin", "p2", "save", 1)])
    enrich_engaged_queries(db, until=5)
    with db.conn:
        db.conn.execute("DELETE FROM engagements WHERE time < 5")
    enrich_engaged_queries(db, until=10, incremental=True)
    assert lists(db) == {"p1": [["boho", 4, 1]], "p2": [["late", 4, 9]]}


def test_events_imported_late_are_not_lost(db):
    log(db, [(1, "boho", "pin", "p1", "save", 1), (9, "end", "pin", "p2", "save", 1)])
    enrich_engaged_queries(db, until=5)
    log(db, [(2, "late", "pin", "p1", "save", 1)])  # of before the last run
    enrich_engaged_queries(db, until=10, incremental=True)
    assert [entry[0] for entry in lists(db)["p1"]] == ["late", "boho"]


_KILLED = """
import sys
from omnisearch.data.catalogue.schema import open_catalogue
from omnisearch.enrichment import engaged_queries as engaged
from pathlib import Path

db = open_catalogue(Path(sys.argv[1]))

def stop(*args):
    print("written", flush=True)   # all lists are written, the transaction is not ended
    import time
    time.sleep(60)
engaged.set_meta = stop
engaged.enrich_engaged_queries(db, until=100)
"""


def test_a_kill_leaves_the_old_lists_whole(tmp_path):
    db = new_catalogue(tmp_path, items=3000)
    log(db, [(1, "old", "pin", f"p{i}", "save", 1) for i in range(3000)])
    enrich_engaged_queries(db, until=2)
    log(db, [(50, "new", "pin", f"p{i}", "save", 1) for i in range(3000)])
    before = lists(db)
    db.conn.close()
    child = subprocess.Popen(
        [sys.executable, "-c", _KILLED, str(tmp_path / "catalogue.db")],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    assert child.stdout.readline() == b"written\n"
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    child.stdout.close()
    db = open_catalogue(tmp_path / "catalogue.db")
    assert lists(db) == before
    assert get_meta(db, "engaged_until") == 2
    enrich_engaged_queries(db, until=100, incremental=True)
    assert lists(db)["p7"] == [["new", 4, 50], ["old", 4, 1]]
    db.conn.close()


@pytest.mark.slow
def test_a_million_events_take_seconds(tmp_path):
    db = new_catalogue(tmp_path, items=50_000)
    log(
        db,
        (
            (n, f"q{(n * 7919) % 30_011}", "pin", f"p{(n * n) % 50_000}", "save", 1)
            for n in range(1_000_000)
        ),
    )
    start = time.perf_counter()
    enrich_engaged_queries(db, until=2**62)
    assert time.perf_counter() - start < 30
    db.conn.close()
