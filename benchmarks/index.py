"""The indexer's overhead over the underlying libraries, on one synthetic corpus.

    python benchmarks/index.py [--rows 100000] [--dim 256]

Prints the cores and sizes, then: search in a space against the bare hnswlib call (with and without
a filter), filtered against exact search at several shares, recall against exact search, token
search in tantivy against rank-bm25, and the times to build, update and open. Last, the same space
with half of its rows replaced by copies: the share of items that their own vectors find.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from time import perf_counter
from typing import Any
from zlib import crc32

import numpy as np
import sqlite_utils

from omnisearch.data.catalogue.schema import open_catalogue
from omnisearch.data.text.tokens import query_tokens
from omnisearch.data.workspace import Workspace
from omnisearch.indexer.build import build
from omnisearch.indexer.generation import Generation
from omnisearch.indexer.parts.recall import item_recall_of
from omnisearch.indexer.parts.token_index import TokenIndex
from omnisearch.indexer.parts.tokens import open_tokens
from omnisearch.indexer.parts.vectors import Space
from omnisearch.indexer.parts.vectors_write import GraphOptions, write_space
from omnisearch.indexer.update import update

K = 100
EF = 150
FILTERED = (0.5, 0.1, 0.01, 0.001)
COPIES = (2, 500)
REFERENCE_QUERIES = 20  # few, since rank-bm25 is slow


class Vectors:
    """A fake encoder: item i gets row i of a mixture of many narrow clusters."""

    checkpoint = "benchmark0000000"
    name = "benchmark"
    feature_dims: Mapping[str, int] = {}
    compat_spaces: Mapping[str, str] = {}

    def __init__(self, rows: int, dim: int) -> None:
        random = np.random.default_rng(0)
        centres = random.standard_normal((max(rows // 50, 1), dim), dtype=np.float32)
        vectors = centres[random.integers(0, len(centres), rows)]
        vectors += 0.7 * random.standard_normal((rows, dim), dtype=np.float32)
        self.vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        self.dim = dim

    def copy_to(self, target: Path) -> None:
        target.mkdir()
        (target / "encoder.txt").write_text(self.checkpoint)

    def words(self) -> list[str]:
        return []

    def queries(self, texts: list[str]) -> np.ndarray:
        # A number is an item's row; a build also asks for other texts, to measure its floor.
        rows = [int(text) if text.isdecimal() else crc32(text.encode()) for text in texts]
        return self.near([row % len(self.vectors) for row in rows])

    def items(self, items: list[dict[str, Any]], features: object) -> np.ndarray:
        return self.vectors[[int(item["id"]) for item in items]]

    def compat(self, space: str, vectors: np.ndarray) -> np.ndarray:
        return vectors

    def near(self, rows: list[int]) -> np.ndarray:
        """Queries: other points near those rows."""
        noise = np.random.default_rng(1).standard_normal((len(rows), self.dim), dtype=np.float32)
        found = self.vectors[rows] + 0.5 * noise / np.sqrt(np.float32(self.dim))
        return found / np.linalg.norm(found, axis=1, keepdims=True)


def fill(db: sqlite_utils.Database, rows: int) -> list[str]:
    """A catalogue of titles of 4 to 15 words, Zipf-distributed; returns some queries."""
    random = np.random.default_rng(2)
    lengths = random.integers(4, 16, rows)
    words = np.minimum(random.zipf(1.2, int(lengths.sum())), 60_000)
    starts = np.concatenate(([0], np.cumsum(lengths)))
    titles = [
        " ".join(f"word{word}" for word in words[start:stop]) for start, stop in pairwise(starts)
    ]
    with db.conn:
        db.conn.executemany(
            "INSERT INTO pins (id, title) VALUES (?, ?)",
            ((f"{row:08}", title) for row, title in enumerate(titles)),
        )
        db.conn.executemany(
            "INSERT INTO queries (id, text) VALUES (?, ?)",
            ((f"{row:08}", str(row)) for row in range(0, rows, max(rows // 1000, 1))),
        )
    chosen = random.integers(0, rows, 300)
    return [" ".join(random.choice(titles[row].split(), 3)) for row in chosen]


def median_us(call: Callable[[int], object], n: int) -> float:
    """The median time of n calls, in microseconds."""
    times = []
    for turn in range(n):
        start = perf_counter()
        call(turn)
        times.append(perf_counter() - start)
    return statistics.median(times) * 1e6


def ratio(one: Callable[[int], object], other: Callable[[int], object], n: int) -> float:
    """The ratio of the median times of two alternating calls, so that other load affects both.

    Each turn begins with an untimed call, so that both find the same data in the caches.
    """
    times: tuple[list[float], list[float]] = ([], [])
    for turn in range(n):
        other(turn)
        for which in (0, 1) if turn % 2 else (1, 0):
            call = (one, other)[which]
            start = perf_counter()
            call(turn)
            times[which].append(perf_counter() - start)
    return statistics.median(times[0]) / statistics.median(times[1])


def dense(space: Space, queries: np.ndarray, ids: list[str]) -> None:
    n = len(queries)
    space.index.set_ef(EF)
    print(f"dense, k {K}, ef {EF}: bare hnswlib {median_us(bare(space, queries), n):.0f} us")
    compare(space, queries, ids, None)
    random = np.random.default_rng(3)
    for share in FILTERED:
        allowed = random.random(len(space.present)) < share
        took = median_us(lambda turn: space.search(queries[turn % n], K, EF, allowed), n)  # noqa: B023
        print(f"  a filter that keeps {share:.1%}, {allowed.sum():,} items: {took:.0f} us")
        compare(space, queries, ids, allowed)


def bare(
    space: Space, queries: np.ndarray, allowed: np.ndarray | None = None
) -> Callable[[int], object]:
    accept = None if allowed is None else allowed.tobytes().__getitem__
    knn, k = space.index.knn_query, K if allowed is None else min(K, int(allowed.sum()))
    return lambda turn: knn(queries[turn % len(queries)], k, num_threads=1, filter=accept)


def compare(space: Space, queries: np.ndarray, ids: list[str], allowed: np.ndarray | None) -> None:
    """Overhead with rows and cosines only, with the ids of a page of 20, and with all ids."""
    n = len(queries)

    def found(turn: int, shown: int) -> object:
        rows, cosines = space.search(queries[turn % n], K, EF, allowed)
        return list(map(ids.__getitem__, rows[:shown].tolist())), cosines

    one = bare(space, queries, allowed)
    try:
        over = [
            f"{ratio(lambda turn: found(turn, shown), one, 2 * n) - 1:+.1%} with {shown} ids"  # noqa: B023
            for shown in (0, 20, K)
        ]
        print(f"    over the same call of hnswlib: {', '.join(over)}")
    except RuntimeError:
        print("    the same call of hnswlib finds fewer than are asked for, and fails")
    print(f"    {recall_of(space, queries, allowed)}")


def recall_of(space: Space, queries: np.ndarray, allowed: np.ndarray | None = None) -> str:
    shares = []
    for query in queries[:50]:
        found = set(space.search(query, K, EF, allowed)[0].tolist())
        exact = set(space.exact(query, K, allowed)[0].tolist())
        shares.append(len(found & exact) / max(1, len(exact)))
    return f"recall@{K} {statistics.mean(shares):.4f}"


def duplicates(vectors: np.ndarray, ids: list[str], queries: np.ndarray) -> None:
    """Half of the rows, drawn at random, are copies in groups of one size."""
    n = len(vectors)
    chosen = np.random.default_rng(5).permutation(n)[: n // 2]
    for size in COPIES:
        copied = vectors.copy()
        copied[chosen] = vectors[np.repeat(chosen[::size], size)[: len(chosen)]]
        with tempfile.TemporaryDirectory() as folder:
            start = perf_counter()
            space = write_space(
                Path(folder) / "copied.npy",
                copied,
                GraphOptions(M=16, ef_construction=150),
                lambda items: None,
            )
            took = perf_counter() - start
            measured = item_recall_of(space, ids, EF) or {}
            each = median_us(lambda turn: space.search(queries[turn], K, EF), len(queries))  # noqa: B023
        print(
            f"half of the rows copies in groups of {size}: graph {took:.2f} s, "
            f"search {each:.0f} us, item recall {measured['recall']:.4f}"
        )


def token(indexes: tuple[TokenIndex, TokenIndex], texts: list[str], rows: int) -> None:
    serving, reference = indexes
    n = len(texts)
    terms = list(map(query_tokens, texts))

    def search(index: TokenIndex, k: int, allowed: np.ndarray | None = None) -> Callable:
        return lambda turn: index.search(terms[turn % n], k, allowed)

    for k in (10, 150, 500):
        print(f"tokens, k {k}: tantivy {median_us(search(serving, k), n):.0f} us")
    for share in FILTERED:
        allowed = np.random.default_rng(3).random(rows) < share
        took = median_us(search(serving, 150, allowed), n)
        print(f"  k 150, filter that keeps {share:.0%}: {took:.0f} us")
    slow = median_us(search(reference, 10), REFERENCE_QUERIES)
    times = slow / median_us(search(serving, 10), n)
    print(f"  rank-bm25, k 10: {slow / 1000:.1f} ms, {times:.0f} times tantivy's")
    same = 0
    for asked in terms[:REFERENCE_QUERIES]:
        one, other = serving.search(asked, 10)[1], reference.search(asked, 10)[1]
        same += bool(len(one) == len(other) and np.allclose(one, other, rtol=1e-4))
    print(f"  the same ten best scores: {same} of {REFERENCE_QUERIES} queries")


def timed(what: str, call: Callable[[], object]) -> None:
    start = perf_counter()
    call()
    print(f"{what}: {perf_counter() - start:.2f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=256)
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    print(f"{options.rows} items, {options.dim} dimensions")
    with tempfile.TemporaryDirectory() as root:
        workspace = Workspace.create(Path(root))
        db = open_catalogue(workspace.catalogue, create=True)
        texts = fill(db, options.rows)
        encoder = Vectors(options.rows, options.dim)
        timed("build", lambda: build(workspace, db, encoder))
        generation = Generation.open(workspace)
        timed("update, nothing changed", lambda: update(workspace, db, encoder))
        with db.conn:
            db.conn.execute("DELETE FROM pins WHERE id LIKE '%77'")
            db.conn.execute("UPDATE pins SET title = title || ' word1' WHERE id LIKE '%33'")
        timed("update, 1% deleted and 1% changed", lambda: update(workspace, db, encoder))
        timed("open and verify", lambda: Generation.open(workspace))
        timed("open, hashes left out", lambda: Generation.open(workspace, verify=False))
        for says in generation.manifest["spaces"]:
            print(f"measured recall, {says['entity']}: {says['recall']}")
            print(f"  of items: {says['item_recall']}")
        random = np.random.default_rng(4)
        queries = encoder.near(random.integers(0, options.rows, 200).tolist())
        dense(generation.spaces["pin", "learned"], queries, generation.tables["pin"].ids)
        folder = workspace.generations / str(generation.number) / "pin"
        reference = open_tokens(folder, options.rows, "rank-bm25")
        duplicates(encoder.vectors, generation.tables["pin"].ids, queries)
        token((generation.tokens["pin"], reference), texts, options.rows)


if __name__ == "__main__":
    main()
