"""How the items of several segments lie in one table: rows in the order of ids, as of one segment.

Whatever the segments are, a generation's rows are those that a build from scratch gives the same
items, so that nothing above the indexes knows of segments, and equal scores come in the same order.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, pairwise
from typing import Any, overload

import numpy as np


@dataclass(frozen=True, eq=False)
class _Above:
    """Where the items of a later segment come among those of the first, by far the largest.

    Attributes:
        spots: int64 (m,), the place in `first` of each of `ids`, or that before which it would be.
        again: bool (m,), which of them the first segment has too.
    """

    first: Sequence[str]
    ids: Sequence[str]
    spots: np.ndarray
    again: np.ndarray


@dataclass(frozen=True, eq=False)
class Layout:
    """The rows of one entity type's items in a generation of s segments.

    Attributes:
        ids: the n ids by row, ascending.
        at: int64 (n,), where each row's item is among the places of all segments, one segment after
            the other.
        rows: of each segment int64 (m,), the row of each place; -1 if the item there is replaced
            or deleted.
        above: of each segment but the first.
    """

    ids: Sequence[str]
    at: np.ndarray
    rows: tuple[np.ndarray, ...]
    above: tuple[_Above, ...]

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def _ends(self) -> np.ndarray:
        return np.cumsum([len(rows) for rows in self.rows])

    @cached_property
    def dead(self) -> tuple[np.ndarray, ...]:
        """Of each segment int64: the places of items that are replaced or deleted, ascending."""
        return tuple(np.flatnonzero(rows < 0) for rows in self.rows)

    def where(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of rows int64 (m,): the segment of each, and its place there."""
        at = self.at[rows]
        segment = np.searchsorted(self._ends, at, side="right")
        return segment, at - np.append(0, self._ends)[segment]

    def split(self, rows: np.ndarray) -> list[tuple[int, np.ndarray, np.ndarray]]:
        """Of rows int64 (m,): each segment that has some, which of the m, and their places."""
        of, place = self.where(rows)
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


class Ids(Sequence[str]):
    """The ids by row, read where they are asked for: a list of a million takes 25 ms to copy."""

    def __init__(self, first: Sequence[str], more: list[str], at: np.ndarray) -> None:
        """first: of the first segment. more: of all later ones. at: see `Layout`."""
        self._first, self._more, self._at = first, more, at

    def __len__(self) -> int:
        return len(self._at)

    @overload
    def __getitem__(self, row: int) -> str: ...
    @overload
    def __getitem__(self, row: slice) -> list[str]: ...
    def __getitem__(self, row: int | slice) -> str | list[str]:
        if isinstance(row, slice):
            return list(map(self._id, self._at[row].tolist()))
        return self._id(int(self._at[row]))

    def __iter__(self) -> Iterator[str]:
        return map(self._id, self._at.tolist())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]  # as of a list

    def _id(self, at: int) -> str:
        n = len(self._first)
        return self._first[at] if at < n else self._more[at - n]


class Gathered:
    """A column by row, of the segments' columns, put together where it is read.

    There may be millions of rows, and an update of a few is opened several times a second.
    """

    def __init__(self, columns: Sequence[np.ndarray], layout: Layout) -> None:
        self._first, self._layout = columns[0], layout
        self._more = np.concatenate([columns[0][:0], *columns[1:]])

    def __len__(self) -> int:
        return len(self._layout)

    def __getitem__(self, rows: Any) -> Any:
        """What the column has at a row, or at rows int64 (m,)."""
        return picked(self._first, self._more, self._layout.at[rows])

    @cached_property
    def whole(self) -> np.ndarray:
        """All of it."""
        return picked(self._first, self._more, self._layout.at)


Rows = np.ndarray | Gathered


def whole(column: Rows) -> np.ndarray:
    """All of a column."""
    return column.whole if isinstance(column, Gathered) else column


def picked(first: np.ndarray, more: np.ndarray, at: np.ndarray) -> np.ndarray:
    """The values at some places of two arrays, one after the other, which are not joined."""
    if not len(first):
        return more[at]
    found = np.take(first, at, mode="clip")
    if not found.ndim:
        return found if at < len(first) else more[at - len(first)]
    later = np.flatnonzero(at >= len(first))
    if len(later):
        found[later] = more[at[later] - len(first)]
    return found


def layout_of(
    ids: Sequence[Sequence[str]], dead: Sequence[np.ndarray], like: Layout | None = None
) -> Layout:
    """Lay out segments; an id is alive in one of them at most.

    Args:
        ids: of each segment, ascending.
        dead: of each segment int64, ascending: the places of items that are replaced or deleted.
        like: an earlier layout: what it knows of the same lists of ids is not worked out again.

    Raises ValueError if that does not fit.
    """
    first, starts = ids[0], np.cumsum([0, *map(len, ids)])
    above = tuple(_above(first, keys, like) for keys in ids[1:])
    alive = [
        np.delete(np.arange(len(part.ids)), gone)
        for part, gone in zip(above, dead[1:], strict=True)
    ]
    each, none = list(zip(above, alive, strict=True)), np.zeros(0, np.int64)
    spots = np.concatenate([none, *(part.spots[kept] for part, kept in each)])
    places = np.concatenate(
        [none, *(start + kept for start, kept in zip(starts[1:-1], alive, strict=True))]
    )
    again = np.concatenate([none > 0, *(part.again[kept] for part, kept in each)])
    gone = np.zeros(len(first), bool)
    gone[dead[0]] = True
    if not gone[spots[again]].all() or len(np.unique(spots[again])) < np.count_nonzero(again):
        raise ValueError("an item counts in two segments")
    at = np.arange(len(first))
    at[spots[again]] = places[again]
    gone[spots[again]] = False
    left_out, new = np.flatnonzero(gone), np.flatnonzero(~again)
    by_row: Sequence[str] = first
    if len(new) or len(left_out):
        every = list(chain.from_iterable(ids[1:]))
        keys = [every[place - len(first)] for place in places[new].tolist()]
        order = sorted(range(len(new)), key=keys.__getitem__)
        new, keys = new[order], [keys[which] for which in order]
        if any(one == other for one, other in pairwise(keys)):
            raise ValueError("an item counts in two segments")
        at = np.insert(at, spots[new], places[new])
        at = np.delete(at, left_out + np.searchsorted(spots[new], left_out, side="right"))
        by_row = Ids(first, every, at)
    rows = np.full(starts[-1], -1)
    rows[at] = np.arange(len(at))
    return Layout(by_row, at, tuple(np.split(rows, starts[1:-1])), above)


def _above(first: Sequence[str], ids: Sequence[str], like: Layout | None) -> _Above:
    for known in like.above if like else ():
        if known.first is first and known.ids is ids:
            return known
    spots = [bisect_left(first, key) for key in ids]
    again = [spot < len(first) and first[spot] == key for spot, key in zip(spots, ids, strict=True)]
    return _Above(first, ids, np.array(spots, np.int64), np.array(again, bool))
