"""Texts to summed n-gram embeddings, against a plain Python implementation.

    python benchmarks/ngrams.py [--preset demo] [--items 20000]

Times, on made-up items: texts → ids → bags (uncached and cached), and bags → sums. The plain
implementation tokenises every string of every item, and sums all tokens with one `embedding_bag`.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from synthetic_catalogue import synthetic

from omnisearch.encoders.config import preset_config
from omnisearch.encoders.models.hash_embedding import HashEmbedding, Levels, sum_bags
from omnisearch.encoders.models.ngrams import Bags, NgramIndex

BATCH = 4096
PLAIN = 2_000  # items for timing the plain implementation


def plain_tokens(index: NgramIndex, texts: list[list[str]]) -> tuple[torch.Tensor, torch.Tensor]:
    bags = [[token for text in strings for token in index.tokens(text)] for strings in texts]
    tokens = torch.tensor([token for bag in bags for token in bag])
    return tokens, torch.tensor([0, *np.cumsum([len(bag) for bag in bags]).tolist()])


def plain_sums(hash_: HashEmbedding, tokens: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
    return F.embedding_bag(
        hash_.hashes(tokens).flatten(),
        hash_.table,
        2 * offsets,
        mode="sum",
        per_sample_weights=hash_.weights[tokens].flatten(),
        include_last_offset=True,
    )


def each(call: Callable[[], object], items: int) -> float:
    """Seconds per item of one call."""
    began = time.perf_counter()
    call()
    return (time.perf_counter() - began) / items


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--preset", default="demo")
    parser.add_argument("--items", type=int, default=20_000)
    options = parser.parse_args()
    made = synthetic(preset_config(options.preset), options.items)
    hash_ = made.model.item.hash
    texts = [[text for _, text in item] for rows in made.texts.values() for _, item in rows]
    batches = [texts[start : start + BATCH] for start in range(0, len(texts), BATCH)]
    index = NgramIndex(made.data.items.index.vocabulary)
    bags: list[Bags] = []
    first = each(lambda: bags.extend(map(index.bags_of, batches)), len(texts))
    again = each(lambda: list(map(index.bags_of, batches)), len(texts))
    sums: list[torch.Tensor] = []
    levels = [Levels(bag, backward=False) for bag in bags]
    summed = each(lambda: sums.extend(sum_bags(hash_, level) for level in levels), len(texts))
    few = texts[:PLAIN]
    tokens = plain_tokens(index, few)
    read = each(lambda: plain_tokens(index, few), len(few))
    added = each(lambda: plain_sums(hash_, *tokens), len(few))
    same = torch.allclose(torch.cat(sums)[: len(few)], plain_sums(hash_, *tokens), atol=1e-3)
    print(f"{len(texts):,} items, {len(tokens[0]) / len(few):.0f} n-grams each, ", end="")
    print(
        f"{len(made.data.items.index.vocabulary):,} in the vocabularies; {os.cpu_count()} cores, "
    )
    print(f"{torch.get_num_threads()} threads, load {os.getloadavg()[0]:.1f}; same sums: {same}")
    print("                          items/s      plain   ratio")
    rows = {
        "texts → bags, new": (first, read),
        "texts → bags, known": (again, read),
        "bags → sums": (summed, added),
        "texts → sums, new": (first + summed, read + added),
    }
    for name, (fast, slow) in rows.items():
        print(f"{name:<22}{1 / fast:>11,.0f}{1 / slow:>11,.0f}{slow / fast:>8.1f}")


if __name__ == "__main__":
    main()
