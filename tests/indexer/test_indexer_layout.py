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
    found = zip(layout.ids, layout.segment.tolist(), layout.place.tolist(), strict=True)
    assert list(found) == wanted
    for segment, rows in enumerate(layout.rows):
        where = {place: row for row, (_, of, place) in enumerate(wanted) if of == segment}
        assert rows.tolist() == [where.get(place, -1) for place in range(len(ids[segment]))]


def test_an_item_that_counts_twice_is_seen() -> None:
    """As by the number of rows, which the caller compares, or by an error."""
    none, first = np.zeros(0, np.int64), np.zeros(1, np.int64)
    twice = layout_of([["a", "b"], ["a"]], [none, none])
    assert twice.ids == ["a", "a", "b"] and len(twice.segment) == 3
    with pytest.raises(ValueError, match="two segments"):
        layout_of([["a", "b"], ["a"], ["a"]], [first, none, none])
