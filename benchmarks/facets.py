"""What facets, filters and sorting add to a search.

    python benchmarks/facets.py [--products 100000] [--queries 300] [--rounds 3]

Products have words that follow Zipf's law, a brand, a price, and the attributes colour (20 values),
finish (3), category (a tree of 3 levels with 500 leaves) and rating (a number), beside the `tiny`
sample world, with random vectors and an encoder of two steps. A query is the first one to three
words of a product's title, so that some are in most products and some in one. Each line is a kind
of search for the first page of 20 results, its query embeddings cached; the kinds take turns.
Prints how many items match a query, and p50 and p99 of a search in processor milliseconds, since
another program's work counts for neither, with the ratio to the plain search.
"""

from __future__ import annotations

import argparse
import csv
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from synthetic_catalogue import Words
from update import DIM

from omnisearch import pipeline
from omnisearch.data.catalogue.schema import open_catalogue
from omnisearch.data.catalogue.vectors_write import write_vectors
from omnisearch.data.workspace import Workspace
from omnisearch.engine.filters import Filters
from omnisearch.engine.search import SearchEngine
from omnisearch.world import generate

FACETS = ("brand", "price", "colour", "category", "rating")
KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "five facets": {"facets": FACETS},
    "a filter": {"filters": Filters(where=("colour=c1|c2",))},
    "a filter, five facets, its own too": {
        "filters": Filters(where=("colour=c1|c2",)),
        "facets": FACETS,
    },
    "sorted by price": {"sort": "price"},
}


def products(count: int) -> Iterator[dict[str, Any]]:
    words, random = Words(0), np.random.default_rng(0)
    for number in range(count):
        leaf = int(random.integers(500))
        yield {
            "id": f"p{number:07}",
            "title": words.string(4, 9),
            "description": words.string(10, 30),
            "brand": f"brand {random.zipf(1.5) % 200}",
            "price": round(float(random.lognormal(3, 1)), 2),
            "colour": f"c{random.integers(20)}",
            "finish": ("matt", "gloss", "raw")[number % 3],
            "category": f"a{leaf // 50} > b{leaf // 5} > c{leaf}",
            "rating": round(float(random.uniform(1, 5)), 1),
        }


def prepared(folder: Path, count: int) -> Workspace:
    """A workspace with so many products, an encoder and an index."""
    generate("tiny", folder / "world", pictures=False)
    workspace = Workspace.create(folder / "workspace")
    rows = products(count)
    with (folder / "products.csv").open("w", newline="", encoding="utf-8") as file:
        first = next(rows)
        writer = csv.DictWriter(file, list(first))
        writer.writeheader()
        writer.writerow(first)
        writer.writerows(rows)
    pipeline.import_files(workspace, [folder / "world", folder / "products.csv"])
    pipeline.enrich(workspace, "boards", "queries")
    vectors = np.random.default_rng(3).standard_normal((count, DIM), np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    db = open_catalogue(workspace.catalogue)
    ids = [f"p{number:07}" for number in range(count)]
    write_vectors(workspace, db, "text", "product", ids, vectors)
    db.conn.close()
    pipeline.train(workspace, "tiny", steps=2, valid_every=2)
    pipeline.build_index(workspace)
    return workspace


def queries_of(count: int, products_: int) -> list[str]:
    """The first one to three words of the titles of products drawn at random."""
    drawn = np.random.default_rng(1).choice(products_, min(count, products_), replace=False)
    titles = [each["title"].split() for each in products(products_)]
    return [" ".join(titles[at][: 1 + turn % 3]) for turn, at in enumerate(drawn.tolist())]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--products", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        workspace = prepared(Path(name), options.products)
        queries = queries_of(options.queries, options.products)
        engine = SearchEngine.open(workspace)
        matching = [engine.search(query).matching for query in queries]
        taken: dict[str, list[float]] = {kind: [] for kind in KINDS}
        for turn in range(options.rounds + 1):
            for query in queries:
                for kind, asked in KINDS.items():
                    start = time.process_time()
                    engine.search(query, k=20, **asked)
                    if turn:  # the first fills caches
                        taken[kind].append(1000 * (time.process_time() - start))
    print(f"{options.products:,} products, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    most = np.quantile(matching, (0.5, 0.9, 1)).astype(int).tolist()
    print("items that match a query: {:,} at p50, {:,} at p90, {:,} at most".format(*most))
    print(f"{'':36}{'p50 ms':>8}{'p99 ms':>8}{'p99 of plain':>14}")
    plain = float(np.quantile(taken["plain"], 0.99))
    for kind, times in taken.items():
        middle, high = np.quantile(times, (0.5, 0.99)).tolist()
        print(f"{kind:36}{middle:8.2f}{high:8.2f}{high / plain:13.2f}x")


if __name__ == "__main__":
    main()
