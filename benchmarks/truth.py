"""Every system by a sample world's own truth: grades of all items, and the fulfilment of its users.

    python benchmarks/truth.py --workspace demo

On the queries of the evaluation window: nDCG@10 by complete true grades, the probability that a
user engages with one of the first 8 results, and nDCG@10 of logged engagement.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import orjson

from omnisearch.data.catalogue.schema import open_catalogue
from omnisearch.data.workspace import Workspace
from omnisearch.engine.search import SearchEngine
from omnisearch.evaluation.evaluate import held_out_gains
from omnisearch.evaluation.judged import RELEVANT
from omnisearch.evaluation.significance import compare_paired
from omnisearch.evaluation.systems import Values, estimates, rank_all, values_of
from omnisearch.evaluation.truth import true_values
from omnisearch.world.truth import Truth

SYSTEMS = ("token", "embedding", "rrf", "l1", "full")
LOGGED = "nDCG@10 of logged engagement"


def measure(workspace: Workspace, most: int | None = None) -> tuple[Values, dict[str, float]]:
    """system → measure → one value per held-out query, and measure → the oracle's mean."""
    meta = orjson.loads((workspace.demo_world / "meta.json").read_bytes())
    truth = Truth.of(meta["pins"], meta["seed"])
    engine, db = SearchEngine.open(workspace), open_catalogue(workspace.catalogue)
    gains = held_out_gains(db)
    queries = sorted(query for query in gains if query in truth.query_of)[:most]
    rankings = rank_all(engine, queries, SYSTEMS)
    values, ceilings = true_values(truth, rankings, queries)
    for system, columns in values_of(rankings, gains, queries, RELEVANT).items():
        values[system][LOGGED] = columns["nDCG@10"]
    engine.close()
    db.conn.close()
    return values, {name: float(column.mean()) for name, column in ceilings.items()}


def show(values: Values, ceilings: dict[str, float]) -> None:
    *others, last = values
    found = estimates(values)
    for name in found[last]:
        ceiling = f"; an oracle reaches {ceilings[name]:.3f}" if name in ceilings else ""
        print(f"\n{name}, {len(values[last][name])} queries{ceiling}")
        for system in values:
            made = found[system][name]
            line = f"  {system:10}{made.mean:7.3f}  ({made.low:.3f} to {made.high:.3f})"
            if system in others:
                less = compare_paired(values[system][name], values[last][name])
                line += f"   {last} less it {less.mean:+.3f} ({less.low:+.3f} to {less.high:+.3f})"
            print(line)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--workspace", type=Path, required=True)
    options = parser.parse_args()
    show(*measure(Workspace.open(options.workspace)))


if __name__ == "__main__":
    main()
