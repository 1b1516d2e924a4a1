"""Writing a space: vectors by row, and a graph that is rebuilt or updated."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import hnswlib
import numpy as np

from omnisearch.data.workspace.arrays import new_array
from omnisearch.indexer.parts.equal import NONE, Groups, find_pairs
from omnisearch.indexer.parts.hnsw_links import add_links
from omnisearch.indexer.parts.vectors import Space

# A graph is rebuilt if more than this share is new, changed or deleted: changing a vector costs
# more than adding one and leaves a slightly worse graph.
REBUILD_SHARE = 0.3

_ADD_AT_ONCE = 8192
_BLOCK = 32768

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
        index = _save_graph(index, path.with_suffix(".hnsw"), vectors)
    return Space(target, present, index, groups)


def _save_graph(index: hnswlib.Index, path: Path, vectors: np.ndarray) -> hnswlib.Index:
    """Save a graph, with links to what none led to; returns it as saved."""
    index.save_index(str(path))
    if path.stat().st_size != index.index_file_size():  # hnswlib does not look
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
    if not add_links(path, index.M, vectors):
        return index
    saved = hnswlib.Index("ip", vectors.shape[1])
    saved.load_index(str(path))
    return saved


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
