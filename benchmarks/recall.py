"""Exact Recall@10 ranks in blocks, beside the bare matrix product and the plain full product.

    python benchmarks/recall.py [--queries 4000] [--corpus 100000] [--dim 256]

Prints pairs of a query and an entity scored per second, the overhead over the matrix product
alone in the same blocks, and the peak memory beside that of the plain way.
"""

from __future__ import annotations

import argparse
import tracemalloc
from collections.abc import Callable
from time import perf_counter

import numpy as np

from evaluation.recall import ENTITIES_AT_ONCE, QUERIES_AT_ONCE, TIE, exact_ranks


def unit(random: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    rows = random.standard_normal(shape, dtype=np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def products_only(queries: np.ndarray, vectors: np.ndarray) -> None:
    for start in range(0, len(vectors), ENTITIES_AT_ONCE):
        block = vectors[start : start + ENTITIES_AT_ONCE].T
        for first in range(0, len(queries), QUERIES_AT_ONCE):
            queries[first : first + QUERIES_AT_ONCE] @ block


def plain_ranks(queries: np.ndarray, targets: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    scores = queries @ vectors.T
    own = scores[np.arange(len(queries)), targets]
    return (scores >= own[:, None] - np.float32(TIE)).sum(axis=1)


def timed(call: Callable[[], object], repeats: int = 3) -> float:
    best = float("inf")
    for _ in range(repeats):
        start = perf_counter()
        call()
        best = min(best, perf_counter() - start)
    return best


def peak(call: Callable[[], object]) -> float:
    tracemalloc.start()
    call()
    size = tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    return size


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--queries", type=int, default=4000)
    parser.add_argument("--corpus", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=256)
    options = parser.parse_args()
    random = np.random.default_rng(0)
    vectors = unit(random, (options.corpus, options.dim))
    targets = random.integers(0, options.corpus, options.queries)
    noise = unit(random, (options.queries, options.dim))
    queries = vectors[targets] * np.float32(0.3) + noise
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    corpus = np.arange(options.corpus)

    mine = exact_ranks(queries, targets, vectors, corpus)
    few = slice(0, min(500, options.queries))
    same = np.array_equal(mine[few], plain_ranks(queries[few], targets[few], vectors))
    blocked = timed(lambda: exact_ranks(queries, targets, vectors, corpus))
    bare = timed(lambda: products_only(queries, vectors))
    plain = timed(lambda: plain_ranks(queries[few], targets[few], vectors))
    plain *= options.queries / len(mine[few])
    scored = options.queries * options.corpus
    print(f"ranks equal those of the plain product on {len(mine[few])} queries: {same}")
    print(f"Recall@10 {np.mean(mine <= 10):.3f} over {options.corpus:,} entities")
    print(f"blocked   {blocked:7.2f} s   {scored / blocked / 1e6:9,.0f} M scores/s")
    print(f"product   {bare:7.2f} s   overhead of counting {blocked / bare - 1:+.0%}")
    print(f"plain     {plain:7.2f} s   (from {len(mine[few])} queries) {plain / blocked:.1f} x")
    memory = peak(lambda: exact_ranks(queries, targets, vectors, corpus))
    whole = peak(lambda: plain_ranks(queries[few], targets[few], vectors))
    print(
        f"memory    {memory:.0f} MiB for {options.queries} queries; plain {whole:.0f} MiB for 500"
    )
    print(
        f"the paper's 80,000 pairs among 1.5M: {80_000 * 1.5e6 / (scored / blocked) / 60:.0f} min"
    )


if __name__ == "__main__":
    main()
