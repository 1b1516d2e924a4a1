"""Compares the query tower in PyTorch and in ONNX Runtime, float32 and int8, in one run.

    python benchmarks/query_tower.py [--workspace demo] [--threads 1] [--rounds 200]

Prints milliseconds from text to vector, including the tokenizer, at batch 1 and batch 32, taking
turns on the log's queries, and each speed-up over PyTorch float32. Two towers: the workspace's own,
and one of DistilBERT's shape (6 layers of 768) with random weights, which is representative only
for speed. It also prints the lowest cosine of int8 with PyTorch, and how much int8 vectors vary
with the other queries in the batch. Nothing is written to the workspace.
"""

from __future__ import annotations

import argparse
import copy
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModel, DistilBertConfig

from omnisearch.data.catalogue.items import head_queries
from omnisearch.data.catalogue.schema import open_catalogue
from omnisearch.data.workspace import Workspace
from omnisearch.encoders.checkpoint import load_encoder
from omnisearch.encoders.encoder import Encoder
from omnisearch.encoders.models.query import QueryEncoder, QueryTokeniser
from omnisearch.encoders.onnx.export import export_query_tower
from omnisearch.encoders.onnx.query_tower import OnnxQueries

BATCHES = (1, 32)
Tower = Callable[[Sequence[str]], np.ndarray]


def distilbert_size(encoder: Encoder) -> Encoder:
    """An encoder with a query tower of DistilBERT's shape, and the tokeniser of `encoder`."""
    torch.manual_seed(0)
    shape = DistilBertConfig(vocab_size=len(encoder.tokeniser.hub_tokeniser))
    model = copy.deepcopy(encoder.model)
    model.query = QueryEncoder(AutoModel.from_config(shape), "cls", encoder.dim)
    model.query.projection.fold()
    return Encoder(
        model.eval().requires_grad_(False),
        encoder.config,
        encoder.index,
        QueryTokeniser(encoder.tokeniser.hub_tokeniser, encoder.tokeniser.max_tokens),
        "distilbert-size",
        {},
        {},
    )


def medians(towers: dict[str, Tower], texts: list[str], size: int, rounds: int) -> dict[str, float]:
    """Median milliseconds of one call; the towers take turns."""
    times: dict[str, list[float]] = {name: [] for name in towers}
    random = np.random.default_rng(size)
    for number in range(rounds + 3):
        some = [texts[row] for row in random.integers(0, len(texts), size)]
        for name, tower in towers.items():
            start = time.perf_counter()
            tower(some)
            if number >= 3:
                times[name].append((time.perf_counter() - start) * 1000)
    return {name: float(np.median(taken)) for name, taken in times.items()}


def measure(name: str, encoder: Encoder, texts: list[str], options: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace.create(folder)
        everything = {"kept for the benchmark": np.ones(1, bool)}
        facts = export_query_tower(workspace, encoder, texts[:200], lambda _: everything)
        onnx = {
            precision: OnnxQueries(workspace.export(encoder.checkpoint), options.threads, precision)
            for precision in ("float32", "int8")
        }
    towers: dict[str, Tower] = {
        "PyTorch float32": encoder.queries,
        "ONNX float32": onnx["float32"].queries,
        "ONNX int8": onnx["int8"].queries,
    }
    weights = sum(parameter.numel() for parameter in encoder.model.query.parameters())
    cosines = {precision: facts[precision]["cosine"] for precision in onnx}
    print(f"\n{name}: {weights / 1e6:.1f}M weights")
    print("least cosine with PyTorch: " + ", ".join(f"{k} {v:.5f}" for k, v in cosines.items()))
    alone = onnx["int8"].queries(texts[:200], 1)
    company = onnx["int8"].queries(texts[:200], 64)
    print(f"int8 alone and in batches of 64, least cosine: {(alone * company).sum(1).min():.5f}")
    for size in BATCHES:
        rounds = options.rounds if size == 1 else max(10, options.rounds // 10)
        found = medians(towers, texts, size, rounds)
        base = found["PyTorch float32"]
        for tower, taken in found.items():
            each = f"{taken / size:8.3f} ms a query" if size > 1 else ""
            print(f"  batch {size:2}  {tower:16} {taken:9.3f} ms {base / taken:6.1f}x {each}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--workspace", type=Path, default=Path("demo"))
    parser.add_argument("--threads", type=int, default=1, help="of every tower")
    parser.add_argument("--rounds", type=int, default=200)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    workspace = Workspace.open(options.workspace)
    encoder = load_encoder(workspace)
    texts = head_queries(open_catalogue(workspace.catalogue), 1000)
    pieces = [len(row) for row in encoder.tokeniser(texts)]
    print(f"{os.cpu_count()} cores, {options.threads} used; load {os.getloadavg()[0]:.1f}")
    print(f"{len(texts):,} head queries of the log, {np.mean(pieces):.1f} word pieces each")
    measure("the workspace's tower", encoder, texts, options)
    measure("DistilBERT's shape, random", distilbert_size(encoder), texts, options)


if __name__ == "__main__":
    main()
