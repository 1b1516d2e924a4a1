"""How the words of a query and of items' names meet."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from indexer.table import Names, name_of, word_keys
from indexer.tokens import query_tokens, tokens

WORDS = st.lists(st.sampled_from(["copper", "sink", "bath", "銅", "red", "x"]), max_size=6)


@given(st.lists(WORDS, min_size=1, max_size=8), WORDS, st.data())
def test_shares_are_those_of_plain_sets(names: list[list[str]], asked: list[str], data) -> None:
    keys = [word_keys(name) for name in names]
    ends = np.cumsum([len(part) for part in keys])
    table = Names(np.concatenate(keys), np.concatenate(([0], ends)))
    rows = data.draw(st.lists(st.integers(0, len(names) - 1), max_size=12))
    share, cover = table.match(word_keys(asked), np.array(rows, dtype=np.int64))
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
    table = Names(keys, np.array([0, len(keys)]))
    share, cover = table.match(word_keys(query_tokens("a copper sink")), np.array([0]))
    assert share[0] == 1  # the stop word was left out of the query
    np.testing.assert_allclose(cover[0], 2 / 3)
    assert name_of({}) == ""
