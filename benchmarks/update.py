"""What `omnisearch index update` costs beside `omnisearch index build`, as processes of their own.

    python benchmarks/update.py [--items 25000,100000,400000]

Products with made-up words and vectors of 384 dimensions are imported beside the `tiny` sample
world, and an encoder is trained for two steps: speed does not depend on the weights. Then products
are changed by imports, and each change is published. A changed price changes no text; a changed
title is encoded. The last column is what opening each costs a service that has the generation
before it open.
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from synthetic_catalogue import Words

from omnisearch import pipeline
from omnisearch.data.catalogue.schema import open_catalogue
from omnisearch.data.catalogue.vectors_write import write_vectors
from omnisearch.data.workspace import Workspace
from omnisearch.engine.search import SearchEngine
from omnisearch.world import generate

DIM = 384  # of MiniLM


class Cost(NamedTuple):
    """Wall and processor seconds, and the most memory in MB, of one command."""

    wall: float
    cpu: float
    memory: float


# Runs a command and prints what it used: a child's peak memory begins with that of its parent.
_MEASURED = """
import resource, subprocess, sys, time
start = time.perf_counter()
done = subprocess.run([sys.executable, "-c", "from omnisearch.cli.main import main; main()",
                       *sys.argv[1:]], stdout=subprocess.DEVNULL)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(time.perf_counter() - start, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)
sys.exit(done.returncode)
"""


def run(workspace: Path, *command: str) -> Cost:
    """Run an `omnisearch` command."""
    line = [sys.executable, "-c", _MEASURED, *command, "--workspace", str(workspace)]
    done = subprocess.run(line, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr}")
    return Cost(*map(float, done.stdout.split()))


def products(words: Words, items: int) -> Iterator[dict[str, str | float]]:
    for number in range(items):
        yield {
            "id": f"p{number:07}",
            "title": words.string(4, 9),
            "description": words.string(10, 30),
            "brand": words.string(1, 1),
            "price": 5 + number % 500,
        }


def write(path: Path, rows: Iterator[dict[str, str | float]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["id", "title", "description", "brand", "price"])
        writer.writeheader()
        writer.writerows(rows)
    return path


def prepared(folder: Path, items: int) -> Workspace:
    """A workspace with so many products, and an encoder."""
    generate("tiny", folder / "world", pictures=False)
    workspace = Workspace.create(folder / "workspace")
    file = write(folder / "products.csv", products(Words(0), items))
    pipeline.import_files(workspace, [folder / "world", file])
    pipeline.enrich(workspace, "boards", "queries")
    vectors = np.random.default_rng(3).standard_normal((items, DIM), np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    db = open_catalogue(workspace.catalogue)
    write_vectors(workspace, db, "text", "product", [f"p{n:07}" for n in range(items)], vectors)
    db.conn.close()
    pipeline.train(workspace, "tiny", steps=2, valid_every=2)
    return workspace


def changed(folder: Path, kind: str, share: float, items: int, seed: int) -> Path:
    """A file of products with new prices or titles: one, or a share of all."""
    random, words = np.random.default_rng(seed), Words(seed)
    rows = random.choice(items, max(1, round(share * items)), replace=False).tolist()
    path = folder / f"changed-{kind}.csv"
    if kind == "price":
        text = "".join(f"p{row:07},{random.integers(1, 9_999) / 100}\n" for row in rows)
        path.write_text("id,price\n" + text, "utf-8")
    else:
        text = "".join(f"p{row:07},{words.string(4, 9)}\n" for row in rows)
        path.write_text("id,title\n" + text, "utf-8")
    return path


def main() -> None:
    """Print a table for each size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", default="25000,100000")
    sizes = [int(size) for size in parser.parse_args().items.split(",")]
    for items in sizes:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            root = prepared(folder, items).root
            build = run(root, "index", "build")
            columns = "wall s   cpu s   of a build   memory MB   opened ms"
            print(f"\n{items:,} products         {columns}")
            show("index build", build, build)
            show("nothing changed", run(root, "index", "update"), build)
            engine = SearchEngine.open(Workspace.open(root))
            opened(engine)  # what is worked out of the build once is there from now on
            prices = [("price", share) for share in (0.0, 0.0, 0.01, 1.0)]
            changes = [*prices, ("title", 0.0), ("title", 0.01)]
            for seed, (kind, share) in enumerate(changes):
                file = changed(folder, kind, share, items, seed + 1)
                pipeline.import_files(root, [file], kind="products")
                what = f"{kind} of {f'{share:.0%}' if share else 'one'}"
                cost = run(root, "index", "update")
                show(what, cost, build, f"{opened(engine):12.0f}")
            engine.close()


def opened(engine: SearchEngine) -> float:
    """Processor milliseconds of opening what is live."""
    begun = time.process_time()
    engine.swap(engine.open_next())
    return 1000 * (time.process_time() - begun)


def show(what: str, cost: Cost, build: Cost, more: str = "") -> None:
    """Print one line."""
    line = f"{what:24}{cost.wall:8.1f}{cost.cpu:8.1f}{cost.cpu / build.cpu:13.1%}"
    print(f"{line}{cost.memory:12,.0f}{more}", flush=True)


if __name__ == "__main__":
    main()
