"""The rows of items in several segments: those of a table that is sorted anew."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnisearch.indexer.parts.layout import layout_of


@given(
    segments=st.lists(st.sets(st.integers(0, 40)), min_size=1, max_size=4),
    more=st.lists(st.sets(st.integers(0, 40)), min_size=4, max_size=4),
)
def test_rows_are_those_of_what_is_alive_by_id(
    segments: list[set[int]], more: list[set[int]]
) -> None:
    """An item counts in the last segment that has it, unless it was deleted there."""
    ids = [sorted(f"item{number:02d}" for number in each) for each in segments]
    dead = []
    for number, keys in enumerate(ids):
        later = {key for each in ids[number + 1 :] for key in each}
        later |= {f"item{deleted:02d}" for deleted in more[number]}
        dead.append(np.array([at for at, key in enumerate(keys) if key in later], np.int64))
    layout = layout_of(ids, dead)
    wanted = sorted(
        (key, segment, place)
        for segment, keys in enumerate(ids)
        for place, key in enumerate(keys)
        if place not in dead[segment].tolist()
    )
    assert len(layout) == len(wanted)
    of, place = layout.where(np.arange(len(layout)))
    assert list(zip(layout.ids, of.tolist(), place.tolist(), strict=True)) == wanted
    for segment, rows in enumerate(layout.rows):
        where = {place: row for row, (_, of, place) in enumerate(wanted) if of == segment}
        assert rows.tolist() == [where.get(place, -1) for place in range(len(ids[segment]))]


def test_an_item_that_counts_twice_is_seen() -> None:
    none, first = np.zeros(0, np.int64), np.zeros(1, np.int64)
    for ids, dead in (
        ([["a", "b"], ["a"]], [none, none]),
        ([["a", "b"], ["a"], ["a"]], [first, none, none]),
        ([["a", "b"], ["c"], ["c"]], [none, none, none]),
    ):
        with pytest.raises(ValueError, match="two segments"):
            layout_of(ids, dead)


def test_what_an_earlier_layout_knows_is_used_again() -> None:
    """The second segment of the one is the third of the other."""
    none, first, second, third = np.zeros(0, np.int64), ["a", "c"], ["b", "c"], ["a", "d"]
    like = layout_of([first, second], [np.array([1]), none])
    ids, dead = [first, third, second], [np.array([0, 1]), none, none]
    found = layout_of(ids, dead, like)
    assert found.above[1] is like.above[0]
    alone = layout_of(ids, dead)
    assert found.ids == alone.ids and found.at.tolist() == alone.at.tolist()
    copied = layout_of([list(first), third, second], dead, like)
    assert copied.above[1] is not like.above[0] and copied.ids == alone.ids
