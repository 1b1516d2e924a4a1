"""How the words of a query and of an item meet."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnisearch.data.text.keys import either_keys, word_keys
from omnisearch.data.text.tokens import query_words, tokens
from omnisearch.data.workspace.errors import Corrupt
from omnisearch.indexer.parts.table import name_of
from omnisearch.indexer.parts.words import Words, idf, open_texts, spans, write_texts

WORDS = st.lists(st.sampled_from(["copper", "sink", "bath", "銅", "red", "x"]), max_size=6)


@given(st.lists(WORDS, min_size=1, max_size=8), WORDS, st.data())
def test_shares_are_those_of_plain_sets(names: list[list[str]], asked: list[str], data) -> None:
    keys = [word_keys(name) for name in names]
    ends = np.cumsum([len(part) for part in keys])
    table = Words(np.concatenate(keys), *spans(ends))
    rows = data.draw(st.lists(st.integers(0, len(names) - 1), max_size=12))
    share, cover = table.at(np.array(rows, dtype=np.int64)).match(word_keys(asked))
    for place, row in enumerate(rows):
        name, query = set(names[row]), set(asked)
        if not name or not query:
            assert np.isnan(share[place]) and np.isnan(cover[place])
            continue
        np.testing.assert_allclose(share[place], len(name & query) / len(query), rtol=1e-6)
        np.testing.assert_allclose(cover[place], len(name & query) / len(name), rtol=1e-6)


def test_words_meet_in_their_stems_and_a_name_is_the_first_there_is() -> None:
    item = {"title": None, "caption": "Two copper sinks", "description": "something else"}
    keys = word_keys(tokens(name_of(item)))
    table = Words(keys, *spans(np.array([len(keys)])))
    share, cover = table.at(np.array([0])).match(either_keys(query_words("a copper sink")))
    assert share[0] == 1  # the stop word was left out of the query
    np.testing.assert_allclose(cover[0], 2 / 3)
    assert name_of({}) == ""


def test_a_rare_word_counts_for_more(tmp_path: Path) -> None:
    for name, lines in (("pins", ["copper sink", "sink", "", "sink sink"]), ("rest", ["red sink"])):
        (tmp_path / name).mkdir()
        write_texts(tmp_path / name, lines)
    pins, rest = open_texts(tmp_path / "pins", 4), open_texts(tmp_path / "rest", 1)
    asked = word_keys(["copper", "sink", "nowhere"])
    weights = idf([pins, rest], asked)
    of_word = dict(zip(asked.tolist(), weights.tolist(), strict=True))
    for word, rows in (("copper", 1), ("sink", 4), ("nowhere", 0)):  # of four rows with words
        expected = math.log(1 + (4 - rows + 0.5) / (rows + 0.5))
        np.testing.assert_allclose(of_word[word_keys([word])[0]], expected)
    share = pins.at(np.array([3, 2, 0])).share(asked, weights)
    sink, copper = (of_word[word_keys([word])[0]] for word in ("sink", "copper"))
    assert np.isnan(share[1])
    np.testing.assert_allclose(share[[0, 2]], np.array([sink, sink + copper]) / weights.sum(), 1e-6)


def test_words_of_other_rows_are_refused(tmp_path: Path) -> None:
    write_texts(tmp_path, ["copper sink", "sink"])
    with pytest.raises(Corrupt, match=r"ends is int64 \(2,\), not int64 \(3\)"):
        open_texts(tmp_path, 3)
    (tmp_path / "words.safetensors").write_bytes(b"no such thing")
    with pytest.raises(Corrupt, match="index rollback"):
        open_texts(tmp_path, 2)


@given(st.lists(WORDS, max_size=12), st.data())
def test_words_of_items_that_no_longer_count_are_counted_as_at_once(
    names: list[list[str]], data
) -> None:
    rows = [word_keys(name) for name in names]
    keys = np.concatenate([np.zeros(0, np.uint32), *rows])
    table = Words(keys, *spans(np.cumsum([len(row) for row in rows], dtype=np.int64)))
    places = st.sets(st.integers(0, len(names) - 1)) if names else st.just(set())
    for dead in data.draw(st.lists(places, max_size=4)):  # more, fewer (a rollback), or others
        found = table.gone(np.array(sorted(dead), np.int64))
        expected = Counter(key for place in dead for key in rows[place].tolist())
        assert list(zip(*map(np.ndarray.tolist, found), strict=True)) == sorted(expected.items())
