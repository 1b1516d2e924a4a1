"""Item encoding speed, with all text fields, against a plain implementation.

    python benchmarks/encode.py [--workspace DIR] [--items N]
    python benchmarks/encode.py [--workspace DIR] --runner ray [--buckets N]

Without a workspace it makes the sample world's `demo` (25,000 items) in a temporary folder and
trains for two steps: speed does not depend on the weights. Each timed pass starts with an encoder
whose string cache is empty. The plain implementation tokenises every string of every item and sums
the embeddings of its tokens, with the same weights.

With --runner it encodes the whole catalogue as a data set instead, as `omnisearch encode` does, in
turns by that runner and by the plain process pool, and compares what they wrote. Times are of whole
runs: workers start, load the encoder, and encode.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from omnisearch import pipeline
from omnisearch.data.catalogue.items import field_texts, read_items
from omnisearch.data.catalogue.schema import ITEM_ENTITIES, open_catalogue
from omnisearch.data.catalogue.vectors import open_all_vectors
from omnisearch.data.dataset.export import export_catalogue
from omnisearch.data.dataset.place import place_at
from omnisearch.data.workspace import Workspace
from omnisearch.encoders.checkpoint import load_encoder
from omnisearch.encoders.encoder import Encoder
from omnisearch.pipeline.encoding import encode_dataset

PASSES = 3
BATCH = 4096


def sample_workspace(folder: Path) -> Workspace:
    """The demo world, imported and enriched, with an encoder of the demo preset."""
    from omnisearch.world import generate

    generate("demo", folder / "world", pictures=False)
    workspace = Workspace.create(folder / "workspace")
    pipeline.import_files(workspace, [folder / "world"])
    pipeline.enrich(workspace, "boards", "queries", "graph")
    pipeline.train(workspace, steps=2, valid_every=2)
    return workspace


def read(workspace: Workspace, limit: int | None) -> tuple[list[dict], dict[str, np.ndarray]]:
    """Items of both entity types and their features by name, zeros where absent."""
    db = open_catalogue(workspace.catalogue)
    items: list[dict] = []
    parts: dict[str, list[np.ndarray]] = {}
    for entity in ITEM_ENTITIES:
        mine = [item for batch in read_items(db, entity) for item in batch]
        found = open_all_vectors(workspace, db, entity)
        ids = [item["id"] for item in mine]
        for name, feature in found.items():
            rows = parts.setdefault(name, [np.zeros((len(items), feature.dim), np.float32)])
            rows.append(feature.rows(ids)[0])
        items += mine
        for rows in parts.values():
            missing = len(items) - sum(len(part) for part in rows)
            if missing:
                rows.append(np.zeros((missing, rows[0].shape[1]), np.float32))
    features = {name: np.concatenate(rows) for name, rows in parts.items()}
    chosen = np.sort(np.random.default_rng(0).permutation(len(items))[:limit])
    return [items[row] for row in chosen], {n: rows[chosen] for n, rows in features.items()}


def fast(encoder: Encoder, items: list[dict], features: dict[str, np.ndarray]) -> np.ndarray:
    parts = []
    for start in range(0, len(items), BATCH):
        part = slice(start, start + BATCH)
        parts.append(encoder.items(items[part], {n: rows[part] for n, rows in features.items()}))
    return np.concatenate(parts)


@torch.inference_mode()
def plain(encoder: Encoder, items: list[dict], features: dict[str, np.ndarray]) -> np.ndarray:
    module = encoder.model.item
    order = [features[name] for name in encoder.feature_dims if name in features]
    vectors = []
    for start in range(0, len(items), 256):
        sums = []
        for item in items[start : start + 256]:
            tokens = [token for text in field_texts(item) for token in encoder.index.tokens(text)]
            ids = torch.tensor(tokens, dtype=torch.int64)
            rows = module.hash.table[module.hash.hashes(ids)]
            sums.append((rows * module.hash.weights[ids][:, :, None]).sum(dim=(0, 1)))
        continuous = torch.from_numpy(np.concatenate([f[start : start + 256] for f in order], 1))
        text = module.text_norm(torch.stack(sums))
        mixed = module.mlp(torch.cat((text, continuous * module.feature_scale), dim=1))
        vectors.append(torch.nn.functional.normalize(mixed, dim=1).numpy())
    return np.concatenate(vectors)


def runners(workspace: Workspace, name: str, runner: str, buckets: int, folder: Path) -> None:
    """Time a runner and the process pool in turns."""
    source = place_at(str(folder / "dataset"))
    export_catalogue(workspace, source, buckets)
    seconds: dict[str, list[float]] = {"local": [], runner: []}
    written: list[dict[str, bytes]] = []
    for number in range(PASSES):
        for each in seconds:
            target = folder / f"{each}-{number}"
            began = time.perf_counter()
            done = encode_dataset(workspace, source, place_at(str(target)), name, each)
            seconds[each].append(time.perf_counter() - began)
            paths = [path for path in target.rglob("*") if path.is_file()]
            written.append({str(path.relative_to(target)): path.read_bytes() for path in paths})
    rows = sum(done.rows.values())
    print(f"{rows:,} items and queries in {done.files} files, {os.cpu_count()} cores")
    print(f"the same bytes: {all(each == written[0] for each in written)}")
    for each, taken in seconds.items():
        print(f"{each:8} {rows / statistics.median(taken):>10,.0f} /s (median of {PASSES} runs)")
    ratios = [one / other for one, other in zip(seconds["local"], seconds[runner], strict=True)]
    print(f"ratio    {statistics.median(ratios):>10.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--workspace", type=Path)
    parser.add_argument("--name", default="default")
    parser.add_argument("--items", type=int, help="a random sample of so many")
    parser.add_argument("--runner", choices=("ray",), help="encode a data set by it")
    parser.add_argument("--buckets", type=int, default=16, help="of that data set")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        workspace = (
            Workspace.open(options.workspace)
            if options.workspace
            else sample_workspace(Path(folder))
        )
        if options.runner:
            runners(workspace, options.name, options.runner, options.buckets, Path(folder))
            return
        items, features = read(workspace, options.items)
        strings = [field_texts(item) for item in items]
        characters = sum(len(text) for texts in strings for text in texts)
        print(
            f"{len(items):,} items, {sum(map(len, strings)) / len(items):.1f} strings and ", end=""
        )
        print(f"{characters / len(items):.0f} characters each; features: ", end="")
        print(", ".join(f"{name} {rows.shape[1]}" for name, rows in features.items()))
        print(f"{os.cpu_count()} cores, {torch.get_num_threads()} threads")
        seconds = []
        for _ in range(PASSES):
            encoder = load_encoder(workspace, options.name)
            began = time.perf_counter()
            vectors = fast(encoder, items, features)
            seconds.append(time.perf_counter() - began)
        few = slice(0, min(len(items), 1_000))
        began = time.perf_counter()
        reference = plain(encoder, items[few], {n: rows[few] for n, rows in features.items()})
        slow = (time.perf_counter() - began) / len(reference)
        each = statistics.median(seconds) / len(items)
        print("largest difference from the plain implementation: ", end="")
        print(f"{np.abs(vectors[few] - reference).max():.1e}")
        print(f"encode   {1 / each:>10,.0f} items/s (median of {PASSES} passes)")
        print(f"plain    {1 / slow:>10,.0f} items/s")
        print(f"ratio    {slow / each:>10.1f}")


if __name__ == "__main__":
    main()
