"""Cached query embeddings in process: look-ups per second, against a plain dictionary of arrays.

    python benchmarks/query_cache.py [--entries 50000] [--dim 256] [--look-ups 1000000]

One thread, one core. Queries follow Zipf's law over the entries, as people type them: each text is
a new string object, half of them not normalised. Prints look-ups per second for batches of several
sizes and one by one, through `QueryCache.vectors` (which counts hits), and for a plain dictionary
from normalised text to array with `np.stack`; finally for reading entries that are only in the
SQLite file.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from omnisearch.data.text.normalise import normalise_query
from omnisearch.engine.query_embeddings.cache import QueryCache


class NoModel:
    """Fails on a cache miss: nothing may be encoded here."""

    checkpoint = "benchmark"

    def __init__(self, dim: int) -> None:
        self.dim = dim

    def queries(self, texts: Sequence[str], batch_size: int = 256) -> np.ndarray:
        raise AssertionError(f"{len(texts)} look-ups missed")


def stream(entries: int, count: int, exponent: float = 1.1) -> list[str]:
    random = np.random.default_rng(0)
    shares = np.arange(1, entries + 1) ** -exponent
    drawn = random.choice(entries, count, p=shares / shares.sum())
    raw = random.random(count) < 0.5
    return [
        f"Boho  Bedroom idea {row}" if odd else f"boho bedroom idea {row}"
        for row, odd in zip(drawn.tolist(), raw.tolist(), strict=True)
    ]


def rate(call: Callable[[list[str]], object], texts: list[str], size: int) -> float:
    parts = [texts[start : start + size] for start in range(0, len(texts), size)]
    start = time.perf_counter()
    for part in parts:
        call(part)
    return len(texts) / (time.perf_counter() - start)


def fresh(texts: list[str]) -> list[str]:
    """The same texts as new objects without cached hashes, as in a request."""
    return "\n".join(texts).split("\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--entries", type=int, default=50_000)
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--look-ups", type=int, default=1_000_000)
    options = parser.parse_args()
    vectors = np.random.default_rng(1).standard_normal(
        (options.entries, options.dim), dtype=np.float32
    )
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    keys = [f"boho bedroom idea {row}" for row in range(options.entries)]
    model = NoModel(options.dim)
    texts = stream(options.entries, options.look_ups)
    print(
        f"{options.entries:,} entries of {options.dim}; {os.cpu_count()} cores, one used; ", end=""
    )
    print(f"load average {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as folder:
        cache = QueryCache(Path(folder) / "cache.db", memory=2 * options.entries)
        cache.remember(model.checkpoint, keys, vectors)
        plain = dict(zip(keys, vectors, strict=True))

        def stacked(part: list[str]) -> np.ndarray:
            return np.stack([plain[normalise_query(text)] for text in part])

        some = texts[: max(1, len(texts) // 10)]
        for size in (1, 32, 1_000, 10_000):
            few = some if size == 1 else texts
            own = rate(lambda part: cache.vectors(model, part), fresh(few), size)
            first = rate(stacked, fresh(some), size)
            print(
                f"batches of {size:6,}: {own:12,.0f} look-ups/s; dictionary {first:11,.0f}; ",
                end="",
            )
            print(f"{own / first:5.1f}x")
        one = rate(lambda part: cache.remembered(model.checkpoint, part[0]), fresh(some), 1)
        print(f"one by one, memory only: {one:,.0f} look-ups/s")
        cache.share(model.checkpoint, keys, vectors)
        cache.close()
        cold = QueryCache(Path(folder) / "cache.db", memory=2 * options.entries)
        read = rate(lambda part: cold.vectors(model, part), fresh(keys), 1_000)
        print(f"cold, read from SQLite in batches of 1,000: {read:,.0f} look-ups/s")
        cold.close()


if __name__ == "__main__":
    main()
