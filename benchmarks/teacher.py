"""What a teacher brings: its grades in training, and re-ranking by it, on any judged workspace.

    python benchmarks/teacher.py --workspace WORKSPACE --out FOLDER [--queries 1000]
        [--backbone ENCODER] [--encoders] [--anyway]

Works on a copy of an indexed workspace. Trains rankers without a teacher, then the teacher, then
rankers with its grades, and measures the full stack on the queries kept for evaluation: nDCG@10
(unjudged: irrelevant), the same among the judged results alone, and of a sample world the truth.
Re-ranking is measured with both kinds of rankers. With --encoders, the text encoder is tuned to the
teacher's grades too, and what follows is made again. Differences from the same system without a
teacher are paired, with 95% intervals. Each stage tells its seconds; a search its milliseconds.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

import numpy as np
from warm_start import timed

from omnisearch import pipeline
from omnisearch.data.catalogue.schema import open_catalogue
from omnisearch.data.catalogue.splits import evaluation_queries
from omnisearch.data.workspace import Workspace
from omnisearch.engine.config import engine_config
from omnisearch.engine.search import SearchEngine
from omnisearch.evaluation.evaluate import judged_sets
from omnisearch.evaluation.judged import RELEVANT
from omnisearch.evaluation.significance import bootstrap_interval
from omnisearch.evaluation.systems import CONDENSED, JUDGED_METRICS, rank_all, values_of
from omnisearch.evaluation.truth import true_values
from omnisearch.pipeline import teaching
from omnisearch.world.truth import Truth

METRICS = {name: JUDGED_METRICS[name] for name in ("nDCG@10", CONDENSED)}
SYSTEMS = ("embedding", "l1", "full")
Values = dict[str, np.ndarray]  # metric → a value for each query


def measured(workspace: Workspace, rerank: int, most: int) -> Values:
    """Values of the systems on the queries kept for evaluation, and milliseconds of a search."""
    config = engine_config(workspace, rerank=rerank)
    found: Values = {}
    with (
        closing(open_catalogue(workspace.catalogue)) as db,
        closing(SearchEngine.open(workspace, config)) as engine,
    ):
        for name, gains in judged_sets(db).items():
            queries = drawn(gains, most)
            rankings = rank_all(engine, queries, SYSTEMS)
            for system, values in values_of(rankings, gains, queries, RELEVANT, METRICS).items():
                found |= {f"{system}, {name}: {key}": column for key, column in values.items()}
        if workspace.truth.exists():
            truth = Truth.read(workspace.truth)
            queries = drawn(evaluation_queries(db) & truth.query_of.keys(), most)
            rankings = rank_all(engine, queries, SYSTEMS)
            for system, values in true_values(truth, rankings, queries)[0].items():
                found |= {f"{system}, {key}": column for key, column in values.items()}
        took = [engine.search(query).took_ms for query in queries[:200]]
    return found | {"ms": np.array(took)}


def drawn(queries: Iterable[str], most: int) -> list[str]:
    found = sorted(queries)
    rows = np.random.default_rng(0).permutation(len(found))[:most]
    return [found[row] for row in sorted(rows)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--queries", type=int, default=1000, help="measured at most, of each set")
    parser.add_argument("--backbone")
    parser.add_argument("--encoders", action="store_true", help="teach the encoders too")
    parser.add_argument("--anyway", action="store_true", help="use the grades of any teacher")
    options = parser.parse_args()
    shutil.copytree(options.workspace, options.out)
    workspace = Workspace.open(options.out)
    found: dict[str, Values] = {}

    def measure(name: str, rerank: int = 0) -> None:
        found[name] = measured(workspace, rerank, options.queries)
        report(name, found[name], found["without"])

    with timed("rank train"):
        pipeline.train_rankers(workspace)
    measure("without")
    if options.anyway:
        measure_teacher = teaching._measured
        teaching.FEWEST = 1
        teaching._measured = lambda *given: measure_teacher(*given) | {"better": True}
    with timed("rank teach"):
        counts = pipeline.teach(workspace, options.backbone)
    print(counts, flush=True)
    if not counts["better"]:
        return
    with timed("export teacher"):
        facts, _ = pipeline.export_teacher(workspace)
    print(f"serves {facts['serves']}, int8 error {facts['int8_error']:.4f}")
    for first in (20, 50):
        measure(f"re-ranked {first}", first)
    with timed("rank train"):
        pipeline.train_rankers(workspace)
    measure("soft labels")
    measure("soft labels, re-ranked 20", 20)
    if not options.encoders:
        return
    with timed("enrich tune"):
        print(pipeline.enrich(workspace, "tune"), flush=True)
    with timed("train"):
        pipeline.train(workspace)
    with timed("index build, rank train"):
        pipeline.build_index(workspace)
        pipeline.train_rankers(workspace)
    measure("taught encoders")
    measure("taught encoders, re-ranked 20", 20)


def report(name: str, values: Values, base: Values) -> None:
    for metric, column in values.items():
        if metric == "ms":
            print(f"{name}: median {np.median(column):.1f} ms a search", flush=True)
            continue
        low, high = bootstrap_interval(column - base[metric], seed=0)
        less = (column - base[metric]).mean()
        told = f"{column.mean():.4f}, less without {less:+.4f} ({low:+.4f} to {high:+.4f})"
        print(f"{name}: {metric} {told}, {len(column):,} queries", flush=True)


if __name__ == "__main__":
    main()
