"""Suggestions of one or several sources: what a plain loop over all texts finds, in its order."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import sqlite_utils
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from indexer_fakes import DAY, FakeEncoder, engage, put
from rapidfuzz.distance import OSA
from safetensors.numpy import load_file, save_file

from omnisearch.data.text.prefixes import typed_key, whole_key
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import Corrupt
from omnisearch.indexer.build import BuildOptions, build
from omnisearch.indexer.generation import Generation
from omnisearch.indexer.parts.near_words import MOST_LETTERS, near_words, other_first, word_letters
from omnisearch.indexer.parts.suggest import Entries, first_of
from omnisearch.indexer.parts.suggest_open import QUERIES_FILE, open_queries
from omnisearch.indexer.parts.suggest_write import write_queries
from omnisearch.indexer.suggested_log import log_stamp
from omnisearch.indexer.update import update

Small = tuple[Workspace, sqlite_utils.Database]

WORDS = ["so", "sofa", "sofas", "soft", "Möbel", "leather", "lether", "ソファ", "소파", "ที่", "10"]
TEXT = st.lists(st.sampled_from(WORDS), min_size=1, max_size=4).map(" ".join)
TEXTS = st.dictionaries(TEXT, st.integers(1, 4), min_size=1, max_size=30)


def opened(queries: dict[str, int], folder: Path) -> Entries:
    write_queries(folder, [(query, count, None) for query, count in queries.items()])
    return open_queries(folder)


def plain(queries: dict[str, int], key: str, most: int) -> list[str]:
    """The forms of the first texts, by a loop over all words of all texts."""
    found: list[tuple[bool, int, bytes, str]] = []
    for text, count in queries.items():
        form = whole_key(text)
        starts = [0, *(at + 1 for at, sign in enumerate(form[:-1]) if sign == " ")]
        found += [
            (start > 0, -count, form[start:].encode(), text)
            for start in starts
            if form[start:].startswith(key)
        ]
    forms = [whole_key(text) for *_, text in sorted(found)]
    return list(dict.fromkeys(forms))[:most]


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(TEXTS, TEXT, st.integers(1, 12), st.integers(1, 8), st.integers(1, 4))
def test_beginnings_as_a_plain_loop_finds_them(
    queries: dict[str, int], typed: str, letters: int, most: int, parts: int
) -> None:
    key = typed_key(typed[:letters])
    shares = [dict(list(queries.items())[part::parts]) for part in range(parts)]
    with tempfile.TemporaryDirectory() as root:
        folders = [Path(root) / str(part) for part in range(parts)]
        for folder in folders:
            folder.mkdir()
        sources = [opened(share, folder) for share, folder in zip(shares, folders, strict=True)]
        found = first_of([source.exact(key, most) for source in sources], most)
    assert [each.whole.decode() for each in found] == plain(queries, key, most)


def test_many_texts_with_one_beginning(tmp_path: Path) -> None:
    """Blocks of the sorted forms, equal counts among them, and more than one range."""
    rng = np.random.default_rng(0)
    queries = {
        f"so{letters} {letters}": int(count)
        for letters, count in zip(range(3000), rng.integers(1, 9, 3000), strict=True)
    }
    entries = opened(queries, tmp_path)
    for typed in ("s", "so 1", "so 29", "2", "zzz"):
        found = [each.whole.decode() for each in entries.exact(typed_key(typed), 20)]
        assert found == plain(queries, typed_key(typed), 20)


def distance(typed: str, word: str, whole: bool) -> int:
    ends = [len(word)] if whole else range(1, len(word) + 1)
    return min(OSA.distance(typed, word[:end]) for end in ends)


LETTERS = st.text("abcd", min_size=1, max_size=8) | st.integers(1, 20).map("abcd".__mul__)


@settings(max_examples=300, deadline=None)
@given(st.sets(LETTERS, min_size=1, max_size=30), LETTERS, st.integers(0, 2), st.booleans())
def test_near_words_are_those_of_rapidfuzz(
    words: set[str], typed: str, most: int, whole: bool
) -> None:
    listed = sorted({word[:MOST_LETTERS] for word in words})
    places, wrong, sizes = near_words(word_letters(listed), typed, most, whole)
    expected = {
        word: typos
        for word in listed
        if word[0] == typed[0] and (typos := distance(typed, word, whole)) <= most
    }
    assert {listed[place]: typos for place, typos in zip(places, wrong, strict=True)} == expected
    for place, typos, size in zip(places, wrong, sizes, strict=True):
        assert OSA.distance(typed, listed[place][:size]) == typos


def test_a_typo_of_the_first_letter() -> None:
    words = sorted(["sofa", "sofas", "rofa", "ofa", "osfa", "soda", "lamp"])
    places, wrong, _ = other_first(word_letters(words), "xofa", whole=True)
    assert [words[place] for place in places] == ["ofa", "rofa", "sofa"] and set(wrong) == {1}
    places, _, sizes = other_first(word_letters(words), "ofa")
    assert {words[place][:size] for place, size in zip(places, sizes, strict=True)} >= {
        *("rofa", "sofa")
    }
    assert [words[at] for at in other_first(word_letters(words), "osfa", True)[0]] == [
        *("osfa", "sofa")
    ]


def texts(entries: Sequence[Entries], typed: str, most: int = 8) -> list[tuple[str, int]]:
    key = typed_key(typed)
    found = first_of([part.exact(key, most) for part in entries], most)
    found = found or first_of([part.near(key, most) for part in entries], most)
    return [(each.text, each.counted) for each in found]


def test_queries_of_enough_people_and_of_no_person(small: Small) -> None:
    workspace, db = small
    for session in ("a", "b", "c", "c"):
        db.conn.execute(
            "INSERT INTO engagements (time, query, entity, item_id, action, count, session) "
            "VALUES (?, 'red sofa', 'pin', 'pin001', 'impression', 1, ?)",
            [DAY, session],
        )
        db.conn.execute(
            "INSERT INTO engagements (time, query, entity, item_id, action, count, session) "
            "VALUES (?, 'red stool', 'pin', 'pin001', 'save', 1, 'one')",
            [DAY],
        )
    db.conn.commit()
    engage(db, "red table", "pin", "pin001", count=3)
    engage(db, "red shelf", "pin", "pin001", count=2)
    engage(db, "red bench", "pin", "pin001", "impression", count=9)
    for private in ("red@home.org", "red 0171 2345678", "red 4111-1111-1111-1111"):
        engage(db, private, "pin", "pin001", count=9)
    build(workspace, db, FakeEncoder())
    queries = Generation.open(workspace).suggestions[:1]
    assert texts(queries, "red") == [("red sofa", 3), ("red table", 3)]
    build(workspace, db, FakeEncoder(), BuildOptions(suggest_people=2))
    assert texts(Generation.open(workspace).suggestions[:1], "red sh") == [("red shelf", 2)]


def test_titles_brands_and_categories(small: Small) -> None:
    workspace, db = small
    put(db, "product", id="a", title="Zebra  rug", brand="Zumo", product_types=["Home > Zone > Z"])
    put(db, "product", id="b", title="Zebra rug", brand="Zumo", product_types=["Home > Zone"])
    put(db, "product", id="c", title="zebra " + "very " * 30, engaged_queries=[["zebra", 5.0, 1]])
    paths = '{"category": "Home > Zone"}'
    put(db, "product", id="d", title="Rug", product_types=["Zinc"], attributes=paths)
    build(workspace, db, FakeEncoder())
    sources = Generation.open(workspace).suggestions
    shown = texts(sources, "zebra")
    assert shown[0][1] == 6 and shown[0][0].startswith("zebra very") and len(shown[0][0]) <= 80
    assert shown[1:] == [("Zebra rug", 2)]
    assert texts(sources, "zum") == [("Zumo", 2)]
    assert texts(sources, "zon") == [("Home > Zone", 3), ("Home > Zone > Z", 1)]
    assert texts(sources, "home") == [("Home", 3), ("Home > Zone", 3), ("Home > Zone > Z", 1)]
    assert texts(sources, "zin") == []


def test_the_log_is_read_again_only_if_it_changed(small: Small) -> None:
    workspace, db = small
    engage(db, "red sofa", "pin", "pin001", count=3)
    build(workspace, db, FakeEncoder())
    put(db, "pin", id="aaa", title="zebra stool")
    assert update(workspace, db, FakeEncoder()) == 2
    files = [workspace.generation(number) / QUERIES_FILE for number in (1, 2)]
    assert files[0].stat().st_ino == files[1].stat().st_ino
    last = Generation.open(workspace)
    engage(db, "red sofa", "pin", "pin002", count=2)
    assert update(workspace, db, FakeEncoder()) == 3  # nothing else has changed
    assert texts(Generation.open(workspace, like=last).suggestions, "red s")[0] == ("red sofa", 5)
    assert update(workspace, db, FakeEncoder()) == 3


def test_the_stamp_changes_with_every_change_of_the_log(small: Small) -> None:
    """Also where as many events are left, of the same times; and it scans no table."""
    _, db = small
    engage(db, "red sofa", "pin", "pin001")
    engage(db, "red table", "pin", "pin001")
    stamps = [log_stamp(db, 3), log_stamp(db, 2)]
    for sql in (
        "UPDATE engagements SET query = 'red vase' WHERE query = 'red sofa'",
        "REPLACE INTO engagements SELECT event, time, 'red rug', entity, item_id, action, count, "
        "language, country, surface, session, position FROM engagements WHERE query = 'red vase'",
        "DELETE FROM engagements WHERE query = 'red rug'",
        "INSERT INTO engagements (time, query, entity, item_id, action, count) "
        "SELECT time, 'red lamp', entity, item_id, action, count FROM engagements",
    ):
        with db.conn:
            db.conn.execute(sql)
        stamps.append(log_stamp(db, 2))
    assert len({tuple(stamp) for stamp in stamps}) == len(stamps)
    assert log_stamp(db, 2) == stamps[-1]
    asked: list[str] = []
    db.conn.set_trace_callback(asked.append)
    log_stamp(db, 2)
    db.conn.set_trace_callback(None)
    for sql in asked:
        plan = [row[3] for row in db.conn.execute(f"EXPLAIN QUERY PLAN {sql}")]
        assert not any(step.startswith("SCAN engagements") for step in plan), (sql, plan)


@pytest.mark.parametrize(
    ("column", "value"),
    [("owners", 10**6), ("at", 10**6), ("kinds", 9), ("word_ranges", 10**6), ("languages", 99)],
)
def test_damaged_columns_are_refused(tmp_path: Path, column: str, value: int) -> None:
    opened({"red sofa": 3, "blue sofa": 2}, tmp_path)
    columns = load_file(tmp_path / QUERIES_FILE)
    columns[column].reshape(-1)[0] = value
    save_file(columns, tmp_path / QUERIES_FILE)
    with pytest.raises(Corrupt, match="queries to suggest"):
        open_queries(tmp_path)
