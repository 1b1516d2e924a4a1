"""Pretrained text encoders side by side: embedding a catalogue, and serving as the query tower.

    python benchmarks/text_encoders.py [--workspace demo] [--encoders minilm,e5] [--threads 1]

Embedding: texts a second of the workspace's items, each encoder with all its word pieces. Serving:
the tower as a training begins with it, with the word pieces that this workspace needs, exported to
ONNX; the encoders take turns, one query at a time, the tokeniser included. Megabytes are of the
export's files, and of the memory of a process that has just that export open, beside one without.
Nothing is written to the workspace.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from query_tower import Tower, medians

from omnisearch.data.catalogue.items import head_queries, read_items
from omnisearch.data.catalogue.schema import ITEM_ENTITIES, open_catalogue
from omnisearch.data.workspace import Workspace
from omnisearch.encoders.models.query import QueryEncoder, pad
from omnisearch.encoders.onnx.export import write_float32, write_int8, write_tokeniser
from omnisearch.encoders.onnx.query_tower import open_session
from omnisearch.encoders.text_encoder import TextTower
from omnisearch.enrichment.inputs import texts_of

DIM = 256
OPEN = """
import sys
from pathlib import Path
from tokenizers import Tokenizer
from omnisearch.encoders.onnx.query_tower import open_session
if len(sys.argv) > 1:
    folder = Path(sys.argv[1])
    kept = Tokenizer.from_file(str(folder / "tokenizer.json"))
    session = open_session((folder / sys.argv[2]).read_bytes(), 1, folder)
print(next(line for line in open("/proc/self/status") if line.startswith("VmRSS")).split()[1])
"""


@dataclass(frozen=True)
class Exported:
    """An encoder's export: a folder with tokenizer.json, and a model of each precision."""

    folder: Path
    tower: TextTower

    def queries(self, precision: str, threads: int) -> Tower:
        content = (self.folder / f"{precision}.onnx").read_bytes()
        session, tower = open_session(content, threads, self.folder), self.tower

        def encode(texts: list[str]) -> np.ndarray:
            ids, mask = pad(tower.pieces(texts, tower.form.query), tower.tokeniser.pad)
            feeds = {"input_ids": ids.numpy(), "attention_mask": mask.numpy()}
            return session.run(None, feeds)[0]

        return encode  # type: ignore[return-value]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workspace", type=Path, default=Path("demo"))
    parser.add_argument("--encoders", type=lambda text: text.split(","), default=["minilm", "e5"])
    parser.add_argument("--items", type=int, default=2_000, help="items embedded")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=300)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    db = open_catalogue(Workspace.open(options.workspace).catalogue)
    texts = list(items_texts(db))
    queries = head_queries(db, 1000) or [text[:40] for text in texts[:1000]]
    some = texts[:: max(1, len(texts) // options.items)][: options.items]
    print(f"{os.cpu_count()} cores, {options.threads} used; load {os.getloadavg()[0]:.1f}")
    print(f"{len(texts):,} texts of items, {len(queries):,} queries")
    with tempfile.TemporaryDirectory() as folder:
        exported = {
            name: export(name, Path(folder) / str(number), some, [*texts, *queries])
            for number, name in enumerate(options.encoders)
        }
        towers = {
            f"{name} {precision}": each.queries(precision, options.threads)
            for name, each in exported.items()
            for precision in ("float32", "int8")
        }
        found = medians(towers, queries, 1, options.rounds)
        base = resident()
        print(f"\n{'query tower':16} {'ms a query':>10} {'file, MB':>9} {'memory, MB':>11}")
        for label, taken in found.items():
            name, precision = label.split()
            at = exported[name].folder
            size = (at / f"{precision}.onnx").stat().st_size / 1e6
            memory = resident(str(at), f"{precision}.onnx") - base
            print(f"{label:16} {taken:10.2f} {size:9.0f} {memory:11.0f}")


def items_texts(db: object) -> Iterator[str]:
    for entity in ITEM_ENTITIES:
        for items in read_items(db, entity):  # type: ignore[arg-type]
            yield from chain.from_iterable(map(texts_of, items))


def export(name: str, folder: Path, some: list[str], needed: list[str]) -> Exported:
    """Measure embedding, then export the pruned tower."""
    tower = TextTower(name)
    tower(some[:64])
    start = time.perf_counter(), time.process_time()
    tower(some)
    wall, cpu = time.perf_counter() - start[0], time.process_time() - start[1]
    pieces = np.mean([len(row) for row in tower.pieces(some, tower.form.item)])
    whole = len(tower.tokeniser.hub_tokeniser)
    tower.prune(needed)
    left = len(tower.tokeniser.hub_tokeniser)
    print(
        f"{name}: {len(some) / wall:,.0f} texts/s, {len(some) / cpu:,.0f} a second of processor, "
        f"of {pieces:.1f} word pieces; {whole:,} word pieces known, {left:,} kept",
        flush=True,
    )
    folder.mkdir()
    model = QueryEncoder(tower.model, tower.form.pooling, DIM)
    model.projection.fold()
    write_float32(model, folder / "float32.onnx")
    write_int8(folder / "float32.onnx", folder / "int8.onnx")
    write_tokeniser(tower.tokeniser.hub_tokeniser, folder / "tokenizer.json")
    return Exported(folder, tower)


def resident(*arguments: str) -> float:
    """Megabytes of a process that opens an export, or none."""
    done = subprocess.run(
        [sys.executable, "-c", OPEN, *arguments], capture_output=True, text=True, check=True
    )
    return int(done.stdout) / 1024


if __name__ == "__main__":
    main()
