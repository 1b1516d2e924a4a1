"""How many items have each value of an attribute, of the items of one type."""

from __future__ import annotations

from functools import cached_property

import numpy as np


class Tally:
    """The values of an attribute by row, so that those of any rows are counted at once."""

    def __init__(self, rows: np.ndarray, places: np.ndarray, size: int) -> None:
        """`rows`, `places`: int (m,), a row and the place of a value that it has, in any order;
        `size`: how many places there are."""
        order = np.argsort(rows, kind="stable")
        self._rows, self._places, self._size = rows[order], places[order], size

    def counts(self, rows: np.ndarray) -> np.ndarray:
        """int64 (size,): how many of rows int64 (m,), ascending, have each value."""
        if self._several:
            return np.bincount(self._of(rows)[1], minlength=self._size)
        shifted = self._first[self._known(rows)]
        return np.bincount(shifted, minlength=self._size + 1)[1:]

    def grouped(self, rows: np.ndarray, group: np.ndarray, groups: int) -> np.ndarray:
        """int64 (groups,): how many of the rows have a value of each group.

        Args:
            rows: int64 (m,), ascending.
            group: int (size,), the group of each value, -1 for none.
        """
        if not self._several:
            inside = group >= 0
            counts = self.counts(rows)[inside]
            return np.bincount(group[inside], counts, groups).astype(np.int64)
        at, places = self._of(rows)
        found = group[places]
        pairs = np.unique((at * groups + found)[found >= 0])  # one has several of a group
        return np.bincount(pairs % max(groups, 1), minlength=groups)

    @cached_property
    def _several(self) -> bool:
        return bool((self._rows[1:] == self._rows[:-1]).any())

    @cached_property
    def _first(self) -> np.ndarray:
        """int32 (n,): 1 + the place of each row's only value, 0 for none; the last has none."""
        first = np.zeros(int(self._rows.max(initial=-1)) + 2, np.int32)
        first[self._rows] = self._places + 1
        return first

    @cached_property
    def _starts(self) -> np.ndarray:
        """int64 (n + 1,): where the values of each row begin; the last row has none."""
        return np.searchsorted(self._rows, np.arange(int(self._rows.max(initial=-1)) + 3))

    def _known(self, rows: np.ndarray) -> np.ndarray:
        """The rows, with those beyond the last that has a value as the one after it."""
        last = int(self._rows.max(initial=-1)) + 1
        return np.minimum(rows, last) if len(rows) and rows[-1] > last else rows

    def _of(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """int64 (k,) positions in `rows`, ascending, and (k,) the place of a value of each."""
        rows = self._known(rows)
        first = self._starts[rows]
        counts = self._starts[rows + 1] - first
        at = np.repeat(np.arange(len(rows)), counts)
        before = np.cumsum(counts) - counts
        return at, self._places[np.repeat(first - before, counts) + np.arange(len(at))]
