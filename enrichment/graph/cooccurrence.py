"""Which items belong together: those of one board, and those that one query engaged."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from zlib import crc32

import numpy as np
import sqlite_utils

from omnisearch.data.catalogue.splits import SAVED_AT, Window, training_may_see
from omnisearch.encoders.models.ragged import offsets_of

HELD_BACK = 20  # one group in this many is for validation
# Actions that show that an item answers a query; a click alone is often an accident.
_TOLD = "'save', 'long_click', 'add_to_cart', 'checkout'"


@dataclass(frozen=True)
class Groups:
    """Groups of items, as edges sorted by group.

    Attributes:
        names: (g,) each group's board id or query.
        group, item: (e,) int64 numbers of groups and item rows.
    """

    names: list[str]
    group: np.ndarray
    item: np.ndarray

    def __len__(self) -> int:
        return len(self.names)

    @property
    def offsets(self) -> np.ndarray:
        """(g + 1,) int64: where each group's edges begin."""
        return offsets_of(np.bincount(self.group, minlength=len(self)))

    def keep(self, edges: np.ndarray) -> Groups:
        """Only the edges whose mask (e,) is true; groups keep their numbers."""
        return Groups(self.names, self.group[edges], self.item[edges])


def board_groups(
    db: sqlite_utils.Database, entity: str, ids: Sequence[str], window: Window
) -> Groups:
    """Boards, and the items saved to them in the window; saves without a time count as early."""
    cursor = db.conn.execute(
        "SELECT board_id, item_id FROM board_items WHERE entity = ? "
        f"AND {SAVED_AT} >= ? AND {SAVED_AT} < ? ORDER BY 1, 2",
        [entity, *window],
    )
    return group_edges(cursor, ids)


def query_groups(
    db: sqlite_utils.Database, entity: str, ids: Sequence[str], window: Window
) -> Groups:
    """Queries, and the items that they engaged in the window.

    Queries that a data set holds out are left out.
    """
    cursor = db.conn.execute(
        "SELECT query, item_id FROM engagements WHERE entity = ? "
        f"AND +time >= ? AND +time < ? AND action IN ({_TOLD}) AND {training_may_see('query')} "
        "GROUP BY 1, 2 ORDER BY 1, 2",
        [entity, *window],
    )
    return group_edges(cursor, ids)


def group_edges(pairs: Iterable[tuple[str, str]], ids: Sequence[str]) -> Groups:
    """Groups from (name, item id) sorted by name, without items that are not in `ids`."""
    row_of = {key: row for row, key in enumerate(ids)}
    number: dict[str, int] = {}
    groups, items = array("q"), array("q")
    for name, key in pairs:
        row = row_of.get(key)
        if row is not None:
            groups.append(number.setdefault(name, len(number)))
            items.append(row)
    return Groups(list(number), np.array(groups, dtype=np.int64), np.array(items, dtype=np.int64))


@dataclass(frozen=True)
class PairSource:
    """Draws pairs of different items of one group.

    An edge is drawn uniformly, then another item of its group. An item is second in proportion to
    its edges, whatever the groups' sizes, so P(second) is known exactly, for logQ.

    Attributes:
        log_share: (n,) float32 log P(item is second); very low if it has no group.
    """

    groups: Groups
    log_share: np.ndarray

    @classmethod
    def of(cls, groups: Groups, items: int) -> PairSource | None:
        """None if no group has two of the `items` items."""
        size = np.bincount(groups.group, minlength=len(groups))
        groups = groups.keep(size[groups.group] > 1)
        if not len(groups.item):
            return None
        share = np.bincount(groups.item, minlength=items) / len(groups.item)
        return cls(groups, _log_share(share))

    def draw(
        self, count: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(count,) int64 first items, second items, and group numbers."""
        offsets = self.groups.offsets
        first = rng.integers(len(self.groups.item), size=count)
        group = self.groups.group[first]
        start, size = offsets[group], offsets[group + 1] - offsets[group]
        second = start + (first - start + rng.integers(1, size)) % size
        return self.groups.item[first], self.groups.item[second], group


@dataclass(frozen=True)
class CrossSource:
    """Draws pairs of a first and a second item (of another entity type) of one group.

    An edge of the first kind is drawn uniformly, then an item of the second kind of its group.

    Attributes:
        first, second: groups with the same numbers, all with items of both kinds.
        log_share: (n,) float32 log P(second item); very low if it is never drawn.
    """

    first: Groups
    second: Groups
    log_share: np.ndarray

    @classmethod
    def of(cls, first: Groups, second: Groups, seconds: int) -> CrossSource | None:
        """None if the two share no group."""
        number = {name: at for at, name in enumerate(first.names)}
        places = np.array([number.get(name, -1) for name in second.names], dtype=np.int64)
        known = places[second.group] >= 0
        second = Groups(first.names, places[second.group[known]], second.item[known])
        order = np.argsort(second.group, kind="stable")
        second = Groups(first.names, second.group[order], second.item[order])
        size = np.bincount(second.group, minlength=len(first))
        first = first.keep(size[first.group] > 0)
        if not len(first.item):
            return None
        drawn = np.bincount(first.group, minlength=len(first)) / np.maximum(size, 1)
        share = np.bincount(second.item, weights=drawn[second.group], minlength=seconds)
        return cls(first, second, _log_share(share / len(first.item)))

    def draw(
        self, count: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(count,) int64 first items, second items, and group numbers."""
        offsets = self.second.offsets
        edge = rng.integers(len(self.first.item), size=count)
        group = self.first.group[edge]
        place = rng.integers(offsets[group], offsets[group + 1])
        return self.first.item[edge], self.second.item[place], group


def hold_out_groups(groups: Groups) -> tuple[Groups, Groups]:
    """Groups to train on, and about one in HELD_BACK for validation, chosen by name."""
    chosen = np.array([crc32(f"held {name}".encode("utf-8", "replace")) for name in groups.names])
    back = (chosen % HELD_BACK == 0)[groups.group] if len(groups) else np.zeros(0, dtype=bool)
    return groups.keep(~back), groups.keep(back)


def _log_share(share: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(share, 1e-12)).astype(np.float32)
