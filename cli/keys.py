"""`omnisearch keys`: API keys of the service."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from omnisearch.cli.common import (
    DEFAULT_WORKSPACE,
    JsonOption,
    WorkspaceOption,
    emit_json,
    err,
    example,
)
from omnisearch.data.workspace.errors import InputError

app = typer.Typer(help="API keys of the service, and what each may do.", no_args_is_help=True)


@app.command(epilog=example("omnisearch keys new shop-page --scopes search,feedback"))
def new(
    name: Annotated[str, typer.Argument(help="What the log of the service calls the key.")],
    scopes: Annotated[
        str,
        typer.Option(
            metavar="SCOPES",
            help="What the key may do: search, feedback, judge, write; separate several by commas.",
        ),
    ] = "search,feedback",
    file: Annotated[
        Path | None,
        typer.Option(help="The file of keys.  [default: api_keys in the settings' [service]]"),
    ] = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    json: JsonOption = False,
) -> None:
    """Make an API key and print it, once. The file keeps its sha256, its name and its scopes.

    A running service knows the key within two seconds. To revoke a key, remove its line.
    """
    from omnisearch.data.workspace import Workspace
    from omnisearch.service.config import service_config
    from omnisearch.service.key_files import new_key

    path = file or Path(service_config(Workspace(workspace)).api_keys)
    if path == Path():
        raise InputError(
            "No file of API keys is given.",
            where="--file",
            how="Give one with --file, or set api_keys in [service] of omnisearch.toml.",
        )
    key = new_key(path, name, scopes.split(","))
    if json:
        return emit_json("keys new", {"name": name, "file": str(path), "key": key})
    err.print(f"{path} has the key's sha256. The key is not stored: keep it now.", markup=False)
    print(key)
