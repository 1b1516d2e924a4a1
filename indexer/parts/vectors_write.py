"""Writing a space: vectors by row, and their graph."""

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

_ADD_AT_ONCE = 8192
_BLOCK = 32768

Step = Callable[[int], None]  # called with the number of further items done


@dataclass(frozen=True)
class GraphOptions:
    """M: links per element; ef_construction: breadth of the search for them."""

    M: int
    ef_construction: int


def write_space(
    path: Path, vectors: np.ndarray, options: GraphOptions, step: Step, least: int = 1
) -> Space:
    """Write `<space>.npy`, `<space>-present.npy`, `<space>-groups.npy` and `<space>.hnsw`.

    Args:
        path: of the vectors' file.
        vectors: float32 (n, d), unit rows, or zeros for items without a vector.
        least: a graph is built for so many vectors or more; fewer are searched exactly.
    """
    target, present = _copied(path, vectors)
    index, groups = None, NONE
    if least <= np.count_nonzero(present):
        index, groups = _new_graph(np.asarray(target), present, options, step)
    else:
        step(len(present))
    np.save(path.with_name(f"{path.stem}-present.npy"), present)
    np.save(path.with_name(f"{path.stem}-groups.npy"), groups.pairs())
    if index is not None:
        index = _save_graph(index, path.with_suffix(".hnsw"), np.asarray(target))
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


def _copied(path: Path, vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    target = new_array(path, np.float32, vectors.shape)
    present = np.zeros(len(vectors), dtype=bool)
    for start in range(0, len(vectors), _BLOCK):
        part = slice(start, start + _BLOCK)
        target[part] = vectors[part]
        present[part] = target[part].any(axis=1)
    target.flush()
    return target, present


def _new_graph(
    vectors: np.ndarray, present: np.ndarray, options: GraphOptions, step: Step
) -> tuple[hnswlib.Index, Groups]:
    """A graph over the rows that are present, built on all cores, and its groups."""
    rows = np.flatnonzero(present)
    groups = Groups.of(find_pairs(vectors, rows, rows[:0]))
    step(len(groups.members))
    rows = np.flatnonzero(groups.leaders_of(present))
    index = hnswlib.Index("ip", vectors.shape[1])
    index.init_index(len(rows), M=options.M, ef_construction=options.ef_construction)
    _add(index, vectors, rows, step)
    return index, groups


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
