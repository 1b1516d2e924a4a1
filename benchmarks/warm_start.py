"""The warm start on a public data set, against BM25, MiniLM and their fusion.

    python benchmarks/warm_start.py ../shared/data/home_depot --format home_depot --out hd
        [--models labels,no-labels,from-nothing] [--seeds 3] [--again] [--folds 5] [--backbone e5]

The commands are README's, with their defaults. `labels` is warm-started and trained on the labels
of the training queries; `no-labels` is warm-started on the catalogue alone, without engagement,
judgments or rankers of its own; `from-nothing` has the labels but no warm start. Each stage tells
its seconds, and those of the processor.

Untrained baselines on the same items and queries: BM25 in Lucene's form (bm25s, k1 1.2, b 0.75,
English stop words), MiniLM with exact search (an item's fields concatenated into one text), and
reciprocal rank fusion of their first hundred results. Prints nDCG@10 on test queries, means over
seeds and paired intervals. Finished trainings are kept in --out and not repeated; `--again` repeats
the index, rankers and measurements. With `--folds`, for sets of few queries whose encoders use no
labels, every query is measured: `no-labels` uses none, and the rankers of `labels` are trained on
the other folds. A folder --out is for one setting of --queries, --folds and --backbone, which
embeds the items' text; by default `omnisearch enrich` chooses.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from omnisearch import pipeline
from omnisearch.data.catalogue.items import read_items
from omnisearch.data.catalogue.schema import ITEM_ENTITIES, open_catalogue
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import NotReady
from omnisearch.data.workspace.files import write_atomic
from omnisearch.encoders.text_encoder import TextTower
from omnisearch.engine.search import SearchEngine
from omnisearch.enrichment.inputs import own_text
from omnisearch.evaluation.evaluate import judged_sets
from omnisearch.evaluation.judged import RELEVANT, Item
from omnisearch.evaluation.significance import bootstrap_interval
from omnisearch.evaluation.systems import DEPTH, rank_all, values_of

SYSTEMS = ("token", "embedding", "rrf", "l1", "full")
MODELS = ("labels", "no-labels", "from-nothing")
METRIC = "nDCG@10"


@dataclass(frozen=True)
class Options:
    source: Path
    format: str
    out: Path
    models: list[str]
    seeds: int
    queries: int
    again: bool
    folds: int
    backbone: str | None


def tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def check_settings(options: Options) -> None:
    """Exit unless the contents of --out were made with the settings of this run."""
    wanted = {name: getattr(options, name) for name in ("format", "queries", "folds", "backbone")}
    file = options.out / "settings.json"
    if not file.exists():
        write_atomic(file, orjson.dumps(wanted))
    elif (before := orjson.loads(file.read_bytes())) != wanted:
        raise SystemExit(f"{options.out} was made with {before}. Choose another folder with --out.")


def base_workspace(options: Options, labels: bool) -> Workspace:
    """The imported, enriched set; without labels it has only the test queries' judgments."""
    folder = options.out / ("base" if labels else "base-no-labels")
    done = folder / "done"
    if done.exists():
        return Workspace.open(folder)
    workspace = Workspace.create(folder)
    pipeline.import_files(workspace, [options.source], format=options.format)
    cache = options.out / "base" / "text_cache.db"
    if cache.exists() and not labels:
        shutil.copyfile(cache, folder / "text_cache.db")
    if not labels:
        db = open_catalogue(workspace.catalogue)
        with db.conn:
            db.conn.execute("DELETE FROM engagements")
            if options.folds:
                db.conn.execute("UPDATE queries SET split = 'test'")
            kept = "SELECT id FROM queries WHERE split = 'test'"
            db.conn.execute(f"DELETE FROM judgments WHERE query NOT IN ({kept})")
        db.conn.close()
    if options.backbone:
        with timed(f"{folder.name}: enrich text"):
            pipeline.enrich(workspace, "text", backbone=options.backbone)
    for name in pipeline.default_enrichers(workspace):
        with timed(f"{folder.name}: enrich {name}"):
            counts = pipeline.enrich(workspace, name)
        tell(f"{folder.name}: {counts}")
    done.touch()
    return workspace


def trained(options: Options, model: str, seed: int) -> Workspace:
    """A copy of the base with a checkpoint and an index, made once."""
    base = base_workspace(options, labels=model != "no-labels")
    folder = options.out / f"{model}-{seed}"
    workspace = Workspace(folder)
    if (folder / "CURRENT").exists():
        return workspace
    shutil.rmtree(folder, ignore_errors=True)
    left_out = shutil.ignore_patterns("text_cache.db*", "done")
    shutil.copytree(base.root, folder, ignore=left_out)
    changes = {"warm_steps": 0} if model == "from-nothing" else {}
    with timed(f"{folder.name}: train"):
        pipeline.train(workspace, seed=seed, **changes)
    with timed(f"{folder.name}: index build"):
        pipeline.build_index(workspace)
    return workspace


@contextmanager
def timed(name: str) -> Iterator[None]:
    began = time.perf_counter(), time.process_time()
    yield
    wall, cpu = time.perf_counter() - began[0], time.process_time() - began[1]
    tell(f"{name}: {wall:.0f} s, {cpu:.0f} s of the processor")


def measured(options: Options, model: str, seed: int) -> dict[str, dict[str, float]]:
    """System → query → nDCG@10."""
    result = options.out / "results" / f"{model}-{seed}.json"
    if result.exists() and not options.again:
        return orjson.loads(result.read_bytes())
    workspace = trained(options, model, seed)
    if options.again:
        pipeline.build_index(workspace)
    found: dict[str, dict[str, float]] = {system: {} for system in SYSTEMS}
    for _ in folds(workspace, options.folds if model == "labels" else 0):
        try:
            with timed(f"{model}-{seed}: rank train"):
                pipeline.train_rankers(workspace)
        except NotReady:
            tell(f"{model}: no rankers without labels")
        for system, values in ranked(workspace, options).items():
            found[system] |= values
    result.parent.mkdir(exist_ok=True)
    write_atomic(result, orjson.dumps(found))
    return found


def folds(workspace: Workspace, count: int) -> Iterator[None]:
    """Hold out each fold of the queries in turn; with 0 folds, only the data set's test queries."""
    if not count:
        yield
        return
    db = open_catalogue(workspace.catalogue)
    rows = db.conn.execute("SELECT id, split FROM queries ORDER BY id").fetchall()
    if any(split == "train" for _, split in rows):
        raise SystemExit("--folds is for sets whose encoders learn from no label.")
    fold = np.random.default_rng(0).permutation(len(rows)) % count
    for number in range(count):
        with db.conn:
            db.conn.executemany(
                "UPDATE queries SET split = ? WHERE id = ?",
                [
                    ("test" if part == number else "valid", query)
                    for part, (query, _) in zip(fold.tolist(), rows, strict=True)
                ],
            )
        yield
    db.conn.close()


def ranked(workspace: Workspace, options: Options) -> dict[str, dict[str, float]]:
    """System → test query → nDCG@10."""
    db = open_catalogue(workspace.catalogue)
    gains, queries = test_queries(db, options)
    engine = SearchEngine.open(workspace)
    rankings = rank_all(engine, queries, SYSTEMS)
    engine.close()
    db.conn.close()
    values = values_of(rankings, gains, queries, RELEVANT)
    return {
        system: dict(zip(queries, values[system][METRIC].tolist(), strict=True))
        for system in SYSTEMS
    }


def test_queries(db: Any, options: Options) -> tuple[dict[str, dict[Item, float]], list[str]]:
    """The gains of all test queries, and the measured queries."""
    (gains,) = judged_sets(db).values()
    queries = sorted(gains)
    if len(queries) > options.queries:
        chosen = np.random.default_rng(0).choice(len(queries), options.queries, replace=False)
        queries = [queries[row] for row in sorted(chosen)]
    return gains, queries


def baselines(options: Options, labels: bool) -> dict[str, dict[str, float]]:
    """BM25, MiniLM and their fusion: system → query → nDCG@10."""
    import bm25s

    labels = labels and not options.folds  # folds measure every query, labelled or not
    result = options.out / "results" / f"baselines{'' if labels else '-no-labels'}.json"
    if result.exists() and not options.again:
        return orjson.loads(result.read_bytes())
    workspace = base_workspace(options, labels)
    db = open_catalogue(workspace.catalogue)
    gains, queries = test_queries(db, options)
    items: list[Item] = []
    texts = []
    for entity in ITEM_ENTITIES:
        for batch in read_items(db, entity):
            items += [(entity, item["id"]) for item in batch]
            texts += [own_text(item) for item in batch]
    tokens = bm25s.tokenize(texts, stopwords="en", show_progress=False)
    index = bm25s.BM25(method="lucene", k1=1.2, b=0.75)
    index.index(tokens, show_progress=False)
    asked = bm25s.tokenize(queries, stopwords="en", show_progress=False)
    rows, scores = index.retrieve(asked, k=min(DEPTH, len(items)), show_progress=False)
    lists = {
        "BM25": [row[score > 0].tolist() for row, score in zip(rows, scores, strict=True)],
        "MiniLM": exact_lists("minilm", texts, queries),
    }
    lists["RRF"] = [fused(pair) for pair in zip(*lists.values(), strict=True)]
    if options.backbone:
        lists[options.backbone] = exact_lists(options.backbone, texts, queries)
    rankings = {
        name: {
            query: [items[row] for row in found]
            for query, found in zip(queries, of_query, strict=True)
        }
        for name, of_query in lists.items()
    }
    values = values_of(rankings, gains, queries, RELEVANT)
    db.conn.close()
    found = {name: dict(zip(queries, values[name][METRIC].tolist(), strict=True)) for name in lists}
    write_atomic(result, orjson.dumps(found))
    return found


def exact_lists(backbone: str, texts: list[str], queries: list[str]) -> list[list[int]]:
    tower = TextTower(backbone)
    vectors = tower(texts)
    found = []
    for start in range(0, len(queries), 256):
        scores = tower.queries(queries[start : start + 256]) @ vectors.T
        top = np.argpartition(-scores, min(DEPTH, len(texts)) - 1, axis=1)[:, :DEPTH]
        order = np.argsort(-np.take_along_axis(scores, top, 1), axis=1, kind="stable")
        found += np.take_along_axis(top, order, 1).tolist()
    return found


def fused(lists: tuple[list[int], ...], k: int = 60) -> list[int]:
    scores: dict[int, float] = {}
    for rows in lists:
        for rank, row in enumerate(rows, 1):
            scores[row] = scores.get(row, 0.0) + 1 / (k + rank)
    return sorted(scores, key=lambda row: -scores[row])[:DEPTH]


def report(
    options: Options, labels: bool, runs: dict[str, list[dict[str, dict[str, float]]]]
) -> None:
    plain = baselines(options, labels)
    queries = sorted(next(iter(plain.values())))

    def column(values: dict[str, float]) -> np.ndarray:
        return np.array([values[query] for query in queries])

    print(f"\n{options.format}, {len(queries):,} test queries, {METRIC}", flush=True)
    means = {name: column(values).mean() for name, values in plain.items()}
    for name, mean in means.items():
        low, high = bootstrap_interval(column(plain[name]), seed=0)
        print(f"  {name:24} {mean:.3f} ({low:.3f}–{high:.3f})")
    best = max(("BM25", "MiniLM", "RRF"), key=lambda name: means[name])
    for model, found in runs.items():
        for system in SYSTEMS:
            seeds = np.array([column(run[system]) for run in found])
            mean, spread = seeds.mean(), seeds.mean(1).std(ddof=1) if len(seeds) > 1 else 0.0
            gain = seeds.mean(0) - column(plain[best])
            low, high = bootstrap_interval(gain, seed=0)
            print(
                f"  {model + ' ' + system:24} {mean:.3f} ± {spread:.3f} over {len(seeds)} seeds; "
                f"{mean / means[best] - 1:+.0%} of {best} ({low:+.3f} to {high:+.3f})",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("--format", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--models", type=lambda text: text.split(","), default=list(MODELS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--queries", type=int, default=2000, help="test queries measured at most")
    parser.add_argument("--again", action="store_true", help="repeat everything but training")
    parser.add_argument("--folds", type=int, default=0, help="small sets: measure every query")
    parser.add_argument("--backbone", help="of `omnisearch enrich text`")
    options = Options(**vars(parser.parse_args()))
    if not options.source.is_dir():
        print(f"Skipped: there is no data in {options.source}.")
        return
    options.out.mkdir(parents=True, exist_ok=True)
    check_settings(options)
    runs: dict[str, list[dict[str, dict[str, float]]]] = {model: [] for model in options.models}
    for seed in range(options.seeds):
        for model in options.models:
            runs[model].append(measured(options, model, seed))
            tell(
                f"seed {seed} {model}: "
                + ", ".join(
                    f"{name} {np.mean(list(values.values())):.3f}"
                    for name, values in runs[model][-1].items()
                )
            )
    for labels in (True, False):
        some = {model: found for model, found in runs.items() if (model != "no-labels") == labels}
        if some:
            report(options, labels, some)


if __name__ == "__main__":
    main()
