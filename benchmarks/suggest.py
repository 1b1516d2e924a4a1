"""Suggestions: time and memory of an index of texts, and whether the text that is meant is found.

    python benchmarks/suggest.py [--entries 500000] [--pins 20000]

The texts are the queries and titles of a sample world, and as many made of their words as are
missing. What is typed is the first half of a text, as it is and with one typo in a word of four
letters and more (not its first letter). Times are of calls one after the other, without HTTP and
without remembered answers; the processor's time beside them tells what a busy machine adds.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import orjson
import pyarrow.parquet as parquet

from omnisearch.data.text.normalise import normalise_query
from omnisearch.data.text.prefixes import typos
from omnisearch.data.workspace.memory import trim_memory
from omnisearch.engine.suggest import Suggester
from omnisearch.indexer.parts.suggest_open import QUERIES_FILE, open_queries
from omnisearch.indexer.parts.suggest_write import LONGEST, write_queries
from omnisearch.world import generate
from omnisearch.world.sizes import Size

MOST = 8
LETTERS = list("etaoinshrdlucmfwypvbgk")


def of_world(pins: int) -> tuple[dict[str, int], list[str]]:
    """The queries of a sample world with the number of sessions, and the titles of its items."""
    with tempfile.TemporaryDirectory() as name:
        generate(Size(pins=pins), Path(name) / "world")
        folder = Path(name) / "world"
        log = parquet.read_table(folder / "engagements.parquet", columns=["query", "session"])
        pairs = set(zip(*(log[column].to_pylist() for column in log.column_names), strict=True))
        sessions = Counter(normalise_query(query) for query, _ in pairs)
        lines = [
            line
            for file in ("pins.jsonl", "products.jsonl")
            for line in (folder / file).read_bytes().splitlines()
        ]
    titles = {normalise_query(orjson.loads(line).get("title") or "") for line in lines}
    return dict(sessions), sorted(title for title in titles - {""} if len(title) <= LONGEST)


def filled(texts: dict[str, int], entries: int, rng: np.random.Generator) -> dict[str, int]:
    """The texts, and others made of their words, with a few people each."""
    words = [word for text in texts for word in text.split()]
    found = dict(texts)
    while len(found) < entries:
        for chosen in rng.choice(words, (10_000, 5)):
            text = " ".join(chosen[: rng.integers(2, 6)])[:LONGEST].strip()
            found.setdefault(text, int(rng.integers(1, 4)))
    return dict(list(found.items())[: max(entries, len(texts))])


def with_typo(text: str, rng: np.random.Generator) -> str | None:
    """The text with a letter added, removed, changed or swapped; None if it has no long word."""
    words = text.split(" ")
    long = [place for place, word in enumerate(words) if word and typos(word)]
    if not long:
        return None
    place = int(rng.choice(long))
    word, letter = words[place], str(rng.choice(LETTERS))
    at = int(rng.integers(1, len(word) - 1))
    kinds = (
        word[:at] + letter + word[at:],
        word[:at] + word[at + 1 :],
        word[:at] + letter + word[at + 1 :],
        word[:at] + word[at + 1] + word[at] + word[at + 2 :],
    )
    return " ".join([*words[:place], kinds[int(rng.integers(4))], *words[place + 1 :]])


def asked(suggester: Suggester, pairs: list[tuple[str, str]], what: str) -> None:
    """Print how many of (typed, meant) are found, and the times."""
    walls, cpus, found = [], [], 0
    for typed, meant in pairs:
        wall, cpu = time.perf_counter(), time.thread_time()
        answer = suggester.suggest(typed, MOST)
        cpus.append(1000 * (time.thread_time() - cpu))
        walls.append(1000 * (time.perf_counter() - wall))
        found += meant in {each.text for each in answer}
    times = [
        f"{name} p50 {np.median(taken):.2f} p99 {np.quantile(taken, 0.99):.2f}"
        for name, taken in (("ms", walls), ("of processor time", cpus))
    ]
    print(f"{what:<28} {len(pairs):>6,}  {found / max(len(pairs), 1):>7.1%}  {', '.join(times)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--entries", type=int, default=500_000)
    parser.add_argument("--pins", type=int, default=20_000)
    parser.add_argument("--asked", type=int, default=2_000)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    print(f"{os.cpu_count()} cores, one used; load average {os.getloadavg()[0]:.1f}")
    queries, titles = of_world(options.pins)
    entries = filled(queries | {title: 1 for title in titles}, options.entries, rng)
    print(f"{len(queries):,} queries and {len(titles):,} titles of a sample world")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        start = time.process_time()
        write_queries(folder, [(text, count, None) for text, count in entries.items()])
        wrote = time.process_time() - start
        size = (folder / QUERIES_FILE).stat().st_size / 1e6
        trim_memory()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        start = time.process_time()
        part = open_queries(folder)
        opened = 1000 * (time.process_time() - start)
        print(
            f"{len(entries):,} entries: written in {wrote:.1f} s of processor time, {size:.0f} MB "
            f"(mapped: in memory once for all workers), opened in {opened:.0f} ms"
        )
        suggester = Suggester((part,))
        weights = np.array(list(queries.values()), float)
        likely = rng.choice(list(queries), options.asked, p=weights / weights.sum()).tolist()
        print(f"\n{'half typed':<28} {'asked':>6}  {'found':>7}  among the first {MOST}")
        for what, meant in (
            ("queries, as often as asked", likely),
            ("queries, each once", rng.choice(list(queries), options.asked).tolist()),
            ("titles", rng.choice(titles, options.asked).tolist()),
        ):
            pairs = [(text[: len(text) // 2 + 1], text) for text in dict.fromkeys(meant)]
            suggester = Suggester((part,))
            asked(suggester, pairs, what)
            wrong = [(with_typo(typed, rng), text) for typed, text in pairs]
            asked(suggester, [(typed, text) for typed, text in wrong if typed], f"{what}, one typo")
        one = [(text[:size], text) for text in likely for size in (1, 2, 3)]
        asked(suggester, list(dict.fromkeys(one)), "1 to 3 letters of queries")
        nothing = ["".join(rng.choice(LETTERS, 9)) for _ in range(min(options.asked, 300))]
        asked(suggester, [(text, text) for text in nothing], "random letters")
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        print(f"\nmemory grew by {max(grown, 0) / 1024:.0f} MiB above that of writing the index")


if __name__ == "__main__":
    main()
