"""In-process search with cached queries, stage by stage, against a plain implementation.

    python benchmarks/search.py [--workspace demo] [--queries 300] [--rounds 3]

Prints p50, p90 and p99 in milliseconds of the whole search and of each stage, for the first page
of 20 results. The plain implementation is rank-bm25 over the same tokens, bare hnswlib over the
same vectors, and rank fusion in Python dicts; it has two of the seven kinds of results (no PinSage
and ItemSage sources, no rankers, no related queries, no filters). Both take turns on the same
queries in one run; the ratio is the figure to look at, as milliseconds depend on the machine.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path

import hnswlib
import numpy as np
from rank_bm25 import BM25Okapi

from omnisearch.data.catalogue.schema import ITEM_ENTITIES
from omnisearch.data.text.tokens import query_words
from omnisearch.engine.filters import Filters
from omnisearch.engine.search import SearchEngine
from omnisearch.indexer.generation import folder_of
from omnisearch.indexer.parts.tokens import read_tokens

K = 20
SHARES = (50, 90, 99)


class Plain:
    """rank-bm25, hnswlib and dicts."""

    def __init__(self, engine: SearchEngine) -> None:
        generation = engine.snapshot.generation
        folder = folder_of(engine.workspace, generation.number)
        self.bm25, self.graphs, self.items = {}, {}, {}
        for entity in ITEM_ENTITIES:
            table, space = generation.tables[entity], generation.spaces[entity, "learned"]
            texts = read_tokens(folder / entity, len(table))
            self.bm25[entity] = BM25Okapi([text.split() for text in texts])
            graph = hnswlib.Index("cosine", space.vectors.shape[1])
            graph.init_index(len(space.vectors), M=16, ef_construction=150)
            graph.add_items(np.asarray(space.vectors))
            graph.set_ef(150)
            self.graphs[entity] = graph
            shown = table.display(range(len(table.ids)))
            self.items[entity] = {
                row: {"id": key, **text}
                for row, (key, text) in enumerate(zip(table.ids, shown, strict=True))
            }

    def search(self, text: str, vector: np.ndarray, k: int = K) -> list[dict[str, object]]:
        fused: dict[tuple[str, int], float] = {}
        tokens = [token for token, _ in query_words(text)]
        for entity in ITEM_ENTITIES:
            scores = self.bm25[entity].get_scores(tokens)
            for rank, row in enumerate(np.argsort(-scores)[:150].tolist(), 1):
                if scores[row] > 0:
                    fused[entity, row] = fused.get((entity, row), 0.0) + 1 / (60 + rank)
            labels, _ = self.graphs[entity].knn_query(vector, min(150, len(self.items[entity])))
            for rank, row in enumerate(labels[0].tolist(), 1):
                fused[entity, row] = fused.get((entity, row), 0.0) + 1 / (60 + rank)
        best = sorted(fused, key=lambda item: -fused[item])[:k]
        return [{**self.items[entity][row], "score": fused[entity, row]} for entity, row in best]


def milliseconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return (time.perf_counter() - start) * 1000


def line(name: str, times: list[float]) -> str:
    return f"{name:28}" + "".join(f"{np.percentile(times, share):9.3f}" for share in SHARES)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--workspace", type=Path, default=Path("demo"))
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    engine = SearchEngine.open(options.workspace)
    generation = engine.snapshot.generation
    sizes = ", ".join(f"{len(table):,} {name} rows" for name, table in generation.tables.items())
    print(f"generation {generation.number}: {sizes}; {os.cpu_count()} cores")
    trained = "trained" if engine.snapshot.rankers else "not trained, rank fusion instead"
    print(f"rankers: {trained}; load average {os.getloadavg()[0]:.1f}")
    ids = generation.tables["query"].ids
    chosen = np.random.default_rng(0).choice(
        len(ids), min(options.queries, len(ids)), replace=False
    )
    queries = [ids[row] for row in chosen]
    engine.warm(queries)
    vectors = dict(
        zip(queries, engine.cache.vectors(engine.snapshot.encoder, queries), strict=True)
    )
    plain = Plain(engine)
    whole: list[float] = []
    first: list[float] = []
    filtered: list[float] = []
    stages: dict[str, list[float]] = {}
    cpu = 0.0
    cheap = Filters(price_max=100.0)
    for round_number in range(options.rounds + 1):
        for query in queries:
            before = time.process_time()
            response = engine.search(query, k=K)
            spent = time.process_time() - before
            own = milliseconds(lambda query=query: plain.search(query, vectors[query]))
            narrow = engine.search(query, k=K, filters=cheap).took_ms
            if round_number:  # the first round warms up pages and caches
                whole.append(response.took_ms)
                cpu += spent
                first.append(own)
                filtered.append(narrow)
                for name, took in response.stages.items():
                    stages.setdefault(name, []).append(took)
    print(f"\n{len(whole):,} searches, ms" + " " * 10 + "".join(f"{f'p{s}':>9}" for s in SHARES))
    for name, times in stages.items():
        print(line(f"  {name}", times))
    print(line("search, all sources, L1, L2", whole))
    print(f"{'  processor time, mean':28}{cpu / len(whole) * 1000:9.3f}")
    print(line("the same, price below 100", filtered))
    print(line("plain: two sources, dicts", first))
    ratios = [np.percentile(first, share) / np.percentile(whole, share) for share in SHARES]
    print(f"{'plain over search':28}" + "".join(f"{ratio:8.1f}x" for ratio in ratios))


if __name__ == "__main__":
    main()
