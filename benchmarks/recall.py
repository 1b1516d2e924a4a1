"""Exact Recall@10 ranks over memory-mapped vectors, against the bare matrix product.

    python benchmarks/recall.py [--queries 8000] [--corpus 1500000] [--dim 256]

The paper's size is `--queries 80000`. Prints the time, the speed as a share of the bare matrix
product's in the same run, by wall clock and by processor seconds (which other programs affect
little), and the peak memory, including the mapped file. The ranks of some queries are checked
against a plain full product.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter, process_time

import numpy as np
from threadpoolctl import threadpool_limits

from omnisearch.evaluation.ranks import TIE, exact_ranks

CHECKED = 50
BLOCK = 4096  # side of the bare product, at which it is fastest
BARE_SECONDS = 5.0


def unit(random: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    rows = random.standard_normal(shape, dtype=np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def write_vectors(path: Path, rows: int, dim: int) -> np.ndarray:
    """A file of (rows, dim) float32 unit rows, mapped read-only."""
    random = np.random.default_rng(0)
    with path.open("wb") as file:
        for start in range(0, rows, 50_000):
            unit(random, (min(50_000, rows - start), dim)).tofile(file)
    return np.memmap(path, dtype=np.float32, mode="r", shape=(rows, dim))


def bare_rate(dim: int, seconds: float, clock: Callable[[], float] = perf_counter) -> float:
    """Multiply-adds per second of the bare matrix product, the best of several repeats."""
    random = np.random.default_rng(1)
    left, right = unit(random, (BLOCK, dim)), unit(random, (BLOCK, dim))
    out = np.empty((BLOCK, BLOCK), dtype=np.float32)
    best, ends = 0.0, perf_counter() + seconds
    while perf_counter() < ends:
        began = clock()
        for _ in range(10):
            np.matmul(left, right.T, out=out)
        best = max(best, 10 * BLOCK**2 * dim / (clock() - began))
    return best


def plain_ranks(queries: np.ndarray, targets: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    scores = queries @ vectors.T
    own = scores[np.arange(len(queries)), targets]
    return (scores >= own[:, None] - np.float32(TIE)).sum(axis=1)


def peak_memory() -> float:
    """Peak GiB of this process so far, including mapped files."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--queries", type=int, default=8000)
    parser.add_argument("--corpus", type=int, default=1_500_000)
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--bare-seconds", type=float, default=BARE_SECONDS)
    options = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        vectors = write_vectors(Path(folder) / "vectors", options.corpus, options.dim)
        random = np.random.default_rng(2)
        targets = random.integers(0, options.corpus, options.queries)
        noise = unit(random, (options.queries, options.dim))
        queries = vectors[targets] * np.float32(0.3) + noise
        queries /= np.linalg.norm(queries, axis=1, keepdims=True)
        before = bare_rate(options.dim, options.bare_seconds)
        with threadpool_limits(1):  # includes threads that wait for each other
            busy_bare = bare_rate(options.dim, options.bare_seconds, process_time)
        began, busy = perf_counter(), process_time()
        ranks = exact_ranks(queries, targets, vectors, np.arange(options.corpus))
        seconds, busy = perf_counter() - began, process_time() - busy
        after = bare_rate(options.dim, options.bare_seconds)
        memory = peak_memory()
        few = slice(0, min(CHECKED, options.queries))
        same = np.array_equal(ranks[few], plain_ranks(queries[few], targets[few], vectors))
    work = options.queries * options.corpus * options.dim
    rate = work / seconds
    bare = max(before, after)
    threads = os.environ.get("OMP_NUM_THREADS", "unset")
    print(f"{os.cpu_count()} cores, OMP_NUM_THREADS {threads}, load before {load:.1f}")
    print(f"{options.queries:,} queries, {options.corpus:,} vectors of {options.dim}")
    print(f"ranks equal those of the plain product on {len(ranks[few])} queries: {same}")
    print(f"Recall@10    {np.mean(ranks <= 10):.4f}")
    print(f"ranks        {seconds:8.1f} s  {2 * rate / 1e9:7.0f} GFLOP/s")
    print(f"bare product {2 * before / 1e9:7.0f} GFLOP/s before, {2 * after / 1e9:.0f} after")
    print(f"share of the bare product's speed {rate / bare:.0%}, ", end="")
    print(f"by processor seconds {work / busy / busy_bare:.0%}")
    print(f"peak memory  {memory:8.2f} GiB, {vectors.nbytes / 2**30:.2f} of it the mapped file")
    print(
        f"the paper's 80,000 queries among 1.5M of 256: {80_000 * 1.5e6 * 256 / rate / 60:.1f} min"
    )


if __name__ == "__main__":
    main()
