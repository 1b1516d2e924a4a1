"""`omnisearch cache`: the query-embedding cache."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from omnisearch.cli.common import (
    DEFAULT_WORKSPACE,
    JsonOption,
    WorkspaceOption,
    emit_json,
    example,
    out,
    table,
)
from omnisearch.data.workspace.counts import counted
from omnisearch.data.workspace.dates import moment

if TYPE_CHECKING:
    from omnisearch.engine.query_embeddings.cache import QueryCache

DAY = 86_400

CacheUrlOption = Annotated[
    str | None,
    typer.Option(
        "--cache-url",
        envvar="OMNISEARCH_CACHE_URL",
        help="URL of a Redis server with the cache, such as redis://localhost:6379/0.",
    ),
]

app = typer.Typer(
    help="Embeddings of queries that were asked before, kept for 30 days.", no_args_is_help=True
)


@app.command(epilog=example("omnisearch cache stats"))
def stats(
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    cache_url: CacheUrlOption = None,
    json: JsonOption = False,
) -> None:
    """Show how many queries are kept, and how often they were asked again."""
    found = _opened(workspace, cache_url).stats()
    if json:
        return emit_json("cache stats", found)
    rate = found["hit_rate"]
    rows: list[list[Any]] = [
        ["embeddings kept", f"{found['entries']:,} of {found['max_entries']:,} at most"],
        ["the oldest made", _ago(found["oldest_days"])],
        ["the newest made", _ago(found["newest_days"])],
        ["kept for", counted(round(found["ttl_days"]), "day")],
        ["size", f"{found['bytes'] / 1e6:,.1f} MB"],
        ["look-ups that found one", f"{found['hits']:,}"],
        ["look-ups that did not", f"{found['misses']:,}"],
        ["share that found one", None if rate is None else f"{rate:.1%}"],
    ]
    table(f"Query cache {found['store']}", ["figure", "value"], rows)


def _ago(days: float | None) -> str | None:
    return None if days is None else moment(time.time() - days * DAY)


@app.command(epilog=example("omnisearch cache clear"))
def clear(
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    cache_url: CacheUrlOption = None,
    json: JsonOption = False,
) -> None:
    """Forget all of them; they are made anew when they are asked."""
    dropped = _opened(workspace, cache_url).clear()
    if json:
        return emit_json("cache clear", {"dropped": dropped})
    out.print(f"Dropped {counted(dropped, 'embedding')}.")


@app.command(epilog=example("omnisearch cache warm --head 1000"))
def warm(
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    head: Annotated[
        int, typer.Option(min=1, help="The most frequent so many queries of the log.")
    ] = 1000,
    queries: Annotated[
        Path | None, typer.Option(help="Encode the queries in this file instead.")
    ] = None,
    cache_url: CacheUrlOption = None,
    json: JsonOption = False,
) -> None:
    """Encode the most frequent queries before anybody asks them."""
    from omnisearch.data.catalogue.items import head_queries
    from omnisearch.data.catalogue.schema import open_catalogue
    from omnisearch.data.workspace import Workspace
    from omnisearch.engine.search import SearchEngine
    from omnisearch.evaluation.query_file import read_queries

    space = Workspace.open(workspace)
    wanted = (
        read_queries(queries) if queries else head_queries(open_catalogue(space.catalogue), head)
    )
    engine = SearchEngine.open(space)
    engine.cache = _opened(space.root, cache_url)
    encoded = engine.warm(wanted)
    engine.close()
    if json:
        return emit_json("cache warm", {"asked": len(wanted), "encoded": encoded})
    others = "" if encoded == len(wanted) else "; the others were cached"
    out.print(f"Encoded {encoded:,} of {counted(len(wanted), 'query', 'queries')}{others}.")


def _opened(workspace: Path, url: str | None) -> QueryCache:
    from omnisearch.data.workspace import Workspace
    from omnisearch.engine.config import cache_config
    from omnisearch.engine.query_embeddings.cache import QueryCache

    shared = cache_config(Workspace(workspace), url=url)
    if not shared.url:
        Workspace.open(workspace)
    return QueryCache.open_default(workspace, shared=shared)
