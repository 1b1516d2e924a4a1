"""The words of several segments, against counting the words of the items that still count."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from omnisearch.data.text.keys import word_keys
from omnisearch.indexer.parts.layout import layout_of
from omnisearch.indexer.parts.words import open_texts, stacked_texts, write_texts

LINE = st.lists(st.sampled_from(["a", "b", "c", "d", "e"]), max_size=4).map(" ".join)
# The words of an item by its id, segment by segment; later segments replace items of earlier ones.
SEGMENTS = st.lists(st.dictionaries(st.integers(0, 9), LINE), min_size=1, max_size=4)


@given(SEGMENTS, st.sets(st.integers(0, 9)))
def test_the_words_of_segments_are_those_of_the_items_that_count(
    segments: list[dict[int, str]], deleted: set[int]
) -> None:
    ids = [sorted(f"i{number}" for number in lines) for lines in segments]
    last = {key: at for at, keys in enumerate(ids) for key in keys}
    gone = {f"i{number}" for number in deleted}
    dead = [
        np.array([n for n, key in enumerate(keys) if key in gone or last[key] != at], np.int64)
        for at, keys in enumerate(ids)
    ]
    layout = layout_of(ids, dead)
    with TemporaryDirectory() as scratch:
        parts = []
        for lines, keys in zip(segments, ids, strict=True):
            write_texts(Path(scratch), [lines[int(key[1:])] for key in keys])
            parts.append(open_texts(Path(scratch), len(keys)))
    found = stacked_texts(parts, layout)

    text_of = {key: segments[last[key]][int(key[1:])] for key in last if key not in gone}
    assert layout.ids == sorted(text_of)
    words = [word_keys(text_of[key].split()) for key in layout.ids]
    keys, lengths = found.of(np.arange(len(layout)))
    assert lengths.tolist() == [len(each) for each in words]
    assert keys.tolist() == [key for each in words for key in each.tolist()]
    counted = Counter(key for each in words for key in each.tolist())
    every = word_keys(
        [word for lines in segments for text in lines.values() for word in text.split()]
    )
    assert found.frequency(every).tolist() == [counted[key] for key in every.tolist()]
    assert found.size == sum(map(bool, map(len, words)))
