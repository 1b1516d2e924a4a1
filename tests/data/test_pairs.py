"""Pairs: uniqueness by task and action, caps, the time split, the leak rule, held-out queries."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnisearch.data.catalogue.pairs import (
    PAIR_SCHEMA,
    Caps,
    Counted,
    counted_pairs,
    evaluation_pairs,
    training_pairs,
)
from omnisearch.data.catalogue.schema import open_catalogue, set_meta
from omnisearch.data.catalogue.splits import DAY, Split, check_leak, time_split
from omnisearch.data.workspace.errors import NotReady

START = 1_600_000_000
ALL = Split(2**40, 2**40, 2**40)


@pytest.fixture
def db(tmp_path):
    db = open_catalogue(tmp_path / "catalogue.db", create=True)
    with db.conn:
        db.conn.executemany("INSERT INTO pins (id) VALUES (?)", [(f"p{i}",) for i in range(40)])
        db.conn.executemany("INSERT INTO products (id) VALUES (?)", [(f"g{i}",) for i in range(40)])
    yield db
    db.conn.close()


def log(db, *events):
    """Events are (time, query, entity, item, action) with count 1, or with a sixth entry."""
    base = db.conn.execute("SELECT COUNT(*) FROM engagements").fetchone()[0]
    with db.conn:
        db.conn.executemany(
            "INSERT INTO engagements "
            "VALUES (?, ?, ?, ?, ?, ?, ?, 'en', 'US', 'search', NULL, NULL)",
            [(base + n, *event[:5], (*event, 1)[5]) for n, event in enumerate(events)],
        )


def rows(table, *columns):
    return list(zip(*(table[c].to_pylist() for c in columns), strict=True))


def test_data_sets_are_those_of_table_1(db):
    log(
        db,
        (1, "oak", "pin", "p1", "save"),
        (2, "oak", "pin", "p1", "save", 3),
        (3, "oak", "pin", "p1", "long_click"),
        (4, "oak", "pin", "p1", "click"),
        (5, "oak", "pin", "p1", "impression"),
        (6, "oak", "product", "g1", "save"),
        (7, "oak", "product", "g1", "add_to_cart"),
        (8, "oak", "product", "g1", "checkout"),
        (9, "oak", "query", "oak table", "click"),
        (10, "oak", "query", "oak", "click"),
        (11, "oak", "pin", "gone", "save"),
    )
    tables = training_pairs(db, ALL)
    assert all(table.schema == PAIR_SCHEMA for table in tables.values())
    columns = "query", "item_id", "action", "count"
    assert {name: rows(table, *columns) for name, table in tables.items()} == {
        "pin": [("oak", "p1", "long_click", 1), ("oak", "p1", "save", 4)],
        "product": [("oak", "g1", "save", 1)],
        "offsite": [("oak", "g1", "add_to_cart", 1), ("oak", "g1", "checkout", 1)],
        "query": [("oak", "oak table", "click", 1)],
    }


def test_languages_come_from_the_query_where_known(db):
    log(db, (1, "eiche", "pin", "p1", "save"), (1, "oak", "pin", "p1", "save"))
    with db.conn:
        db.conn.execute("INSERT INTO queries VALUES ('eiche', 'Eiche', 'de', NULL, NULL)")
    table = training_pairs(db, ALL)["pin"]
    assert rows(table, "query", "language", "country") == [
        ("eiche", "de", "US"),
        ("oak", "en", "US"),
    ]


def test_no_item_is_in_more_pairs_than_its_cap(db):
    log(db, *((n, f"q{n}", "pin", "p1", "save") for n in range(70)))
    log(db, *((n, f"q{n}", "product", "g1", "save") for n in range(230)))
    log(db, *((n, f"q{n}", "pin", "p2", "save") for n in range(50)))
    tables = training_pairs(db, ALL)
    assert Counter(tables["pin"]["item_id"].to_pylist()) == {"p1": 50, "p2": 50}
    assert Counter(tables["product"]["item_id"].to_pylist()) == {"g1": 200}
    small = training_pairs(db, ALL, Caps(pin=3, product=2))
    assert Counter(small["pin"]["item_id"].to_pylist()) == {"p1": 3, "p2": 3}


def test_a_cap_counts_pairs_and_not_what_users_did_with_them(db):
    log(db, *((n, f"q{n}", "pin", "p1", ("save", "long_click")[n % 2]) for n in range(40)))
    log(db, *((n, f"q{n}", "pin", "p1", ("long_click", "save")[n % 2]) for n in range(30)))
    found = rows(training_pairs(db, ALL, Caps(pin=35))["pin"], "query", "action")
    assert len({query for query, _ in found}) == 35 and len(found) > 55
    every = set(rows(training_pairs(db, ALL)["pin"], "query", "action"))
    assert len(every) == 70
    kept = {query for query, _ in found}
    assert set(found) == {row for row in every if row[0] in kept}
    counted = counted_pairs(db, ALL, Caps(pin=35))["pin"]
    assert counted == Counted(engagements=70, pairs=40, kept=35)


def test_which_pairs_a_cap_keeps_is_fixed_by_the_seed(db):
    log(db, *((n, f"q{n}", "pin", "p1", "save") for n in range(200)))
    kept = [set(training_pairs(db, ALL, seed=s)["pin"]["query"].to_pylist()) for s in (0, 0, 1)]
    assert kept[0] == kept[1] != kept[2]
    # A sample without order: not the first or last 50 of the log or the alphabet.
    numbers = sorted(int(query[1:]) for query in kept[0])
    assert numbers[0] < 30 and numbers[-1] > 170
    # One more pair moves at most one out of the cap.
    log(db, (999, "newcomer", "pin", "p1", "save"))
    after = set(training_pairs(db, ALL)["pin"]["query"].to_pylist())
    assert len(kept[0] - after) <= 1


def test_queries_that_a_data_set_holds_out_train_nothing(db):
    log(
        db,
        (1, "kept", "pin", "p1", "save"),
        (1, "test", "pin", "p1", "save"),
        (1, "valid", "product", "g1", "save"),
        (1, "kept", "query", "test", "click"),
        (1, "test", "query", "kept", "click"),
    )
    with db.conn:
        db.conn.executemany(
            "INSERT INTO queries (id, split) VALUES (?, ?)",
            [("kept", "train"), ("test", "test"), ("valid", "valid")],
        )
    tables = training_pairs(db, ALL)
    assert {n: t["query"].to_pylist() for n, t in tables.items() if t.num_rows} == {"pin": ["kept"]}


def test_the_split_is_counted_back_from_the_last_event(db):
    end = START + 100 * DAY
    log(db, (START, "q", "pin", "p1", "save"), (end - 1, "q", "pin", "p2", "impression"))
    split = time_split(db)
    assert split == Split(end - 22 * DAY, end - 7 * DAY, end)
    assert split.evaluates
    assert time_split(db, gap_days=1, eval_days=2) == Split(end - 3 * DAY, end - 2 * DAY, end)


def test_training_ends_before_the_gap_and_evaluation_begins_after_it(db):
    end = START + 100 * DAY
    times = {
        "old": START,
        "last of training": end - 22 * DAY - 1,
        "first of gap": end - 22 * DAY,
        "last of gap": end - 7 * DAY - 1,
        "first of evaluation": end - 7 * DAY,
        "last": end - 1,
    }
    log(db, *((time, query, "pin", "p1", "save") for query, time in times.items()))
    split = time_split(db)
    assert set(training_pairs(db, split)["pin"]["query"].to_pylist()) == {"old", "last of training"}
    found = evaluation_pairs(db, split)
    assert set(found) == {"pin/save"}
    assert set(found["pin/save"]["query"].to_pylist()) == {"first of evaluation", "last"}


@pytest.mark.parametrize("days", [0, 1, 21])
def test_a_log_without_a_usable_span_is_all_training(db, days):
    log(db, (START, "q", "pin", "p1", "save"), (START + days * DAY, "q", "pin", "p2", "save"))
    split = time_split(db)
    assert split.train_until == START + days * DAY + 1
    assert not split.evaluates
    assert training_pairs(db, split)["pin"].num_rows == 2
    assert evaluation_pairs(db, split) == {}


def test_an_empty_log_splits_and_says_what_is_missing(db):
    split = time_split(db)
    assert split == Split(0, 0, 0)
    assert evaluation_pairs(db, split) == {}
    with pytest.raises(NotReady, match="no engagement"):
        training_pairs(db, split)


@pytest.mark.parametrize("key", ["engaged_until", "boards_until"])
def test_features_from_after_the_split_are_a_leak(db, key):
    log(db, (START, "q", "pin", "p1", "save"), (START + 50 * DAY, "q", "pin", "p2", "save"))
    split = time_split(db)
    set_meta(db, key, split.train_until)
    training_pairs(db, split)
    set_meta(db, key, split.train_until + 1)
    with pytest.raises(NotReady, match="leak") as error:
        training_pairs(db, split)
    assert "omnisearch enrich" in error.value.how
    with pytest.raises(NotReady):
        evaluation_pairs(db, split)
    # Without an evaluation nothing can leak into it.
    check_leak(db, replace(split, eval_from=split.eval_until))


def test_evaluation_samples_each_task_by_itself(db):
    end = START + 100 * DAY
    log(db, (START, "q", "pin", "p1", "save"))
    log(db, *((end - 1, f"q{n}", "pin", f"p{n % 40}", "save") for n in range(100)))
    log(db, *((end - 1, f"q{n}", "product", f"g{n % 40}", "checkout") for n in range(5)))
    log(db, (end - 1, "q", "query", "other", "click"), (end - 1, "q", "pin", "p3", "impression"))
    found = evaluation_pairs(db, time_split(db), sample=20)
    counts = {key: table.num_rows for key, table in found.items()}
    assert counts == {"pin/save": 20, "product/checkout": 5, "query/click": 1}
    same = evaluation_pairs(db, time_split(db), sample=20)
    other = evaluation_pairs(db, time_split(db), sample=20, seed=9)
    assert found["pin/save"].equals(same["pin/save"])
    assert not found["pin/save"].equals(other["pin/save"])


events = st.lists(
    st.tuples(
        st.integers(0, 9),
        st.sampled_from("abcdefg"),
        st.just("pin"),
        st.sampled_from(["p1", "p2", "p3", "nowhere"]),
        st.sampled_from(["save", "long_click", "click", "impression"]),
        st.integers(0, 3),
    ),
    max_size=60,
)


@settings(max_examples=40)
@given(events, st.integers(1, 6), st.integers(1, 9))
def test_pairs_equal_a_plain_count(tmp_path_factory, events, cap, until):
    db = open_catalogue(tmp_path_factory.mktemp("pairs") / "c.db", create=True)
    db.conn.executemany("INSERT INTO pins (id) VALUES (?)", [("p1",), ("p2",), ("p3",)])
    log(db, *events)
    expected: Counter = Counter()
    for time, query, _, item, action, count in events:
        if time < until and item != "nowhere" and action in ("save", "long_click") and count:
            expected[query, item, action] += count
    if not expected:
        with pytest.raises(NotReady):
            training_pairs(db, Split(until, until, until), Caps(cap, cap))
        return
    table = training_pairs(db, Split(until, until, until), Caps(cap, cap))["pin"]
    found = {tuple(row[:3]): row[3] for row in rows(table, "query", "item_id", "action", "count")}
    assert len(found) == table.num_rows
    assert all(expected[key] == count for key, count in found.items())
    of_item = Counter(item for _, item in {key[:2] for key in expected})
    kept = {key[:2] for key in found}
    assert Counter(item for _, item in kept) == {i: min(n, cap) for i, n in of_item.items()}
    assert set(found) == {key for key in expected if key[:2] in kept}
    db.conn.close()
