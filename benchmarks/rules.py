"""What a shop's rules add to a search: none, and many of every kind, in turns.

    python benchmarks/rules.py [--workspace demo] [--rules 10000] [--queries 300] [--rounds 3]

The rules are synonyms of words of the log, and pins, boosts, burials and hidden items, a third each
for queries, beginnings and words of the log. A tenth of the queries that are asked have a pin of
their own, and 20 rules for all queries boost a brand or hide an item. Prints p50 and p99 of the
processor milliseconds of a search for the first page of 20 results with a cached query, without
rules and with them, and how long it takes to check, publish, load and bind the rules.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from omnisearch.data.text.normalise import words
from omnisearch.data.workspace import Workspace
from omnisearch.engine.rules.file import read_rules
from omnisearch.engine.rules.published import load_rules, publish_rules
from omnisearch.engine.search import SearchEngine

K = 20


def made_up(engine: SearchEngine, queries: list[str], count: int) -> bytes:
    """A file of rules about the items and queries of an index."""
    rng = np.random.default_rng(0)
    tables = engine.snapshot.generation.tables
    vocabulary = sorted({word for query in tables["query"].ids for word in words(query)})
    brands = tables["product"].brand.vocab or ["none"]

    def pick(among: Any) -> str:
        return str(among[int(rng.integers(len(among)))])

    def item() -> str:
        entity = ("pin", "product")[int(rng.integers(2))]
        return f"item = {f'{entity}/{pick(tables[entity].ids)}'!r}"

    def when(at: int) -> str:
        if at % 3 == 2:
            return f"words = {f'{pick(vocabulary)} {pick(vocabulary)}'!r}"
        return f"{('query', 'prefix')[at % 3]} = {pick(tables['query'].ids)!r}"

    rules = [f"[[pin]]\nquery = {query!r}\n{item()}\nplace = 2" for query in queries[::10]]
    rules += [f"[[boost]]\nall = true\nfilter = {f'brand={pick(brands)}'!r}\nplaces = 5"] * 10
    rules += [f"[[hide]]\nall = true\n{item()}" for _ in range(10)]
    kinds = [
        lambda at: f"[[synonyms]]\nwords = [{pick(vocabulary)!r}, {f'x{at} y'!r}]",
        lambda at: f"[[pin]]\n{when(at)}\n{item()}\nplace = {at % 50 + 1}",
        lambda at: f"[[boost]]\n{when(at)}\nfilter = {f'brand={pick(brands)}'!r}\nplaces = 10",
        lambda at: f"[[bury]]\n{when(at)}\n{item()}\nplaces = 20",
        lambda at: f"[[hide]]\n{when(at)}\n{item()}",
    ]
    rules += [kinds[at % 5](at // 5) for at in range(max(count - len(rules), 0))]
    return "\n\n".join(["version = 1", *rules]).encode()


def timed(call: Callable[[], Any]) -> tuple[Any, float]:
    start = time.process_time()  # another program's work counts for neither
    found = call()
    return found, (time.process_time() - start) * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--workspace", type=Path, default=Path("demo"))
    parser.add_argument("--rules", type=int, default=10_000)
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    engine = SearchEngine.open(options.workspace, with_rules=False)
    plain, ids = engine.snapshot, engine.snapshot.generation.tables["query"].ids
    chosen = np.random.default_rng(1).choice(len(ids), min(options.queries, len(ids)), False)
    queries = [ids[row] for row in chosen]
    engine.warm(queries)
    content = made_up(engine, queries, options.rules)
    (rules, faults), reading = timed(lambda: read_rules(content))
    assert not faults, faults[0]
    with tempfile.TemporaryDirectory() as folder:
        space = Workspace.create(folder)
        _, publishing = timed(lambda: publish_rules(space, content, rules))
        loaded, loading = timed(lambda: load_rules(space))
    ruled = replace(plain, rules=loaded)
    _, binding = timed(lambda: ruled.ruling)
    print(f"{len(rules):,} rules, {len(content) / 1e6:.1f} MB; {len(queries)} queries")
    print(
        f"check {reading:.0f} ms, publish {publishing:.0f}, load {loading:.0f}, bind {binding:.0f}"
    )
    times: dict[str, list[float]] = {"none": [], "rules": []}
    for number in range(options.rounds + 1):
        for query in queries:
            for name, snapshot in (("none", plain), ("rules", ruled)):
                searcher = engine.at(snapshot)
                _, took = timed(lambda s=searcher, q=query: s.search(q, k=K))
                if number:  # the first round warms up
                    times[name].append(took)
    for name, took in times.items():
        p50, p99 = np.percentile(took, (50, 99))
        print(f"{name:6} p50 {p50:7.3f} ms   p99 {p99:7.3f} ms")
    print(f"added at p50: {np.median(times['rules']) - np.median(times['none']):.3f} ms")
    acting = [len(ruled.acting(ruled.query(query)).rules) for query in queries]
    print(f"rules that act on a query: {np.mean(acting):.1f}, at most {max(acting)}")


if __name__ == "__main__":
    main()
