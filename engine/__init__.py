"""What answers a query: encode, retrieve, merge, rank, blend.

`SearchEngine.open(workspace).search("boho bedroom", k=20)`: see docs/guide/python.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from omnisearch.engine.config import EngineConfig
    from omnisearch.engine.filters import Filters
    from omnisearch.engine.search import SearchEngine

__all__ = ["EngineConfig", "Filters", "SearchEngine"]

_HOME = {
    "EngineConfig": "omnisearch.engine.config",
    "Filters": "omnisearch.engine.filters",
    "SearchEngine": "omnisearch.engine.search",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOME[name]), name)
