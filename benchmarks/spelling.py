"""Spelling: time and size of its file, and time for an unknown word against a scan of all words.

    python benchmarks/spelling.py [--words 500000]

Words are made up; each query is one of them with one letter changed.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

import numpy as np
from rapidfuzz import process
from rapidfuzz.distance import OSA

from omnisearch.indexer.parts.spelling_file import (
    SPELLING_FILE,
    keys_of,
    open_spelling,
    write_spelling,
)

LETTERS = "etaoinshrdlucmfwypvbgkjqxz"


def made_up(rng: np.random.Generator, words: int) -> dict[str, int]:
    """Words of 4 to 12 letters, with skewed letter frequencies, and each one's number of items."""
    weights = np.arange(len(LETTERS), 0, -1) / sum(range(len(LETTERS) + 1))
    found: dict[str, int] = {}
    while len(found) < words:
        for letters in rng.choice(list(LETTERS), (10_000, 12), p=weights):
            found["".join(letters[: rng.integers(4, 13)])] = int(rng.integers(1, 50))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--words", type=int, default=500_000)
    parser.add_argument("--queries", type=int, default=1_000)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    counts = made_up(rng, options.words)
    print(f"{os.cpu_count()} cores, one used; load average {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        start = time.perf_counter()
        write_spelling(folder, counts, keys_of([]))
        wrote = time.perf_counter() - start
        size = (folder / SPELLING_FILE).stat().st_size / 1e6
        start = time.perf_counter()
        spelling = open_spelling(folder)
        opened = time.perf_counter() - start
        print(f"{len(counts):,} words: written in {wrote:.1f} s, {size:.0f} MB, ", end="")
        print(f"opened in {1000 * opened:.0f} ms")
        every, taken, scanned = list(counts), [], []
        for word in rng.choice(every, options.queries):
            at = int(rng.integers(len(word)))
            typed = word[:at] + str(rng.choice(list(LETTERS))) + word[at + 1 :]
            start = time.perf_counter()
            spelling.replaced(typed)
            taken.append(time.perf_counter() - start)
            if len(scanned) < 100:
                start = time.perf_counter()
                process.extractOne(typed, every, scorer=OSA.distance, score_cutoff=1)
                scanned.append(time.perf_counter() - start)
    middle, slow = np.quantile(taken, (0.5, 0.99)) * 1e6
    ratio = np.median(scanned) / np.median(taken)
    print(f"a word: p50 {middle:.0f} µs, p99 {slow:.0f} µs; a scan of all words takes {ratio:.0f}x")


if __name__ == "__main__":
    main()
