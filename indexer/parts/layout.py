"""How the items of several segments lie in one table: rows in the order of ids, as of one segment.

Whatever the segments are, a generation's rows are those that a build from scratch gives the same
items, so that nothing above the indexes knows of segments, and equal scores come in the same order.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True, eq=False)
class Layout:
    """The rows of one entity type's items in a generation of s segments.

    Attributes:
        ids: the n ids by row, ascending.
        segment, place: int64 (n,), in which segment a row's item lies, and its place there.
        rows: of each segment int64 (m,), the row of each place; -1 if the item there is replaced
            or deleted.
    """

    ids: list[str]
    segment: np.ndarray
    place: np.ndarray
    rows: tuple[np.ndarray, ...]

    def __len__(self) -> int:
        return len(self.ids)

    def gathered(self, columns: Sequence[np.ndarray]) -> np.ndarray:
        """The column by row, of the segments' columns."""
        return np.take(np.concatenate(columns), self._places)

    @cached_property
    def _places(self) -> np.ndarray:
        """int64 (n,): where each row is in the segments' columns, one after the other."""
        starts = np.cumsum([0, *map(len, self.rows)])[:-1]
        return starts[self.segment] + self.place

    def split(self, rows: np.ndarray) -> list[tuple[int, np.ndarray, np.ndarray]]:
        """Of rows int64 (m,): each segment that has some, which of the m, and their places."""
        of, place = self.segment[rows], self.place[rows]
        found = []
        for segment in range(len(self.rows)):
            which = np.flatnonzero(of == segment)
            if len(which):
                found.append((segment, which, place[which]))
        return found

    def alive(self, segment: int, allowed: np.ndarray | None) -> np.ndarray:
        """bool (places of the segment,): which items still count, and of these the allowed ones."""
        rows = self.rows[segment]
        if allowed is None or not len(allowed):
            return rows >= 0
        return (rows >= 0) & allowed[rows]


def layout_of(ids: Sequence[list[str]], dead: Sequence[np.ndarray]) -> Layout:
    """Lay out segments; an id is alive in one of them at most.

    Args:
        ids: of each segment, ascending.
        dead: of each segment int64, the places of items that are replaced or deleted.

    Raises ValueError if that does not fit; not always: the caller knows how many there must be.
    """
    alive = [np.ones(len(keys), bool) for keys in ids]
    for kept, places in zip(alive, dead, strict=True):
        kept[places] = False
    first, rest = ids[0], range(1, len(ids))
    added = sorted(
        (ids[segment][place], segment, place)
        for segment in rest
        for place in np.flatnonzero(alive[segment]).tolist()
    )
    # Where the others' items come between those of the first segment, by far the largest.
    at = np.array([bisect_left(first, key) for key, _, _ in added], np.int64)
    before = np.concatenate(([0], np.cumsum(alive[0])))
    new = before[at] + np.arange(len(added))
    n = int(before[-1]) + len(added)
    segment, place = np.zeros(n, np.int64), np.zeros(n, np.int64)
    segment[new] = [number for _, number, _ in added]
    place[new] = [spot for _, _, spot in added]
    old = np.ones(n, bool)
    old[new] = False
    place[old] = np.flatnonzero(alive[0])
    rows = tuple(np.full(len(keys), -1, np.int64) for keys in ids)
    for number in range(len(ids)):
        mine = np.flatnonzero(segment == number)
        rows[number][place[mine]] = mine
    keys = _merged(first, dead[0].tolist(), [key for key, _, _ in added], at.tolist())
    if len(keys) != n:
        raise ValueError("an item counts in two segments")
    return Layout(keys, segment, place, rows)


def _merged(first: list[str], dead: list[int], added: list[str], at: list[int]) -> list[str]:
    """The ids by row, copied in slices: there may be millions, and few changes.

    Args:
        dead: places of `first` that are left out, or are there again in `added`.
        at: the place before which each of `added` comes.
    """
    new, left_out = list(zip(at, added, strict=True)), set(dead)
    again = {place for place, key in new if place in left_out and first[place] == key}
    changes = sorted(
        [(place, False, key) for place, key in new if place not in again or first[place] != key]
        + [(place, True, "") for place in dead if place not in again]
    )
    if not changes:
        return first
    merged: list[str] = []
    done = 0
    for place, is_dead, key in changes:
        merged += first[done:place]
        done = max(done, place)
        if is_dead:
            done = place + 1
        else:
            merged.append(key)
    return merged + first[done:]
