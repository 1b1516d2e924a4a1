"""Rows of unequal length stored as two flat arrays."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Ragged:
    """Row i is `flat[offsets[i]:offsets[i + 1]]`.

    Attributes:
        flat: (nnz,) int64.
        offsets: (n + 1,) int64, starting with 0.
    """

    flat: np.ndarray
    offsets: np.ndarray

    @classmethod
    def of(cls, rows: Sequence[Sequence[int]]) -> Ragged:
        """From a list of rows."""
        lengths = np.fromiter((len(row) for row in rows), dtype=np.int64, count=len(rows))
        offsets = offsets_of(lengths)
        values = (value for row in rows for value in row)
        return cls(np.fromiter(values, dtype=np.int64, count=int(offsets[-1])), offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> np.ndarray:
        """(n,) int64."""
        return np.diff(self.offsets)

    @property
    def row_of(self) -> np.ndarray:
        """(nnz,) int64: the row of each entry."""
        return np.repeat(np.arange(len(self)), self.lengths)

    def positions(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The positions in `flat` of the entries of `rows`, in order, and the rows' offsets."""
        lengths = self.offsets[rows + 1] - self.offsets[rows]
        offsets = offsets_of(lengths)
        shift = np.repeat(self.offsets[rows] - offsets[:-1], lengths)
        return shift + np.arange(offsets[-1]), offsets

    def take(self, rows: np.ndarray) -> Ragged:
        """The given rows, in that order."""
        where, offsets = self.positions(rows)
        return Ragged(self.flat[where], offsets)

    def keep(self, mask: np.ndarray) -> Ragged:
        """Keep only entries where `mask` (nnz,) is true; rows may become empty."""
        kept = offsets_of(mask.astype(np.int64))[self.offsets]
        return Ragged(self.flat[mask], kept)

    def compact(self, universe: int) -> tuple[Ragged, np.ndarray]:
        """The rows with values renumbered from 0, and the distinct values, ascending.

        `universe` is greater than every value.
        """
        seen = np.zeros(universe, dtype=bool)
        seen[self.flat] = True
        values = np.flatnonzero(seen)
        number = np.empty(universe, dtype=np.int64)
        number[values] = np.arange(len(values))
        return Ragged(number[self.flat], self.offsets), values

    def transposed(self, columns: int) -> Ragged:
        """Row j lists the rows that contain the value j, once per occurrence."""
        from scipy.sparse import csr_matrix  # only training needs it

        ones = np.ones(len(self.flat), dtype=np.int8)
        matrix = csr_matrix((ones, self.flat, self.offsets), shape=(len(self), columns)).tocsc()
        return Ragged(matrix.indices.astype(np.int64), matrix.indptr.astype(np.int64))


def offsets_of(lengths: np.ndarray) -> np.ndarray:
    """(n + 1,) int64 running sums, starting at 0."""
    offsets = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


class Growing:
    """A Ragged to append rows to; `frozen` copies only the rows added since the last call."""

    def __init__(self) -> None:
        self._rows: list[Sequence[int]] = []
        self._frozen = Ragged(np.zeros(0, np.int64), np.zeros(1, np.int64))
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def append(self, row: Sequence[int]) -> int:
        """Add a row; returns its number."""
        self._rows.append(row)
        self._count += 1
        return self._count - 1

    @property
    def frozen(self) -> Ragged:
        if self._rows:
            self._frozen = concatenate((self._frozen, Ragged.of(self._rows)))
            self._rows = []
        return self._frozen


def concatenate(parts: Iterable[Ragged]) -> Ragged:
    """The rows of all parts, concatenated."""
    parts = list(parts)
    flat = np.concatenate([part.flat for part in parts])
    return Ragged(flat, offsets_of(np.concatenate([part.lengths for part in parts])))
