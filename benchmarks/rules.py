"""What a shop's rules add to a search: none, and many of every kind, in turns.

    python benchmarks/rules.py [--workspace demo] [--rules 10000] [--searches 500] [--rounds 4]

Rules and searches are for the queries of the log, drawn as often as people asked them. Of a hundred
rules 70 are for one query each (pins of an item, boosts, burials, hidden items), 6 for a beginning
and 6 for two words of a query, 18 are synonyms of a word or of two; 10 in all are for every query.
Prints p50 and p99 of the processor milliseconds of a search for the first page of 20 results with a
cached query, without rules and with them; what of it goes into finding the rules; and how long it
takes to check, publish, load and bind them.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from omnisearch.data.catalogue.schema import open_catalogue
from omnisearch.data.text.normalise import words
from omnisearch.data.workspace import Workspace
from omnisearch.engine.rules.file import read_rules
from omnisearch.engine.rules.published import load_rules, publish_rules
from omnisearch.engine.search import SearchEngine

K = 20
FOR_ALL = 10
_ASKED = "SELECT query, COUNT(DISTINCT session) FROM engagements GROUP BY query ORDER BY query"


def asked(workspace: Workspace, known: set[str]) -> tuple[list[str], np.ndarray]:
    """The queries of the log, and float64 (n,): the share of each among all searches."""
    db = open_catalogue(workspace.catalogue)
    found = [(query, people) for query, people in db.conn.execute(_ASKED) if query in known]
    db.conn.close()
    counts = np.array([people for _, people in found], float) + 1
    return [query for query, _ in found], counts / counts.sum()


def made_up(engine: SearchEngine, queries: list[str], shares: np.ndarray, count: int) -> bytes:
    """A file of rules about the items and queries of an index."""
    rng = np.random.default_rng(0)
    tables = engine.snapshot.generation.tables
    said = sorted({word for query in queries for word in words(query)})
    phrases = sorted({" ".join(two) for query in queries for two in pairwise(words(query))}) or said
    brands = tables["product"].brand.vocab or ["none"]
    drawn = iter(rng.choice(len(queries), 2 * count, p=shares).tolist())

    def pick(among: Any) -> str:
        return str(among[int(rng.integers(len(among)))])

    def item() -> str:
        entity = ("pin", "product")[int(rng.integers(2))]
        return f"item = {f'{entity}/{pick(tables[entity].ids)}'!r}"

    def brand() -> str:
        return f"filter = {f'brand={pick(brands)}'!r}"

    does = [
        lambda: f"[[pin]]\n{item()}\nplace = {rng.integers(1, 20)}",
        lambda: f"[[pin]]\n{item()}\nplace = {rng.integers(1, 5)}",
        lambda: f"[[boost]]\n{brand()}\nplaces = 10",
        lambda: f"[[bury]]\n{item()}\nplaces = 20",
        lambda: f"[[hide]]\n{item()}",
    ]

    def rule(at: int) -> str:
        if at % 100 >= 82:
            other = pick(said) if at % 2 else pick(phrases)
            return f"[[synonyms]]\nwords = [{pick(said)!r}, {f'{other} x{at}'!r}]"
        query = queries[next(drawn)]
        if at % 100 >= 76:
            return f"{does[at % 5]()}\nwords = {' '.join(words(query)[:2])!r}"
        if at % 100 >= 70:
            return f"{does[at % 5]()}\nprefix = {query[: len(query) // 2 + 1]!r}"
        return f"{does[at % 5]()}\nquery = {query!r}"

    rules = [f"[[boost]]\nall = true\n{brand()}\nplaces = 5"] * (FOR_ALL // 2)
    rules += [f"[[hide]]\nall = true\n{item()}" for _ in range(FOR_ALL // 2)]
    rules += map(rule, range(max(count - len(rules), 0)))
    return "\n\n".join(["version = 1", *rules]).encode()


def timed(call: Callable[[], Any]) -> tuple[Any, float]:
    start = time.process_time()  # another program's work counts for neither
    found = call()
    return found, (time.process_time() - start) * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--workspace", type=Path, default=Path("demo"))
    parser.add_argument("--rules", type=int, default=10_000)
    parser.add_argument("--searches", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=4)
    options = parser.parse_args()
    engine = SearchEngine.open(options.workspace, with_rules=False)
    plain = engine.snapshot
    tables = plain.generation.tables
    queries, shares = asked(engine.workspace, set(tables["query"].ids))
    searches = np.random.default_rng(1).choice(queries, options.searches, p=shares).tolist()
    engine.warm(searches)
    content = made_up(engine, queries, shares, options.rules)
    (rules, faults), reading = timed(lambda: read_rules(content))
    assert not faults, faults[0]
    with tempfile.TemporaryDirectory() as folder:
        space = Workspace.create(folder)
        _, publishing = timed(lambda: publish_rules(space, content, rules))
        loaded, loading = timed(lambda: load_rules(space))
    ruled = replace(plain, rules=loaded)
    _, binding = timed(lambda: ruled.ruling)
    items = len(tables["pin"]) + len(tables["product"])
    print(f"{len(rules):,} rules, {len(content) / 1e6:.1f} MB; {items:,} items")
    print(
        f"check {reading:.0f} ms, publish {publishing:.0f}, load {loading:.0f}, bind {binding:.0f}"
    )
    times: dict[str, list[float]] = {"none": [], "rules": [], "finding": []}
    for number in range(options.rounds + 1):
        for query in searches:
            pair = [("none", plain), ("rules", ruled)]
            for name, snapshot in pair[:: 1 if number % 2 else -1]:  # the second has it easier
                searcher = engine.at(snapshot)
                _, took = timed(lambda s=searcher, q=query: s.search(q, k=K))
                if number:  # the first round warms up
                    times[name].append(took)
            read = plain.query(query)
            _, took = timed(lambda q=read: found(ruled, q))
            times["finding"].append(took)
    for name, took in times.items():
        p50, p99 = np.percentile(took, (50, 99))
        print(f"{name:8} p50 {p50:7.3f} ms   p99 {p99:7.3f} ms")
    shape = (options.rounds, len(searches))
    none, with_rules = (np.reshape(times[name], shape).mean(0) for name in ("none", "rules"))
    added = with_rules - none
    acting = np.array([len(ruled.acting(query).rules) for query in map(ruled.query, searches)])
    synonyms = np.array([len(ruled.query(query).rules) for query in searches])
    print("added, of processor time:")
    for what, which in (
        ("all searches", synonyms >= 0),
        ("without synonyms", synonyms == 0),
        ("with one or two", (synonyms == 1) | (synonyms == 2)),
        ("with more", synonyms > 2),
    ):
        if which.any():
            p50, mean, share = np.median(added[which]), added[which].mean(), which.mean()
            print(f"  {what:17} {share:4.0%}  p50 {p50:.3f} ms, mean {mean:.3f} ms")
    print(
        f"rules that act on a search: {acting.mean():.1f}, {FOR_ALL} of them on all, "
        f"at most {acting.max()}; and {synonyms.mean():.1f} synonyms"
    )


def found(snapshot: Any, query: Any) -> None:
    """Look up the synonyms and the rules of a query."""
    now = time.time()
    for _ in snapshot.ruling.synonyms(query.text, now):
        pass
    snapshot.ruling.acting(query, now)


if __name__ == "__main__":
    main()
