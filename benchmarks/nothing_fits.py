"""Where nothing fits: how much noise gets an empty answer, and whether a real query ever does.

    python benchmarks/nothing_fits.py [--workspace demo] [--queries 500] [--noise 100]

Noise is of the kinds that a build measures the floor with, drawn anew, and of kinds that it does
not know: one letter again and again, consonants alone, letters among digits. Printed is the share
of each that finds nothing, with and without the floor.

Real queries are those of the log and of the judgments. Printed are the share that the floor leaves
without a result; of those whose first result was relevant (the log's choice or a judgment) the
share that lost it; and the share that would lose all results if no item had a word of theirs, as in
a query in another language: their best cosine is below the floor.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from omnisearch.data.catalogue.schema import ITEM_ENTITIES, open_catalogue
from omnisearch.data.catalogue.spaces import LEARNED
from omnisearch.engine.search import SearchEngine
from omnisearch.engine.searcher import Searcher
from omnisearch.evaluation.judged import RELEVANT, gains_of_query
from omnisearch.indexer.floor import nonsense

SEED = 7


def noise_of_kinds(count: int) -> dict[str, list[str]]:
    """Noise by its kind; the first three as a build draws them, with another seed."""
    rng = np.random.default_rng(SEED)

    def made(of: str, least: int, most: int) -> str:
        return "".join(rng.choice(list(of), int(rng.integers(least, most))))

    def mixed() -> str:
        return "-".join(made("abcdefghijklmnopqrstuvwxyz0123456789", 3, 7) for _ in range(2))

    known = nonsense(3 * count, SEED)
    kinds: dict[str, Callable[[], str]] = {
        "one letter again": lambda: made("abcdefghijklmnopqrstuvwxyz", 1, 2) * 9,
        "consonants": lambda: made("bcdfghjklmnpqrstvwxz", 5, 12),
        "letters and digits": mixed,
    }
    first = {
        name: known[at::3] for at, name in enumerate(("letters", "runs of keys", "other scripts"))
    }
    return first | {name: [make() for _ in range(count)] for name, make in kinds.items()}


def best_cosine(engine: SearchEngine, text: str) -> float:
    """The highest cosine of any item."""
    vector, _ = engine.cache.vector(engine.snapshot.encoder, text)
    spaces = engine.snapshot.generation.spaces
    found = [spaces[entity, LEARNED].search(vector, 1, 150)[1] for entity in ITEM_ENTITIES]
    return max(float(scores.max(initial=-1)) for scores in found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--workspace", type=Path, default=Path("demo"))
    parser.add_argument("--queries", type=int, default=500)
    parser.add_argument("--noise", type=int, default=100)
    options = parser.parse_args()
    engine = SearchEngine.open(options.workspace, with_rules=False)
    snapshot = engine.snapshot
    floor = snapshot.generation.floor
    told = snapshot.generation.segments[0].manifest.get("floor")
    print(f"floor {told}")
    if floor is None:
        raise SystemExit("This generation has no floor: run `omnisearch index build`.")
    base, *others = snapshot.generation.segments
    base = replace(base, manifest={**base.manifest, "floor": None})
    without = replace(snapshot.generation, segments=(base, *others))
    before, after = engine.at(replace(snapshot, generation=without)), engine.at(snapshot)

    def empty(searcher: Searcher, texts: list[str]) -> float:
        return float(np.mean([not searcher.rank(text, k=1) for text in texts]))

    print(f"\n{'noise':22} {'finds nothing':>14} {'without floor':>14}")
    for name, texts in noise_of_kinds(options.noise).items():
        print(f"{name:22} {empty(after, texts):14.1%} {empty(before, texts):14.1%}")

    db = open_catalogue(engine.workspace.catalogue)
    ids = snapshot.generation.tables["query"].ids
    rng = np.random.default_rng(SEED)
    queries = [ids[at] for at in rng.permutation(len(ids))[: options.queries].tolist()]
    engine.warm(queries)
    lost = relevant = gone = low = 0
    for text in queries:
        first = before.rank(text, k=1)
        kept = bool(after.rank(text, k=1))
        gains = gains_of_query(db, text)
        is_relevant = bool(first) and gains.get(first[0][:2], 0.0) >= RELEVANT
        relevant += is_relevant
        lost += is_relevant and not kept
        gone += bool(first) and not kept
        low += best_cosine(engine, text) < floor
    count = len(queries)
    print(f"\n{count:,} real queries: {gone / count:.2%} are left without a result;")
    print(f"{lost} of {relevant:,} relevant first results are lost;")
    print(f"{low / count:.1%} would be if no item had a word of theirs")


if __name__ == "__main__":
    main()
