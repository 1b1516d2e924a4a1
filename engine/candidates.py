"""Candidates: one columnar table of what all sources returned for a query.

Row i of every column belongs to candidate i. Candidates are ordered by (entity, row), each is
there once, and an absent score is NaN. No Python object exists per candidate.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from omnisearch.data.catalogue.schema import ITEM_ENTITIES
from omnisearch.ranker.l1 import UNLEARNED

KINDS = ("token", "learned", "compat")  # what a source searches with
_ENTITY_SHIFT = 48


@dataclass(frozen=True)
class Found:
    """What one source returned, best first.

    Attributes:
        entity: 'pin' or 'product'; kind: one of KINDS.
        rows: int64 (m,) rows of the entity's table; scores: float32 (m,) cosines or BM25.
    """

    entity: str
    kind: str
    rows: np.ndarray
    scores: np.ndarray


@dataclass
class Candidates:
    """The merged table.

    Attributes:
        entity: uint8 (n,), 0 pin and 1 product: the position in ITEM_ENTITIES.
        row: int64 (n,), the item's row in its entity's table.
        columns: name → float array of n values: `<kind>_score` and `<kind>_rank` (1 is the best)
            for each kind of KINDS, then whatever later stages add.
    """

    entity: np.ndarray
    row: np.ndarray
    columns: dict[str, np.ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.row)

    @property
    def pins(self) -> int:
        """How many candidates are pins; they come first."""
        return int(np.searchsorted(self.entity, 1))

    def part(self, entity: str) -> slice:
        """Where the candidates of an entity type stand."""
        return slice(0, self.pins) if entity == ITEM_ENTITIES[0] else slice(self.pins, len(self))

    def take(self, where: np.ndarray) -> Candidates:
        """Those candidates, in that order. Only the order (entity, row) keeps `part` meaningful."""
        columns = {name: column[where] for name, column in self.columns.items()}
        return Candidates(self.entity[where], self.row[where], columns)


def merge(found: Iterable[Found]) -> Candidates:
    """One table of all sources' results, each item once, every source's score and rank kept."""
    found = list(found)
    keys = [(ITEM_ENTITIES.index(part.entity) << _ENTITY_SHIFT) + part.rows for part in found]
    every = np.concatenate(keys) if keys else np.zeros(0, np.int64)
    unique, where = np.unique(every, return_inverse=True)
    n = len(unique)
    columns = {
        f"{kind}_{name}": np.full(n, np.nan, np.float32)
        for kind in KINDS
        for name in ("score", "rank")
    }
    start = 0
    for part in found:
        stop = start + len(part.rows)
        rows = where[start:stop]
        columns[f"{part.kind}_score"][rows] = part.scores
        columns[f"{part.kind}_rank"][rows] = np.arange(1, len(rows) + 1, dtype=np.float32)
        start = stop
    return Candidates(
        entity=(unique >> _ENTITY_SHIFT).astype(np.uint8),
        row=unique & ((1 << _ENTITY_SHIFT) - 1),
        columns=columns,
    )


def best_first(scores: np.ndarray) -> np.ndarray:
    """The order by (score descending, entity, row) of candidates that stand in (entity, row) order.

    Absent (NaN) scores come last.
    """
    return np.argsort(-scores, kind="stable")


def rrf(candidates: Candidates, kinds: Iterable[str], k: int = 60) -> np.ndarray:
    """Reciprocal rank fusion: float32 (n,), the sum of 1 / (k + rank) over the kinds' rankings.

    A kind's ranking is of pins and products together by score: the feed that this kind alone
    would show. Candidates that no kind returned get 0.
    """
    total = np.zeros(len(candidates), np.float32)
    for kind in kinds:
        order = best_first(candidates.columns[f"{kind}_score"])
        returned = int(np.count_nonzero(~np.isnan(candidates.columns[f"{kind}_score"])))
        ranks = np.arange(1, returned + 1, dtype=np.float32)
        total[order[:returned]] += 1.0 / (k + ranks)
    return total


def unlearned(candidates: Candidates) -> np.ndarray:
    """The order where no ranker is trained: float32 (n,), a weighted sum of UNLEARNED.

    A sum keeps what the fusion of ranks throws away: by how much a result is better (Bruch et al.,
    2023).

    Args:
        candidates: with the columns of UNLEARNED; what is not known counts as 0.
    """
    total = np.zeros(len(candidates), np.float32)
    for name, weight in UNLEARNED.items():
        total += np.float32(weight) * np.nan_to_num(candidates.columns[name])
    return total
