"""`omnisearch serve`: the HTTP service."""

from __future__ import annotations

from typing import Annotated

import typer

from omnisearch.cli.common import DEFAULT_WORKSPACE, WorkspaceOption, example
from omnisearch.data.workspace.errors import MissingExtra


def register(app: typer.Typer) -> None:
    app.command(
        epilog=example(
            "omnisearch serve",
            "omnisearch serve --port 8080 --workers 2 --api-keys keys.txt",
        )
    )(serve)


def serve(
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    host: Annotated[
        str | None,
        typer.Option(help="Address to listen on; by default only this machine can connect."),
    ] = None,
    port: Annotated[int | None, typer.Option(help="0 picks a free one.  [default: 8000]")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes.  [default: 1]")] = None,
    api_keys: Annotated[
        str | None, typer.Option(metavar="FILE", help="The API keys (see `omnisearch keys`).")
    ] = None,
    write_keys: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="API keys that may change items too."),
    ] = None,
    cors: Annotated[
        str | None,
        typer.Option(metavar="ORIGINS", help="Sites whose pages may call the API."),
    ] = None,
    image_origins: Annotated[
        str | None,
        typer.Option(
            "--image-origin", metavar="ORIGINS", help="Sites that pages load pictures from."
        ),
    ] = None,
    cache_url: Annotated[
        str | None, typer.Option(metavar="URL", help="A Redis server to share query embeddings.")
    ] = None,
    rate: Annotated[
        float | None, typer.Option(help="Requests per second and client; 0 for no limit.")
    ] = None,
    log_requests: Annotated[
        bool | None, typer.Option("--log-requests/--no-log-requests", help="Log each request.")
    ] = None,
    log_queries: Annotated[
        bool | None, typer.Option("--log-queries", help="Include queries in the log.")
    ] = None,
) -> None:
    """Serve query embeddings, search, feedback and pages over HTTP until interrupted.

    The log is JSON on stderr. Settings are in the [service] table of omnisearch.toml.
    """
    import os
    from importlib.util import find_spec

    for package in ("fastapi", "uvicorn"):
        if find_spec(package) is None:
            raise MissingExtra(f"{package}, which the service needs,", "serve")
    from omnisearch.data.workspace import Workspace
    from omnisearch.engine.config import cache_config
    from omnisearch.service.config import service_config
    from omnisearch.service.runtime.supervisor import Supervisor

    space = Workspace.open(workspace)
    config = service_config(
        space,
        host=host,
        port=port,
        workers=workers,
        api_keys=api_keys,
        write_keys=write_keys,
        cors=cors,
        image_origins=image_origins,
        rate=rate,
        log_requests=log_requests,
        log_queries=log_queries,
    )
    if cache_url is not None:
        os.environ["OMNISEARCH_CACHE_URL"] = cache_url
    cache_config(space)  # a wrong URL is told before the service starts
    Supervisor(space, config).run()
