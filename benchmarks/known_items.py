"""Items that are typed by their names or codes: does each one come first?

    python benchmarks/known_items.py --workspace demo [--items 500] [--new 200] [--seed 0]

The names of items whose name has three words and more and is no other item's; the same of items
that are imported after training (two halves of other items' names, with an id and a SKU of their
own), followed by `omnisearch index update`; and the codes of these. "Lost" is not among the first
200. It works on a copy of the workspace.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import orjson

from omnisearch import pipeline
from omnisearch.data.catalogue.items import read_items
from omnisearch.data.catalogue.schema import ITEM_ENTITIES, open_catalogue
from omnisearch.data.text.normalise import words
from omnisearch.data.workspace import Workspace
from omnisearch.engine.search import SearchEngine
from omnisearch.indexer.parts.table import name_of

SYSTEMS = ("token", "l1", "full")
DEPTH = 200
Asked = tuple[str, str]  # what is typed, and the id of the item that is meant


def names(workspace: Workspace) -> list[Asked]:
    """The names of three words and more that one item has."""
    db = open_catalogue(workspace.catalogue)
    items = [
        (name_of(item), item["id"])
        for entity in ITEM_ENTITIES
        for batch in read_items(db, entity)
        for item in batch
    ]
    db.conn.close()
    counts = Counter(" ".join(words(name)) for name, _ in items)
    alone = [(name, key) for name, key in items if counts[" ".join(words(name))] == 1]
    return [(name, key) for name, key in alone if len(words(name)) >= 3]


def new_items(known: Sequence[Asked], count: int, rng: np.random.Generator) -> list[dict[str, str]]:
    """Products whose names are halves of other names that nobody has together."""
    taken = {" ".join(words(name)) for name, _ in known}
    made: list[dict[str, str]] = []
    while len(made) < count:
        first, second = (known[at][0].split() for at in rng.integers(0, len(known), 2))
        title = " ".join(first[: (len(first) + 1) // 2] + second[len(second) // 2 :])
        if len(words(title)) >= 3 and " ".join(words(title)) not in taken:
            taken.add(" ".join(words(title)))
            number = len(made)
            made.append({"id": f"new{number}", "title": title, "sku": f"KN-{number:04}/x"})
    return made


def show(engine: SearchEngine, what: str, asked: Sequence[Asked]) -> None:
    """Print the share that is found first, among ten, and not at all."""
    for system in SYSTEMS:
        places = np.array([place(engine.rank(text, system, DEPTH), key) for text, key in asked])
        shares = (np.mean(places == 1), np.mean(places <= 10), np.mean(places > DEPTH))
        print(f"{what:28}{system:8}{len(asked):6}" + "".join(f"{share:10.1%}" for share in shares))


def place(found: Sequence[tuple[str, str, float]], key: str) -> int:
    """The place of an item, 1 for the first; one more than DEPTH if it is not there."""
    return next((at for at, (_, id, _) in enumerate(found, 1) if id == key), DEPTH + 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--workspace", type=Path, default=Path("demo"))
    parser.add_argument("--items", type=int, default=500)
    parser.add_argument("--new", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(options.workspace, Path(folder) / "copy")
        workspace = Workspace.open(Path(folder) / "copy")
        known = names(workspace)
        drawn = rng.permutation(len(known))[: options.items]
        new = new_items(known, options.new, rng)
        file = Path(folder) / "new.jsonl"
        file.write_bytes(b"\n".join(map(orjson.dumps, new)))
        pipeline.import_files(workspace, [file], kind="products")
        pipeline.update_index(workspace)
        engine = SearchEngine.open(workspace)
        print(f"{'':28}{'':8}{'items':>6}{'first':>10}{'in ten':>10}{'lost':>10}")
        show(engine, "names", [known[at] for at in drawn])
        show(engine, "names of new items", [(item["title"], item["id"]) for item in new])
        show(engine, "ids of new items", [(item["id"], item["id"]) for item in new])
        show(engine, "SKUs of new items", [(item["sku"], item["id"]) for item in new])
        show(
            engine,
            "SKUs, typed otherwise",
            [(item["sku"].lower().replace("/", " "), item["id"]) for item in new],
        )
        engine.close()


if __name__ == "__main__":
    main()
