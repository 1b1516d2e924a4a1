"""Rows: the position of each item in every part of a generation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Rows:
    """The row of each item.

    Attributes:
        ids: the ids by row, deleted ones included.
        deleted: bool (n,).
    """

    ids: list[str]
    deleted: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)

    def live_ids(self) -> list[str]:
        """The ids that are not deleted, by row."""
        return [self.ids[row] for row in np.flatnonzero(~self.deleted).tolist()]

    def row_of(self) -> dict[str, int]:
        """The row of each id, deleted ones included."""
        return {key: row for row, key in enumerate(self.ids)}


def assign_rows(ids: list[str], base: Sequence[str] = ()) -> Rows:
    """Every id's row: as in `base` (the ids of an older generation by row), then new ids.

    An id of the base that is not in `ids` keeps its row and is marked deleted; if it returns later,
    it gets the same row.
    """
    known, live = set(base), set(ids)
    every = [*base, *(key for key in ids if key not in known)]
    deleted = np.fromiter((key not in live for key in every), bool, len(every))
    return Rows(every, deleted)
