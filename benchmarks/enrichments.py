"""What each enrichment adds to Recall@10 (Table 4), on the sample world or on a workspace.

    python benchmarks/enrichments.py [--pins 6000] [--steps 300] [--seeds 3] [--workspace FOLDER]

Four models are trained for each seed: on the continuous features alone; with the texts that come
with an item and its caption; with board titles; with engaged queries. What a model may not see is
emptied in its own copy of the catalogue, so training and encoding are the ordinary ones. Recall
is that of the engaged pin among all pins, on the evaluation window, and of the pins that judges
found relevant. Prints means over the seeds, their spread (standard deviation), and the gain over
the row above.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sqlite3
import sys
import tempfile
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from data.catalogue import TEXT_FIELDS, get_meta, open_catalogue, read_items
from data.enrich.boards import enrich_board_titles
from data.enrich.engaged import enrich_engaged_queries
from data.features import open_features
from data.importers.load import ImportOptions, import_folder
from data.workspace import Workspace
from data.world import Size, generate
from encoders.checkpoint import load_encoder
from encoders.config import preset_config
from encoders.graph.itemsage import fit_itemsage
from encoders.graph.pinsage import fit_pinsage
from encoders.train import train
from evaluation.evaluate import held_out_pairs
from evaluation.judged import RELEVANT, judged_gains
from evaluation.ranks import exact_ranks

BOARDS, QUERIES = "board_titles", "engaged_queries"
OWN = tuple(field for field in TEXT_FIELDS if field not in (BOARDS, QUERIES))
STEPS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("continuous features only", ()),
    ("+ title, description, caption", OWN),
    ("+ board titles", (*OWN, BOARDS)),
    ("+ engaged queries", (*OWN, BOARDS, QUERIES)),
)
COLUMNS = ("save", "long_click", "relevance")


@dataclass(frozen=True)
class Options:
    pins: int
    steps: int
    seeds: int
    workspace: Path | None


def tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def sample_world(folder: Path, pins: int) -> Workspace:
    """A workspace with the sample world, enriched, with PinSage and ItemSage trained on it."""
    generate(Size(pins), folder / "files", pictures=False)
    workspace = Workspace.create(folder / "base")
    import_folder(workspace, folder / "files", ImportOptions())
    db = open_catalogue(workspace.catalogue)
    enrich_board_titles(db)
    enrich_engaged_queries(db)
    fit_pinsage(workspace, db)
    fit_itemsage(workspace, db)
    db.conn.close()
    return workspace


def with_fields(base: Workspace, folder: Path, fields: tuple[str, ...]) -> Workspace:
    """A copy of a workspace whose items have only these text fields; vectors are linked."""
    copy = Workspace.create(folder)
    with (
        closing(sqlite3.connect(base.catalogue)) as source,
        closing(sqlite3.connect(copy.catalogue)) as target,
    ):
        source.backup(target)
    shutil.copytree(base.features, copy.features, copy_function=os.link)
    db = open_catalogue(copy.catalogue)
    with db.conn:
        for table in ("pins", "products"):
            hidden = (set(TEXT_FIELDS) - set(fields)) & set(db[table].columns_dict)
            for field in sorted(hidden):
                db.conn.execute(f"UPDATE {table} SET {field} = NULL")
    db.conn.close()
    return copy


def encode_pins(workspace: Workspace, db: Any, encoder: Any) -> tuple[list[str], np.ndarray]:
    features = open_features(workspace, db, "pin")
    ids: list[str] = []
    vectors = []
    for batch in read_items(db, "pin"):
        keys = [item["id"] for item in batch]
        found = {
            name: features[name].rows(keys)[0] for name in encoder.feature_dims if name in features
        }
        vectors.append(encoder.items(batch, found))
        ids += keys
    return ids, np.concatenate(vectors)


def measured_pairs(db: Any) -> dict[str, list[tuple[str, str]]]:
    """Column → (query, pin) pairs: of the evaluation window, and all judged relevant.

    Training never sees judgments here: the encoder learns from engagement alone.
    """
    tables: dict[str, pa.Table] = held_out_pairs(db)
    pairs = {
        action: list(
            zip(
                tables[f"pin/{action}"]["query"].to_pylist(),
                tables[f"pin/{action}"]["item_id"].to_pylist(),
                strict=True,
            )
        )
        for action in ("save", "long_click")
        if f"pin/{action}" in tables
    }
    pairs["relevance"] = [
        (query, key)
        for query, gains in sorted(judged_gains(db).items())
        for (entity, key), gain in sorted(gains.items())
        if entity == "pin" and gain >= RELEVANT
    ]
    return pairs


def recalls(workspace: Workspace, steps: int, seed: int) -> list[float]:
    """Train on a workspace and measure: one figure for each of COLUMNS, NaN without pairs."""
    db = open_catalogue(workspace.catalogue)
    train(workspace, db, preset_config("demo", steps=steps, seed=seed))
    encoder = load_encoder(workspace)
    ids, vectors = encode_pins(workspace, db, encoder)
    row_of = {key: row for row, key in enumerate(ids)}
    everything = np.arange(len(ids))
    pairs, found = measured_pairs(db), []
    for column in COLUMNS:
        if not pairs.get(column):
            found.append(float("nan"))
            continue
        queries = encoder.queries([query for query, _ in pairs[column]])
        targets = np.array([row_of[key] for _, key in pairs[column]])
        ranks = exact_ranks(queries, targets, vectors, everything)
        found.append(float((ranks <= 10).mean()))
    db.conn.close()
    return found


def run(options: Options, folder: Path) -> None:
    if options.workspace is None:
        tell(f"a sample world of {options.pins:,} pins")
        base = sample_world(folder, options.pins)
    else:
        base = Workspace.open(options.workspace)
    figures = np.full((len(STEPS), options.seeds, len(COLUMNS)), np.nan)
    for seed in range(options.seeds):
        for number, (name, fields) in enumerate(STEPS):
            place = folder / f"{number}-{seed}"
            copy = with_fields(base, place, fields)
            figures[number, seed] = recalls(copy, options.steps, seed)
            shutil.rmtree(place)
            told = "  ".join(f"{figure:.3f}" for figure in figures[number, seed])
            tell(f"seed {seed}  {name:32} {told}")
    db = open_catalogue(base.catalogue)
    if get_meta(db, "synthetic"):
        print("Synthetic data: the sample world.")
    report(figures)


def report(figures: np.ndarray) -> None:
    """Print means, spreads and gains; figures is (rows, seeds, columns)."""
    means = figures.mean(axis=1)
    spreads = figures.std(axis=1, ddof=1) if figures.shape[1] > 1 else np.zeros_like(means)
    print(f"pin Recall@10, mean ± spread of {figures.shape[1]} seeds (gain over the row above)")
    print(f"{'':32}" + "".join(f"{name:>24}" for name in COLUMNS))
    for row, (name, _) in enumerate(STEPS):
        cells = []
        for column in range(len(COLUMNS)):
            cell = f"{means[row, column]:.3f} ± {spreads[row, column]:.3f}"
            if row and means[row - 1, column] > 0:
                cell += f" ({means[row, column] / means[row - 1, column] - 1:+.0%})"
            cells.append(f"{cell:>24}")
        print(f"{name:32}" + "".join(cells))
    better = (figures[1:] > figures[:-1]).all(axis=1)
    for row, (name, _) in enumerate(STEPS[1:]):
        held = [column for column, ok in zip(COLUMNS, better[row], strict=True) if ok]
        print(f"{name} adds with every seed to: {', '.join(held) or 'nothing'}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pins", type=int, default=6000, help="size of the sample world")
    parser.add_argument("--steps", type=int, default=300, help="training steps of each model")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--workspace", type=Path, help="an enriched workspace instead")
    options = Options(**vars(parser.parse_args()))
    with tempfile.TemporaryDirectory() as folder:
        run(options, Path(folder))


if __name__ == "__main__":
    main()
