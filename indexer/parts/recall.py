"""Measuring the graph of a space: what queries find, and whether items find themselves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from omnisearch.indexer.parts.vectors import Space

# Below this share of items that find themselves, the builder is told.
ITEM_RECALL = 0.98

_QUERIES = 200
_ITEMS = 500
_K = 10
_BLOCK = 32768
_EXAMPLES = 3
_ALIKE = 0.99  # a cosine
_MANY = 100  # so many alike items fill what a search visits
_SAME = 1e-5  # vectors whose cosines differ less are one to the graph (`parts.equal`)


def recall_of(space: Space, queries: np.ndarray, ef: int) -> dict[str, Any] | None:
    """Measured recall of the graph against exact search, for the manifest.

    The sample is drawn from the indexed queries, or from the space's own vectors if there are none.
    None for an empty space.
    """
    sample = np.asarray(queries)
    source = "queries"
    if not len(sample):
        sample, source = space.vectors[np.flatnonzero(space.present)], "items"
    chosen = np.random.default_rng(0).permutation(len(sample))[:_QUERIES]
    value = measure_recall(space, sample[np.sort(chosen)], _K, ef)
    if value is None:
        return None
    k = min(_K, space.count)
    return {"recall": value, "k": k, "ef": ef, "sample": len(chosen), "of": source}


def measure_recall(space: Space, queries: np.ndarray, k: int, ef: int) -> float | None:
    """The share of the exact top k that `search` finds, over unit queries (m, d).

    Another row that scores as high as the exact k-th also counts. None if there is nothing to find.
    """
    k = min(k, space.count)
    if k == 0 or not len(queries):
        return None
    thresholds = _exact_kth(space, queries, k) - 1e-6
    hits = 0
    for query, threshold in zip(queries, thresholds, strict=True):
        _, found = space.search(query, k, ef)
        hits += int(np.count_nonzero(found >= threshold))
    return hits / (k * len(queries))


def _exact_kth(space: Space, queries: np.ndarray, k: int) -> np.ndarray:
    """Float32 (m,): the k-th highest cosine of each query with the present vectors."""
    best = np.full((len(queries), k), -np.inf, dtype=np.float32)
    for start in range(0, len(space.vectors), _BLOCK):
        part = slice(start, start + _BLOCK)
        scores = queries @ space.vectors[part].T
        scores[:, ~space.present[part]] = -np.inf
        both = np.concatenate((best, scores), axis=1)
        best = np.partition(both, both.shape[1] - k, axis=1)[:, -k:]
    return best.min(axis=1)


def item_recall_of(space: Space, ids: Sequence[str], ef: int) -> dict[str, Any] | None:
    """Whether items are found by their own vectors, for the manifest; None for an empty space.

    An item is found if it is among the first results, or if their best is as near as itself.

    Args:
        ids: by row.

    Returns:
        recall, k, ef and sample; `missed`: some ids of items that are not found; and `alike`, null
        if none is missed: of the items missed and what was found instead, `example` has the most
        items like it (a cosine of 0.99), which number `items`.
    """
    rows = np.flatnonzero(space.present)
    if not len(rows):
        return None
    rows = np.sort(np.random.default_rng(0).permutation(rows)[:_ITEMS])
    missed: dict[int, int] = {}  # row → what was found instead
    for row in rows.tolist():
        vector = np.array(space.vectors[row])
        found, cosines = space.search(vector, _K, ef)
        if row not in found and cosines[0] < vector @ vector - _SAME:
            missed[row] = int(found[0])
    return {
        "recall": 1 - len(missed) / len(rows),
        "k": min(_K, space.count),
        "ef": ef,
        "sample": len(rows),
        "missed": [ids[row] for row in list(missed)[:_EXAMPLES]],
        "alike": _most_alike(space, missed, ids) if missed else None,
    }


def _most_alike(space: Space, missed: dict[int, int], ids: Sequence[str]) -> dict[str, Any]:
    """Of the rows, the one with the most rows like it."""
    rows = np.unique([*missed.keys(), *missed.values()])
    wanted = space.vectors[rows].T
    many = np.zeros(len(rows), dtype=np.int64)
    for start in range(0, len(space.vectors), _BLOCK):
        many += (space.vectors[start : start + _BLOCK] @ wanted >= _ALIKE).sum(axis=0)
    return {"items": int(many.max()), "example": ids[rows[many.argmax()]]}


def recall_sentences(spaces: Sequence[dict[str, Any]]) -> list[str]:
    """What to tell of the spaces of a manifest in which items do not find themselves."""
    told = []
    for says in spaces:
        measured = says["item_recall"]
        if measured is None or measured["recall"] >= ITEM_RECALL:
            continue
        entity, alike = says["entity"], measured["alike"]
        what = {"pin": "pins", "product": "products", "query": "queries"}[entity]
        lost = round((1 - measured["recall"]) * measured["sample"])
        told.append(
            f"Of {measured['sample']:,} {what} tried in the space {says['space']}, {lost:,} are "
            f"not found by their own vector, for example {measured['missed'][0]!r}. "
            + (
                f"{alike['items']:,} {what} are nearly alike there, for example "
                f"{alike['example']!r}, and hide others: remove copies, give them texts that tell "
                "them apart, or "
                if alike["items"] >= _MANY
                else "To find more, "
            )
            + "raise `ef_construction` and `m` under [index] and build again."
        )
    return told
