"""Candidates: one columnar table of the results of all sources for a query.

Row i of every column belongs to candidate i. Candidates are distinct and ordered by (entity, row);
an absent score is NaN. There are no Python objects per candidate.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from omnisearch.data.catalogue.schema import ITEM_ENTITIES
from omnisearch.engine.index import Items, SourceResult
from omnisearch.engine.sources import Source

_ENTITY_SHIFT = 48


@dataclass
class Candidates(Items):
    """The merged table.

    Attributes:
        columns: name → float array of n values: `<source>_score` and `<source>_rank` (1 is the
            best) of each source, then whatever later stages add.
    """

    columns: dict[str, np.ndarray] = field(default_factory=dict)

    def find(self, entity: str, row: int) -> int:
        """The position of an item; -1 if it is no candidate."""
        part = self.part(entity)
        at = part.start + int(np.searchsorted(self.row[part], row))
        return at if at < part.stop and self.row[at] == row else -1

    def best_of(self, sources: Iterable[Source], column: str) -> np.ndarray:
        """Float32 (n,): each candidate's best `score` or `rank` in these sources, or NaN."""
        better = np.fmin if column == "rank" else np.fmax
        found = np.full(len(self), np.nan, np.float32)
        for source in sources:
            part, values = self.part(source.entity), self.columns.get(f"{source.name}_{column}")
            if values is not None:
                found[part] = better(found[part], values[part])
        return found


def merge(results: Mapping[str, SourceResult]) -> Candidates:
    """One table from results by source name: each item once, with every score and rank."""
    keys = [
        (ITEM_ENTITIES.index(result.entity) << _ENTITY_SHIFT) + result.rows
        for result in results.values()
    ]
    every = np.concatenate(keys) if keys else np.zeros(0, np.int64)
    unique, where = np.unique(every, return_inverse=True)
    sizes = [len(result.rows) for result in results.values()]
    source = np.repeat(np.arange(len(sizes)), sizes)
    scores, ranks = np.full((2, len(sizes), len(unique)), np.nan, np.float32)
    columns: dict[str, np.ndarray] = {}
    for at, name in enumerate(results):
        columns |= {f"{name}_score": scores[at], f"{name}_rank": ranks[at]}
    if results:
        scores[source, where] = np.concatenate([result.scores for result in results.values()])
        ranks[source, where] = np.concatenate([np.arange(1, size + 1) for size in sizes])
    return Candidates(
        entity=(unique >> _ENTITY_SHIFT).astype(np.uint8),
        row=unique & ((1 << _ENTITY_SHIFT) - 1),
        columns=columns,
    )


def best_first(scores: np.ndarray) -> np.ndarray:
    """The order by (score descending, entity, row) of candidates in (entity, row) order.

    Absent (NaN) scores come last.
    """
    return np.argsort(-scores, kind="stable")


def by_signal(sources: Iterable[Source]) -> dict[str, list[Source]]:
    """Signal → its sources, whose scores are comparable and give one ranking together."""
    groups: dict[str, list[Source]] = {}
    for source in sources:
        groups.setdefault(source.signal, []).append(source)
    return groups


def rrf(candidates: Candidates, sources: Iterable[Source], k: int = 60) -> np.ndarray:
    """Reciprocal rank fusion: float32 (n,), the sum of 1 / (k + rank) over the signals' rankings.

    A signal's ranking is of pins and products together by score: the feed of this signal alone.
    Candidates that no source returned get 0.
    """
    total = np.zeros(len(candidates), np.float32)
    for group in by_signal(sources).values():
        scores = candidates.best_of(group, "score")
        order = best_first(scores)
        returned = int(np.count_nonzero(~np.isnan(scores)))
        ranks = np.arange(1, returned + 1, dtype=np.float32)
        total[order[:returned]] += 1.0 / (k + ranks)
    return total
