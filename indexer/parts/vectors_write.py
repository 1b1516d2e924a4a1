"""Writing a space: vectors by row, and a graph that is rebuilt or updated."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hnswlib
import numpy as np

from omnisearch.data.workspace.arrays import new_array
from omnisearch.indexer.parts.equal import NONE, Groups, find_pairs
from omnisearch.indexer.parts.vectors import Space

# A graph is rebuilt if more than this share is new, changed or deleted: changing a vector costs
# more than adding one and leaves a slightly worse graph.
REBUILD_SHARE = 0.3

_ADD_AT_ONCE = 8192
_BLOCK = 32768
_RECALL_SAMPLE = 200
_RECALL_K = 10

Step = Callable[[int], None]  # called with the number of further items done


@dataclass(frozen=True)
class GraphOptions:
    """M: links per element; ef_construction: breadth of the search for them."""

    M: int
    ef_construction: int


def write_space(
    path: Path,
    signals: tuple[np.ndarray, np.ndarray, int],
    options: GraphOptions,
    old: Space | None,
    step: Step,
) -> Space:
    """Write `<space>.npy`, `<space>-present.npy`, `<space>-groups.npy` and `<space>.hnsw`.

    Args:
        path: of the vectors' file.
        signals: float32 (m, d) vectors, int64 (m,) their rows, and n, the number of rows.
        old: the same space of the base generation. Its graph is changed in place, so the caller
            must own it.
    """
    target, present = _scatter(path, *signals)
    vectors = np.asarray(target)
    changed = None
    if old is not None and old.index is not None and _same_form(old, options, vectors):
        changed = _changed_graph(old, old.index, (vectors, present), step)
    index, groups = changed or _new_graph(vectors, present, options, step)
    np.save(path.with_name(f"{path.stem}-present.npy"), present)
    np.save(path.with_name(f"{path.stem}-groups.npy"), groups.pairs())
    if index is not None:
        _save_graph(index, path.with_suffix(".hnsw"))
    return Space(target, present, index, groups)


def _save_graph(index: hnswlib.Index, path: Path) -> None:
    index.save_index(str(path))
    if path.stat().st_size != index.index_file_size():  # hnswlib does not look
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def _scatter(
    path: Path, vectors: np.ndarray, places: np.ndarray, rows: int
) -> tuple[np.ndarray, np.ndarray]:
    target = new_array(path, np.float32, (rows, vectors.shape[1]))
    present = np.zeros(rows, dtype=bool)
    for start in range(0, len(places), _BLOCK):
        part = slice(start, start + _BLOCK)
        block = np.asarray(vectors[part])
        target[places[part]] = block
        present[places[part]] = block.any(axis=1)
    target.flush()
    return target, present


def _new_graph(
    vectors: np.ndarray, present: np.ndarray, options: GraphOptions, step: Step
) -> tuple[hnswlib.Index | None, Groups]:
    """A graph over the rows that are present, built on all cores, and its groups; without rows,
    None."""
    rows = np.flatnonzero(present)
    if not len(rows):
        return None, NONE
    groups = Groups.of(find_pairs(vectors, rows, rows[:0]))
    step(len(groups.members))
    rows = np.flatnonzero(groups.leaders_of(present))
    index = hnswlib.Index("ip", vectors.shape[1])
    index.init_index(len(rows), M=options.M, ef_construction=options.ef_construction)
    _add(index, vectors, rows, step)
    return index, groups


def _changed_graph(
    old: Space, index: hnswlib.Index, target: tuple[np.ndarray, np.ndarray], step: Step
) -> tuple[hnswlib.Index, Groups] | None:
    """The old graph and groups with the differences applied; None if there are too many.

    Leaders and members that did not change stay what they are. A changed row, and a member whose
    leader changed, join a group or become a leader.
    """
    vectors, present = target
    before = np.zeros(len(present), dtype=bool)
    before[: len(old.present)] = old.present
    differs = ~before
    for start in range(0, len(old.present), _BLOCK):
        part = slice(start, min(start + _BLOCK, len(old.present)))
        differs[part] |= (old.vectors[part] != vectors[part]).any(axis=1)
    same = present & ~differs
    pairs = old.groups.pairs()
    led = old.groups.leaders_of(before)
    pairs = pairs[same[pairs].all(axis=1)]
    kept = same & led
    loose = present & ~kept
    loose[pairs[:, 0]] = False
    joined = find_pairs(vectors, np.flatnonzero(loose), np.flatnonzero(kept))
    groups = Groups.of(np.concatenate((pairs, joined)))
    leads = groups.leaders_of(present)
    added, removed = np.flatnonzero(leads & ~kept), np.flatnonzero(led & ~leads)
    known = set(index.get_ids_list())
    size = len(known) + sum(1 for row in added.tolist() if row not in known)
    live = int(np.count_nonzero(leads))
    if len(added) > REBUILD_SHARE * live or size - live > REBUILD_SHARE * size:
        return None
    index.resize_index(size)
    _add(index, vectors, added, step)
    for row in removed.tolist():
        index.mark_deleted(row)
    return index, groups


def _same_form(old: Space, options: GraphOptions, vectors: np.ndarray) -> bool:
    index = old.index
    return (
        index is not None
        and (index.M, index.ef_construction) == (options.M, options.ef_construction)
        and old.dim == vectors.shape[1]
    )


def _add(index: hnswlib.Index, vectors: np.ndarray, rows: np.ndarray, step: Step) -> None:
    # Threads race for places in the graph, so that each build finds slightly other items. A few
    # rows take one thread a second or two, and then the same catalogue gives the same results.
    threads = 1 if len(rows) <= _ADD_AT_ONCE else -1
    # In the order of rows, which is that of ids, alike items would come together, and what lies
    # beyond them would be found less often.
    rows = np.random.default_rng(0).permutation(rows)
    for start in range(0, len(rows), _ADD_AT_ONCE):
        part = rows[start : start + _ADD_AT_ONCE]
        index.add_items(vectors[part], part, threads)
        step(len(part))


def recall_of(space: Space, queries: np.ndarray, ef: int) -> dict[str, Any] | None:
    """Measured recall of the graph against exact search, for the manifest.

    The sample is drawn from the indexed queries, or from the space's own vectors if there are none.
    None for an empty space.
    """
    sample = np.asarray(queries)
    source = "queries"
    if not len(sample):
        sample, source = space.vectors[np.flatnonzero(space.present)], "items"
    chosen = np.random.default_rng(0).permutation(len(sample))[:_RECALL_SAMPLE]
    value = measure_recall(space, sample[np.sort(chosen)], _RECALL_K, ef)
    if value is None:
        return None
    k = min(_RECALL_K, space.count)
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
