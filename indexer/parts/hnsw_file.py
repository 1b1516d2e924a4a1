"""Checking an hnswlib file before hnswlib reads it: the library trusts every number in it.

The layout (hnswlib 0.8, little endian): a header; then for each element its neighbours on the
ground level, its vector and its label; then for each element the size of its upper levels' lists
and the lists. A list is a count (16 bit), flags (bit 16: deleted), and room for its neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from omnisearch.data.workspace.reading import reading
from omnisearch.indexer.parts import REBUILD

HEADER = np.dtype(
    [
        ("level0_offset", "<u8"),
        ("max_elements", "<u8"),
        ("count", "<u8"),
        ("element_bytes", "<u8"),
        ("label_offset", "<u8"),
        ("vector_offset", "<u8"),
        ("max_level", "<i4"),
        ("entry", "<u4"),
        ("max_links", "<u8"),
        ("max_links0", "<u8"),
        ("M", "<u8"),
        ("mult", "<f8"),
        ("ef_construction", "<u8"),
    ]
)
_MAX_LEVEL = 64
_BLOCK = 65536


@dataclass(frozen=True)
class Expected:
    """What the manifest says of a file.

    Attributes:
        dim: size of the vectors; rows: labels are below it; M: links per element.
    """

    dim: int
    rows: int
    M: int


def check_hnsw_file(path: Path, expected: Expected) -> int:
    """The number of elements in the file, if hnswlib can safely load and search it.

    Raises:
        Corrupt: a size, label, level or neighbour is out of bounds; it says which.
    """
    with reading("The HNSW file", path, REBUILD):
        return _check(np.memmap(path, dtype=np.uint8, mode="r"), expected)


def check_graph_vectors(
    path: Path, expected: Expected, vectors: np.ndarray, in_graph: np.ndarray
) -> None:
    """Check that a file that `check_hnsw_file` accepts has the vectors (n, d) of these rows (n,).

    Raises:
        Corrupt: an element that is not deleted differs, or a row is missing.
    """
    with reading("The HNSW file", path, REBUILD):
        content = np.asarray(np.memmap(path, dtype=np.uint8, mode="r"))
        count = int(content[: HEADER.itemsize].view(HEADER)[0]["count"])
        links, size = 4 + 8 * expected.M, 4 * expected.dim

        def column(offset: int, dtype: str, width: int, step: int) -> np.ndarray:
            start, stride = HEADER.itemsize + offset, links + size + 8
            return np.ndarray((count, width), dtype, content.data, start, (stride, step))

        live = (column(2, "<u1", 1, 1)[:, 0] & 1) == 0
        labels = column(links + size, "<u8", 1, 8)[:, 0].astype(np.int64)
        _need(np.array_equal(np.sort(labels[live]), np.flatnonzero(in_graph)), "a row is missing")
        stored = column(links, "<f4", expected.dim, 4)
        for start in range(0, count, _BLOCK // 8):
            part = slice(start, start + _BLOCK // 8)
            same = (stored[part] == np.take(vectors, labels[part], axis=0)).all(axis=1)
            _need((same | ~live[part]).all(), "its vectors differ from the stored ones")


def _need(holds: bool | np.bool_, what: str) -> None:
    if not holds:
        raise ValueError(what)


def _check(content: np.ndarray, expected: Expected) -> int:
    _need(len(content) >= HEADER.itemsize, "incomplete header")
    header = {
        name: value.item()
        for name, value in zip(
            HEADER.names or (), content[: HEADER.itemsize].view(HEADER)[0], strict=True
        )
    }
    count, M = header["count"], expected.M
    links0_bytes = 4 + 8 * M
    element_bytes = links0_bytes + 4 * expected.dim + 8
    fixed = {
        "level0_offset": 0,
        "M": M,
        "max_links": M,
        "max_links0": 2 * M,
        "vector_offset": links0_bytes,
        "label_offset": links0_bytes + 4 * expected.dim,
        "element_bytes": element_bytes,
    }
    for name, value in fixed.items():
        _need(header[name] == value, f"{name} is {header[name]}, not {value}")
    _need(1 <= count <= expected.rows, f"{count} elements for {expected.rows} rows")
    _need(header["max_elements"] >= count, "capacity below the number of elements")
    _need(0 <= header["max_level"] <= _MAX_LEVEL, f"level {header['max_level']}")
    _need(header["entry"] < count, "entry point out of bounds")
    # hnswlib draws an element's level as -log(random) * mult.
    _need(0 < header["mult"] <= 2 and 1 <= header["ef_construction"] <= 1_000_000, "parameters")
    start, stop = HEADER.itemsize, HEADER.itemsize + count * element_bytes
    _need(len(content) >= stop + 4 * count, "shorter than its elements")
    elements = content[start:stop].reshape(count, element_bytes)
    for first in range(0, count, _BLOCK):
        _neighbours(elements[first : first + _BLOCK, :links0_bytes], 2 * M, count)
    labels = np.ascontiguousarray(elements[:, -8:]).view("<u8")[:, 0]
    _need((labels < expected.rows).all(), "label out of bounds")
    _need(len(np.unique(labels)) == count, "duplicate label")
    _check_upper(content[stop:], header, count)
    return count


def _neighbours(lists: np.ndarray, most: int, count: int) -> np.ndarray:
    """All neighbours in lists (m, bytes), checked: at most `most` per list, and below `count`."""
    words = np.ascontiguousarray(lists).view("<u4")
    lengths = words[:, 0] & 0xFFFF
    _need((lengths <= most).all(), "a list longer than its capacity")
    found = words[:, 1:][np.arange(most) < lengths[:, None]]
    _need((found < count).all(), "neighbour out of bounds")
    return found


def _check_upper(tail: np.ndarray, header: dict, count: int) -> None:
    """Check that the upper levels fill the file and that neighbours are on their level."""
    _need(len(tail) % 4 == 0, "upper levels of odd size")
    words = tail.view("<u4") if tail.flags.aligned else np.frombuffer(tail.tobytes(), "<u4")
    M = header["max_links"]
    list_words = M + 1
    levels = np.zeros(count, dtype=np.int64)
    starts = np.zeros(count, dtype=np.int64)
    # Most elements have no upper level and only a zero here: hop from one size to the next.
    nonzero = np.flatnonzero(words)
    element = position = 0
    while element < count:
        at = np.searchsorted(nonzero, position)
        zeros = (int(nonzero[at]) if at < len(nonzero) else len(words)) - position
        element += zeros
        position += zeros
        if element >= count:
            position -= element - count
            break
        _need(position < len(words), "shorter than its upper levels")
        size = int(words[position])
        _need(size % (4 * list_words) == 0, "an upper list of odd size")
        levels[element] = size // (4 * list_words)
        starts[element] = position + 1
        position += 1 + size // 4
        _need(position <= len(words), "an upper list beyond the end")
        element += 1
    _need(position == len(words), "bytes after the last list")
    _need(int(levels.max()) == header["max_level"], "highest level differs from the header")
    _need(levels[header["entry"]] == header["max_level"], "entry point below the highest level")
    for level in range(1, header["max_level"] + 1):
        there = np.flatnonzero(levels >= level)
        first = starts[there] + (level - 1) * list_words
        lists = words[first[:, None] + np.arange(list_words)]
        found = _neighbours(lists.view(np.uint8), M, count)
        _need((levels[found] >= level).all(), "a neighbour that is not on the level")
