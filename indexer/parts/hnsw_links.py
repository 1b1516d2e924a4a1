"""Links to elements of an hnswlib file that hardly any link leads to.

Of the neighbours of an element, hnswlib keeps those that are nearer to it than to each other. Where
many vectors are alike and one is in their middle, all keep their link to that one, which has room
for few: the others are in the graph, and no search comes to them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from omnisearch.indexer.parts.hnsw_file import HEADER

_LINKS = 8  # an element of random vectors has more


def add_links(path: Path, M: int, vectors: np.ndarray) -> bool:
    """Give each element of the ground level up to 8 links from elements near it that have room.

    Args:
        path: of a file that hnswlib wrote, with M links per element.
        vectors: float32 (n, d), by label.

    Returns:
        Whether there was one to add.
    """
    content = np.memmap(path, np.uint8, "r+")
    count = int(content[: HEADER.itemsize].view(HEADER)[0]["count"])
    room, size = 2 * M, 4 * vectors.shape[1]
    stride = 4 + 4 * room + size + 8
    stored = np.ndarray((count, 1 + room), "<u4", content, HEADER.itemsize, (stride, 4))
    labels = np.ndarray(count, "<u8", content, HEADER.itemsize + stride - 8, (stride,))
    lists, rows = stored[:, 1:].astype(np.int64), labels.astype(np.int64)
    many, live = (stored[:, 0] & 0xFFFF).astype(np.int64), stored[:, 0] >> 16 == 0
    led = np.bincount(lists[np.arange(room) < many[:, None]], minlength=count)
    added = False
    for least in range(1, _LINKS + 1):  # all get one before any gets two
        for element in np.flatnonzero((led < least) & live).tolist():
            from_ = _nearest_with_room(element, lists, many, live, vectors, rows)
            if from_ is None:
                continue
            lists[from_, many[from_]] = stored[from_, 1 + many[from_]] = element
            stored[from_, 0] += 1
            many[from_] += 1
            led[element] += 1
            added = True
    content.flush()
    return added


def _nearest_with_room(
    element: int,
    lists: np.ndarray,
    many: np.ndarray,
    live: np.ndarray,
    vectors: np.ndarray,
    rows: np.ndarray,
) -> int | None:
    """Of an element's neighbours and theirs, the nearest that can take a link to it."""
    own = lists[element, : many[element]].tolist()
    near = np.unique(np.concatenate([lists[each, : many[each]] for each in [element, *own]]))
    near = near[(many[near] < lists.shape[1]) & live[near] & (near != element)]
    near = near[~(lists[near] == element).any(axis=1)]
    if not len(near):
        return None
    return int(near[np.argmax(vectors[rows[near]] @ vectors[rows[element]])])
