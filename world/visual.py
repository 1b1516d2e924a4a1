"""Simulated image vectors: noisy embeddings of an item's visible attributes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from omnisearch.data.workspace.arrays import new_array
from omnisearch.world.itemtext import item_id
from omnisearch.world.lexicon import GROUPS, Lexicon
from omnisearch.world.population import Population

DIM = 128
BLOCK = 50_000
FAMILY, CONCEPT, NOISE = 0.8, 0.7, 0.4
# Visibility of attribute groups; invisible ones are omitted.
SEEN = {
    "colour": 0.6,
    "pattern": 0.5,
    "material": 0.5,
    "style": 0.45,
    "room": 0.4,
    "place": 0.6,
    "season": 0.3,
    "occasion": 0.35,
    "audience": 0.35,
    "taste": 0.4,
}


def write_vectors(
    folder: Path,
    lexicon: Lexicon,
    items: Population,
    rng: np.random.Generator,
    noise: float = NOISE,
) -> None:
    """Write vectors-image-{pin,product}.npy, float32 (n, 128), with .ids files.

    Args:
        noise: the length of what says nothing of an item, beside FAMILY, CONCEPT and SEEN.
    """
    themes = _directions(len(lexicon.themes), rng)
    values = _directions(len(lexicon.values) + 1, rng)
    values[-1] = 0.0
    family = np.array([theme.family for theme in lexicon.themes])
    weight = np.array([SEEN.get(group, 0.0) for group in GROUPS], dtype=np.float32)
    for entity, start, stop in (("pin", 0, items.pins), ("product", items.pins, len(items))):
        stem = folder / f"vectors-image-{entity}"
        out = new_array(stem.with_suffix(".npy"), np.float32, (stop - start, DIM))
        with stem.with_suffix(".ids").open("w") as ids:
            for low in range(start, stop, BLOCK):
                high = min(low + BLOCK, stop)
                concept = items.concept[low:high]
                vector = FAMILY * themes[family[concept]] + CONCEPT * themes[concept]
                for group in np.flatnonzero(weight):
                    vector += weight[group] * values[items.values[low:high, group]]
                vector += noise * _directions(high - low, rng)
                vector /= np.linalg.norm(vector, axis=1, keepdims=True)
                out[low - start : high - start] = vector
                ids.writelines(f"{item_id(items, row)}\n" for row in range(low, high))
        out.flush()


def _directions(n: int, rng: np.random.Generator) -> np.ndarray:
    """(n, DIM) float32 random unit rows."""
    rows = rng.standard_normal((n, DIM), dtype=np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)
