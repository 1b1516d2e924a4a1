"""The starter ranker: an L1 learned from public judgments, in the package.

It orders the candidates of workspaces without rankers of their own, and these are regularised
towards it. `starter.json` holds it with its card: the sets, their licences, its figures and the
command that made it. It reads only features that transfer between catalogues.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from omnisearch.data.workspace.reading import load_json, reading
from omnisearch.ranker.l1 import Linear

FILE = Path(__file__).with_name("starter.json")


@lru_cache(maxsize=1)
def starter() -> Linear:
    """The starter ranker; raises Corrupt if its file is missing or damaged."""
    with reading("The starter ranker", FILE, "Install omnisearchsage again."):
        return Linear.from_json(load_json(FILE.read_bytes(), {"l1": dict, "card": dict})["l1"])
