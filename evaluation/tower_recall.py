"""Recall@10 of a query tower on engaged pairs, over the item vectors of a generation.

Decides whether a smaller form of the tower (int8) may serve: both forms are measured on the same
pairs and items, and only the query's vector differs. Training pairs favour neither form, so pairs
of the whole log are used: detecting a small loss needs many.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from omnisearch.evaluation.ranks import exact_ranks

K = 10
_TOGETHER = 64  # queries per batch, the largest batch gathered while serving
_CORPUS = 100_000


class Tower(Protocol):
    def queries(self, texts: Sequence[str], batch_size: int = 256) -> np.ndarray: ...


def tower_recall(
    generation: Any, pairs: Mapping[str, pa.Table], corpus: int = _CORPUS
) -> Callable[[Tower], dict[str, np.ndarray]] | None:
    """A measure of towers: kind of pairs, such as 'pin/save' → (n,) bool, which were found.

    Args:
        generation: an open generation of the tower's checkpoint.
        pairs: as sampled by `omnisearch.data.catalogue.pairs.window_pairs`.
        corpus: number of random entities each pair's entity is ranked among; all if there are
            fewer.

    Returns:
        None if no pair's item has a vector.
    """
    asked: dict[str, tuple[list[str], np.ndarray, np.ndarray | None, Any]] = {}
    for name, table in pairs.items():
        entity = name.split("/")[0]
        space = generation.spaces.get((entity, "learned"))
        if space is None:
            continue
        row_of = generation.tables[entity].row_of
        texts = table["query"].to_pylist()
        targets = np.array([row_of.get(key, -1) for key in table["item_id"].to_pylist()], np.int64)
        known = np.flatnonzero(targets >= 0)
        # Related queries are ranked among the others: a query does not suggest itself.
        own = np.array([row_of.get(text, -1) for text in texts], np.int64)
        skip = own[known] if entity == "query" else None
        if len(known):
            asked[name] = ([texts[at] for at in known.tolist()], targets[known], skip, space)
    if not asked:
        return None

    def measure(tower: Tower) -> dict[str, np.ndarray]:
        texts = sorted({text for some, *_ in asked.values() for text in some})
        place = {text: row for row, text in enumerate(texts)}
        vectors = tower.queries(texts, _TOGETHER)
        found = {}
        for name, (some, targets, skip, space) in asked.items():
            queries = vectors[[place[text] for text in some]]
            items = np.asarray(space.vectors)
            there = np.random.default_rng(0).permutation(np.flatnonzero(items.any(axis=1)))
            among = np.sort(there[:corpus])
            found[name] = exact_ranks(queries, targets, items, among, skip) <= K
        return found

    return measure
