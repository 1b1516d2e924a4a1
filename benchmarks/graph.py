"""The gain of trained PinSage and ItemSage over plain ones, on sample worlds.

    python -m benchmarks.graph [--pins 4000] [--steps 200] [--seeds 3]

Each seed makes a world and two workspaces: one with the networks of `omnisearch enrich graph`, one
with `benchmarks/graph_plain.py`. For both it measures whether their vectors find items saved and
engaged together after the end of training (`temporal_recall`), and whether a query tower trained
against them (the compatibility spaces, §3.4.3) finds the items engaged in the evaluation window, in
those spaces and, for pins, in the learned space. Prints Recall@10, means and spreads over seeds.
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
    workspace = Workspace.create(folder)
    pipeline.import_files(workspace, [files])
    pipeline.enrich(workspace, "boards", "queries")
    db = open_catalogue(workspace.catalogue)
    started = time.process_time()
    fit(workspace, db, seed)
    figures = {"seconds of a core to fit": time.process_time() - started}
    figures |= {
        f"own vectors: {kind}": recalls[0]
        for kind, recalls in temporal_recall(workspace, db).items()
    }
    figures |= tower_recalls(workspace, db, steps, seed)
    db.conn.close()
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pins", type=int, default=4000, help="size of the sample worlds")
    parser.add_argument("--steps", type=int, default=200, help="training steps of each tower")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
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
