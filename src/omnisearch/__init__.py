"""OmniSearch: embedding-based search for a catalogue and an engagement log.

`SearchEngine.open("workspace").search("boho bedroom")` answers a query; `Workspace` knows where
everything of a workspace lies; `omnisearch.pipeline` has the whole recipe, from files to rankers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from omnisearch.data.workspace import Workspace
    from omnisearch.engine.search import SearchEngine

__all__ = ["SearchEngine", "Workspace"]

_HOME = {
    "SearchEngine": "omnisearch.engine.search",
    "Workspace": "omnisearch.data.workspace",
}


def __getattr__(name: str) -> Any:
    # Imported when first asked for: the command line starts without PyTorch.
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOME[name]), name)
