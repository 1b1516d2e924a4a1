"""The starter ranker: an L1 learned from public judgments, in the package.

It orders the candidates of workspaces without rankers of their own, and these are regularised
towards it. `starter.json` holds it with its card: the sets, their licences, its figures and the
command that made it. It reads only features that transfer between catalogues. How much words are
worth beside the cosine does not, and may be given.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from omnisearch.data.workspace.reading import load_json, reading
from omnisearch.ranker.l1 import Linear

FILE = Path(__file__).with_name("starter.json")


@lru_cache(maxsize=16)
def starter(word_weight: float | None = None) -> Linear:
    """The starter ranker; raises Corrupt if its file is missing or damaged.

    Args:
        word_weight: that of `text_share`, the cosine's being 1, in place of the learned one.
    """
    with reading("The starter ranker", FILE, "Install omnisearchsage again."):
        found = Linear.from_json(load_json(FILE.read_bytes(), {"l1": dict, "card": dict})["l1"])
    if word_weight is None:
        return found
    weights = dict(zip(found.names, found.weights, strict=True))
    weights["text_share"] = word_weight * weights["learned"]
    return replace(found, weights=np.array(list(weights.values()), np.float32))
