"""The HTTP service: query embeddings, search, feedback and pages over one workspace.

`create_app(workspace)` gives an ASGI application; `omnisearch serve` runs it in worker processes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from omnisearch.service.app import create_app
    from omnisearch.service.config import ServiceConfig

__all__ = ["ServiceConfig", "create_app"]

_HOME = {"ServiceConfig": "omnisearch.service.config", "create_app": "omnisearch.service.app"}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOME[name]), name)
