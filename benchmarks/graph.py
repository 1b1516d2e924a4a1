"""The gain of trained PinSage and ItemSage over plain ones, on sample worlds.

    python benchmarks/graph.py [--pins 4000] [--steps 200] [--seeds 3]
    python benchmarks/graph.py --parts [--pins 4000] [--seeds 3]

Each seed makes a world and two workspaces: one with the networks of `omnisearch enrich graph`, one
with `benchmarks/graph_plain.py`. For both it measures whether their vectors find items saved and
engaged together after the end of training (`temporal_recall`), and whether a query tower trained
against them (the compatibility spaces, §3.4.3) finds the items engaged in the evaluation window, in
those spaces and, for pins, in the learned space. Prints Recall@10, means and spreads over seeds.

With `--parts` it changes one setting of [graph] at a time instead, and prints what that changes of
`temporal_recall`, with the 95% interval of the mean over seeds (Student's t).
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from graph_plain import plain_pins, plain_products
from scipy import stats

from omnisearch import pipeline
from omnisearch.data.catalogue.pairs import evaluation_pairs
from omnisearch.data.catalogue.schema import open_catalogue
from omnisearch.data.catalogue.spaces import SPACES
from omnisearch.data.catalogue.splits import time_split
from omnisearch.data.catalogue.vectors import open_vectors
from omnisearch.data.workspace import Workspace
from omnisearch.encoders.checkpoint import load_encoder
from omnisearch.enrichment.graph.itemsage import fit_itemsage
from omnisearch.enrichment.graph.pinsage import fit_pinsage
from omnisearch.enrichment.graph.temporal_recall import temporal_recall
from omnisearch.evaluation.recall import exact_ranks
from omnisearch.evaluation.reproduce.runs import entity_vectors
from omnisearch.world import Size, generate

K = 10
ENGAGED = {
    entity: [f"{entity}/{action}" for action in actions]
    for entity, actions in {
        "pin": ("save", "long_click"),
        "product": ("save", "long_click", "add_to_cart", "checkout"),
    }.items()
}


def trained(workspace: Workspace, db: Any, seed: int) -> None:
    fit_pinsage(workspace, db, seed=seed)
    fit_itemsage(workspace, db, seed=seed)


def plain(workspace: Workspace, db: Any, seed: int) -> None:
    plain_pins(workspace, db, seed)
    plain_products(workspace, db, seed)


# What is changed → the settings of [graph], what is trained again, and whose figures it can change.
PARTS: dict[str, tuple[dict[str, str], Callable[..., Any], str]] = {
    "with PinSage vectors of products": (
        {"pinsage_of_products": "true"},
        fit_itemsage,
        "product",
    ),
    "without hard negatives": ({"hard_negatives": "false"}, fit_pinsage, "pin → pin"),
    "with a second convolution": ({"convolutions": "2"}, fit_pinsage, "pin → pin"),
}


def measured_parts(files: Path, folder: Path, seed: int) -> dict[str, dict[str, float]]:
    """'as it is' and each of PARTS → Recall@10 of the kinds of pairs, and seconds of a core."""
    workspace = imported_world(files, folder)
    db = open_catalogue(workspace.catalogue)
    seconds = {}
    for fit in (fit_pinsage, fit_itemsage):
        seconds |= seconds_of(fit, workspace, db, seed)
    found = {"as it is": own_recalls(workspace, db) | seconds}
    for part, (settings, fit, kinds) in PARTS.items():
        lines = [f"{name} = {value}\n" for name, value in settings.items()]
        workspace.settings.write_text("[graph]\n" + "".join(lines), "utf-8")
        seconds = seconds_of(fit, workspace, db, seed)
        recalls = own_recalls(workspace, db)
        found[part] = {kind: recalls[kind] for kind in recalls if kinds in kind} | seconds
    db.conn.close()
    return found


def seconds_of(
    fit: Callable[..., Any], workspace: Workspace, db: Any, seed: int
) -> dict[str, float]:
    started = time.process_time()
    fit(workspace, db, seed=seed)
    return {f"seconds of a core, {fit.__name__}": time.process_time() - started}


def print_parts(runs: list[dict[str, dict[str, float]]]) -> None:
    """What each part changes, for the runs of all seeds."""
    for part in PARTS:
        print(f"\n{part}")
        for kind in runs[0][part]:
            after = np.array([run[part][kind] for run in runs])
            change = after - [run["as it is"][kind] for run in runs]
            half = stats.sem(change) * stats.t.ppf(0.975, len(runs) - 1)
            each = ", ".join(f"{value:+.3f}" for value in change)
            told = f"{after.mean() - change.mean():.3f} → {after.mean():.3f}"
            print(f"  {kind:40} {told}: {change.mean():+.3f} ± {half:.3f} (by seed: {each})")


def imported_world(files: Path, folder: Path) -> Workspace:
    workspace = Workspace.create(folder)
    pipeline.import_files(workspace, [files])
    pipeline.enrich(workspace, "boards", "queries")
    return workspace


def own_recalls(workspace: Workspace, db: Any) -> dict[str, float]:
    """Recall@10 of the graph vectors themselves, by kind of pairs."""
    return {kind: recalls[0] for kind, recalls in temporal_recall(workspace, db).items()}


def tower_recalls(workspace: Workspace, db: Any, steps: int, seed: int) -> dict[str, float]:
    """Recall@10 of the tower on the pairs of the evaluation window, by entity type and space."""
    pipeline.train(workspace, steps=steps, seed=seed)
    encoder = load_encoder(workspace)
    tables = evaluation_pairs(db, time_split(db))
    found = {}
    for name, space in SPACES.items():
        entity = space.entity
        table = pa.concat_tables(
            [table for kind, table in tables.items() if kind in ENGAGED[entity]]
        )
        queries = encoder.queries(table["query"].to_pylist())
        feature = open_vectors(workspace, db, name, entity)
        assert feature is not None
        spaces = {name: (feature.ids, encoder.compat(name, np.asarray(feature.vectors)))}
        if entity == "pin":
            spaces["learned"] = entity_vectors(workspace, db, encoder, "pin")["learned"]
        for space, (ids, vectors) in spaces.items():
            row_of = {key: row for row, key in enumerate(ids)}
            targets = np.array([row_of.get(key, -1) for key in table["item_id"].to_pylist()])
            ranks = exact_ranks(queries, targets, vectors, np.arange(len(vectors)))
            found[f"query → {entity}, {space}"] = float((ranks <= K).mean())
    return found


def measured(
    files: Path, folder: Path, fit: Callable[[Workspace, Any, int], None], run: tuple[int, int]
) -> dict[str, float]:
    """All figures of one workspace; `run` is (steps, seed)."""
    steps, seed = run
    workspace = imported_world(files, folder)
    db = open_catalogue(workspace.catalogue)
    started = time.process_time()
    fit(workspace, db, seed)
    figures = {"seconds of a core to fit": time.process_time() - started}
    figures |= {f"own vectors: {kind}": r for kind, r in own_recalls(workspace, db).items()}
    figures |= tower_recalls(workspace, db, steps, seed)
    db.conn.close()
    return figures


def compare_parts(pins: int, seeds: int) -> None:
    runs = []
    for seed in range(seeds):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            generate(Size(pins), folder / "files", seed=100 + seed, pictures=False)
            runs.append(measured_parts(folder / "files", folder / "workspace", seed))
        print(f"seed {seed}: {runs[-1]}", file=sys.stderr, flush=True)
    print(f"Synthetic data: sample worlds of {pins:,} pins. Recall@{K} of the vectors themselves.")
    print_parts(runs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pins", type=int, default=4000, help="size of the sample worlds")
    parser.add_argument("--steps", type=int, default=200, help="training steps of each tower")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--parts", action="store_true", help="measure parts of the networks")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.parts:
        return compare_parts(options.pins, options.seeds)
    figures: dict[str, list[dict[str, float]]] = {"plain": [], "trained": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for seed in range(options.seeds):
            generate(Size(options.pins), folder / "files", seed=100 + seed, pictures=False)
            for system, fit in (("plain", plain), ("trained", trained)):
                place = folder / f"{system}-{seed}"
                found = measured(folder / "files", place, fit, (options.steps, seed))
                figures[system].append(found)
                shutil.rmtree(place)
                print(f"seed {seed} {system}: {found}", file=sys.stderr, flush=True)
            shutil.rmtree(folder / "files")
    print(f"Synthetic data: sample worlds of {options.pins:,} pins. Recall@{K}.")
    for kind in figures["trained"][0]:
        cells = [np.array([run.get(kind, np.nan) for run in runs]) for runs in figures.values()]
        told = "  ".join(f"{cell.mean():.3f} ± {cell.std():.3f}" for cell in cells)
        always = "  better with every seed" if (cells[1] > cells[0]).all() else ""
        print(f"{kind:48} {told}{always}")


if __name__ == "__main__":
    main()
