"""Board titles: useless ones lose, frequent ones win, the order of §3.2.2, crashes."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnisearch.data.catalogue.schema import open_catalogue
from omnisearch.data.catalogue.splits import DAY
from omnisearch.data.text.normalise import words
from omnisearch.enrichment.boards import (
    TOP,
    WordStatistics,
    best_titles,
    enrich_board_titles,
    outdated_boards,
)

USELESS = ("stuff", "My Board", "misc", "things i like", "random")
ROOMS = ("bedroom", "kitchen", "garden", "bathroom", "hallway")


@pytest.fixture
def db(tmp_path):
    db = open_catalogue(tmp_path / "catalogue.db", create=True)
    yield db
    db.conn.close()


def boards(db, *named):
    """Boards as (title, items) or (title, items, added_at); items by number."""
    base = db.conn.execute("SELECT COUNT(*) FROM boards").fetchone()[0]
    with db.conn:
        for n, (title, items, *added) in enumerate(named, base):
            db.conn.execute("INSERT INTO boards (id, title) VALUES (?, ?)", [f"b{n}", title])
            for item in items:
                db.conn.execute("INSERT OR IGNORE INTO pins (id) VALUES (?)", [f"p{item}"])
                db.conn.execute(
                    "INSERT OR IGNORE INTO board_items VALUES (?, 'pin', ?, ?)",
                    [f"b{n}", f"p{item}", *(added or [None])],
                )


def titles(db):
    return {
        key: json.loads(value)
        for key, value in db.conn.execute("SELECT id, board_titles FROM pins")
        if value is not None
    }


def themed(db, seed=3):
    """100 pins of 5 themes; 60 tidy boards within a theme, 40 boards of anything."""
    chance = random.Random(seed)
    for n in range(60):
        theme = n % 5
        title = chance.choice(("{}", "{} ideas", "my {}", "dream {}")).format(ROOMS[theme])
        boards(db, (title, [theme * 20 + k for k in chance.sample(range(20), 8)]))
    for n in range(40):
        boards(db, (USELESS[n % 5], chance.sample(range(100), 12)))


def test_useless_titles_lose(db):
    themed(db)
    enrich_board_titles(db)
    useless = {" ".join(words(title)) for title in USELESS}
    beaten = compared = 0
    for pin, found in titles(db).items():
        own = ROOMS[int(pin[1:]) // 20]
        kinds = ["useless" if " ".join(words(t)) in useless else "tidy" for t in found]
        assert all(own in t.casefold() for t, k in zip(found, kinds, strict=True) if k == "tidy")
        for a, kind in enumerate(kinds):
            for other in kinds[a + 1 :]:
                if kind != other:
                    compared += 1
                    beaten += kind == "tidy"
    assert compared > 100
    assert beaten / compared > 0.85


def test_on_an_item_of_two_boards_the_useless_title_loses_too(db):
    """No counting on the item itself can tell: the other items must."""
    themed(db)
    boards(db, ("misc", [500]), ("kitchen", [500]))
    enrich_board_titles(db)
    assert titles(db)["p500"] == ["kitchen", "misc"]


def test_a_name_seen_once_does_not_win_by_being_rare(db):
    themed(db)
    boards(db, ("Xanthippe", [500]), ("garden", [500]))
    enrich_board_titles(db)
    assert titles(db)["p500"] == ["garden", "Xanthippe"]


def test_a_title_that_is_frequent_on_the_item_wins():
    statistics = WordStatistics({"oak": 0.01, "elm": 0.01}, {"oak": 0.5, "elm": 0.5})
    assert best_titles(["oak", "elm", "elm"], statistics) == ["elm", "oak"]
    assert best_titles(["oak", "oak", "oak", "elm", "elm"], statistics) == ["oak", "elm"]


def test_equal_scores_go_by_word_count_then_length_then_alphabet():
    statistics = WordStatistics({}, {})
    found = best_titles(["fern", "oak tables", "old oak", "ash", "elm", "big fern pot"], statistics)
    # 'oak' and 'fern' are on two boards each and score 1/2, the other words 1.
    assert found == ["fern", "oak tables", "old oak", "big fern pot", "ash", "elm"]
    assert best_titles(["b", "a f", "dd", "c d e"], statistics) == ["c d e", "a f", "dd", "b"]


def test_titles_are_unique_after_normalisation_and_keep_their_usual_form():
    statistics = WordStatistics({}, {})
    given_titles = [
        "Boho  Bedroom",
        "boho bedroom!",
        "Boho Bedroom",
        "♥",
        "",
        "  ",
        "Küche",
        "KÜCHE",
    ]
    assert best_titles(given_titles, statistics) == ["Boho Bedroom", "KÜCHE"]


@settings(max_examples=50)
@given(st.lists(st.text(max_size=12), max_size=40))
def test_at_most_ten_unique_titles_whatever_users_write(given_titles):
    found = best_titles(given_titles, WordStatistics({}, {}))
    keys = [tuple(words(title)) for title in found]
    assert len(found) == min(TOP, len({tuple(words(t)) for t in given_titles} - {()}))
    assert len(set(keys)) == len(keys) and () not in keys
    assert best_titles(given_titles[::-1], WordStatistics({}, {})) == found


def test_repeating_changes_nothing_and_left_boards_are_forgotten(db):
    boards(db, ("oak", [1, 2]), ("elm", [2]))
    assert enrich_board_titles(db) == 2
    assert enrich_board_titles(db) == 0
    with db.conn:
        db.conn.execute("DELETE FROM board_items WHERE item_id = 'p1'")
    assert enrich_board_titles(db) == 1
    assert set(titles(db)) == {"p2"}


def test_titles_of_other_boards_are_outdated(db):
    assert not outdated_boards(db)
    themed(db)
    enrich_board_titles(db)
    assert not outdated_boards(db)
    boards(db, ("cosy corner", [1, 2]))
    assert outdated_boards(db)
    enrich_board_titles(db)
    assert not outdated_boards(db)
    with db.conn:
        db.conn.execute("UPDATE boards SET title = 'attic' WHERE id = 'b3'")
    assert outdated_boards(db)


def test_products_have_board_titles_too(db):
    with db.conn:
        db.conn.execute("INSERT INTO boards (id, title) VALUES ('b', 'Lamps')")
        db.conn.execute("INSERT INTO products (id) VALUES ('p1')")
        db.conn.execute("INSERT INTO board_items VALUES ('b', 'product', 'p1', NULL)")
        db.conn.execute("INSERT INTO pins (id) VALUES ('p1')")
    assert enrich_board_titles(db) == 1
    assert db.conn.execute("SELECT board_titles FROM products").fetchone()[0] == '["Lamps"]'
    assert titles(db) == {}


def test_imported_titles_stay_where_there_are_no_boards(db):
    with db.conn:
        db.conn.execute("INSERT INTO pins (id, board_titles) VALUES ('p1', '[\"given\"]')")
    assert enrich_board_titles(db) == 0
    assert titles(db) == {"p1": ["given"]}


def test_saves_of_the_evaluation_are_not_read(db):
    end = 1_600_000_000
    boards(db, ("before", [1], end - 30 * DAY), ("within", [1], end - DAY), ("undated", [1]))
    for when in (end - 100 * DAY, end):
        with db.conn:
            db.conn.execute(
                "INSERT INTO engagements (time, query, entity, item_id, action, count) "
                "VALUES (?, 'q', 'pin', 'p1', 'save', 1)",
                [when],
            )
    enrich_board_titles(db)
    assert set(titles(db)["p1"]) == {"before", "undated"}
    enrich_board_titles(db, until=end)
    assert set(titles(db)["p1"]) == {"before", "within", "undated"}


_KILLED = """
import sys, time
from pathlib import Path
from omnisearch.data.catalogue.schema import open_catalogue
from omnisearch.enrichment import boards

def stop(*args):
    print("written", flush=True)
    time.sleep(60)
boards.set_meta = stop
boards.enrich_board_titles(open_catalogue(Path(sys.argv[1])))
"""


def test_a_kill_leaves_the_old_titles_whole(db, tmp_path):
    boards(db, ("old", range(300)))
    enrich_board_titles(db)
    before = titles(db)
    boards(db, ("new", range(300)))
    child = subprocess.Popen(
        [sys.executable, "-c", _KILLED, str(tmp_path / "catalogue.db")],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    assert child.stdout.readline() == b"written\n"
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    child.stdout.close()
    assert titles(db) == before
    assert enrich_board_titles(db) == 300
