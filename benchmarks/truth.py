"""Every system by the truth of sample worlds: true grades of all items, and fulfilment of users.

    python benchmarks/truth.py [--seeds 7 8 9] [--preset demo] [--pins 20000] [--folder worlds]
    python benchmarks/truth.py --workspace demo

Makes a world for each seed, trains on it as `omnisearch demo` does, and measures every system on
the queries of the evaluation window: nDCG@10 by all true grades, the probability that a user
engages with one of the first 8 results, both of all items and of new items alone, and nDCG@10 of
logged engagement. Intervals are 95%, a bootstrap over queries; "full less it" is paired. The last
table is over the queries of all worlds. With --workspace, nothing is trained.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from omnisearch import pipeline
from omnisearch.data.catalogue.schema import open_catalogue
from omnisearch.data.workspace import Workspace
from omnisearch.engine.search import SearchEngine
from omnisearch.evaluation.evaluate import held_out_gains, new_items
from omnisearch.evaluation.judged import RELEVANT
from omnisearch.evaluation.significance import compare_paired
from omnisearch.evaluation.systems import Values, estimates, rank_all, values_of
from omnisearch.evaluation.truth import true_values
from omnisearch.world import generate
from omnisearch.world.sizes import Size, size_of
from omnisearch.world.truth import Truth

SYSTEMS = ("token", "embedding", "rrf", "l1", "full")
LOGGED = "nDCG@10 of logged engagement"
ORACLE = "oracle"


def make(workspace: Workspace, size: Size, seed: int) -> None:
    """A workspace with a new sample world, not yet trained."""
    with tempfile.TemporaryDirectory() as folder:
        generate(size, Path(folder) / "world", seed, pictures=False)
        pipeline.import_files(workspace, [Path(folder) / "world"])


def learn(workspace: Workspace, preset: str) -> None:
    """What the demo does with an imported world."""
    pipeline.enrich(workspace)
    pipeline.train(workspace, preset)
    pipeline.build_index(workspace)
    pipeline.train_rankers(workspace)


def measure(workspace: Workspace, most: int | None = None) -> Values:
    """system → measure → one value for each query; the oracle has those of the truth."""
    truth = Truth.read(workspace.truth)
    engine, db = SearchEngine.open(workspace), open_catalogue(workspace.catalogue)
    gains = held_out_gains(db)
    new = np.zeros(len(truth.items), bool)
    new[[truth.item_of[key] for _, key in new_items(db) if key in truth.item_of]] = True
    queries = sorted(query for query in gains if query in truth.query_of)[:most]
    rankings = rank_all(engine, queries, SYSTEMS)
    values: Values = {system: {} for system in (*SYSTEMS, ORACLE)}
    for among, label in ((None, ""), (new, ", new items alone")):
        found, ceilings = true_values(truth, rankings, queries, among)
        for system, columns in (found | {ORACLE: ceilings}).items():
            values[system] |= {f"{name}{label}": column for name, column in columns.items()}
    for system, columns in values_of(rankings, gains, queries, RELEVANT).items():
        values[system][LOGGED] = columns["nDCG@10"]
    engine.close()
    db.conn.close()
    return values


def show(values: Values) -> None:
    """Print a table for each measure."""
    found, last = estimates(values), SYSTEMS[-1]
    for name, column in values[last].items():
        print(f"\n{name}, {len(column)} queries")
        for system, columns in found.items():
            if name not in columns:
                continue
            made = columns[name]
            line = f"  {system:10}{made.mean:7.3f}  ({made.low:.3f} to {made.high:.3f})"
            if system not in (last, ORACLE):
                less = compare_paired(values[system][name], column)
                line += f"   {last} less it {less.mean:+.3f} ({less.low:+.3f} to {less.high:+.3f})"
            print(line)


def joined(worlds: Sequence[Values]) -> Values:
    """The queries of all worlds as one set."""
    return {
        system: {name: np.concatenate([world[system][name] for world in worlds]) for name in of}
        for system, of in worlds[0].items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--workspace", type=Path, help="measure this one; nothing is trained")
    parser.add_argument("--seeds", type=int, nargs="+", default=[7, 8, 9])
    parser.add_argument("--preset", default="demo", help="of the world and of the training")
    parser.add_argument("--pins", type=int, help="size of the worlds, if not the preset's")
    parser.add_argument("--folder", type=Path, help="where the workspaces are kept")
    options = parser.parse_args()
    if options.workspace:
        show(measure(Workspace.open(options.workspace)))
        return
    size = size_of(options.preset) if options.pins is None else Size(options.pins)
    worlds = []
    with tempfile.TemporaryDirectory() as temporary:
        for seed in options.seeds:
            started = time.perf_counter()
            workspace = Workspace((options.folder or Path(temporary)) / f"seed-{seed}")
            make(workspace, size, seed)
            learn(workspace, options.preset)
            worlds.append(measure(workspace))
            spent = time.perf_counter() - started
            print(f"\nA world of {size.items:,} items, seed {seed}: {spent:.0f} s")
            show(worlds[-1])
    if len(worlds) > 1:
        print(f"\nAll {len(worlds)} worlds")
        show(joined(worlds))


if __name__ == "__main__":
    main()
