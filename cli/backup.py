"""`omnisearch backup` and `omnisearch restore`."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
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
    out,
)
from omnisearch.cli.progress import progress
from omnisearch.data.workspace.counts import counted
from omnisearch.data.workspace.dates import moment
from omnisearch.data.workspace.errors import Corrupt


def register(app: typer.Typer) -> None:
    app.command(epilog=example("omnisearch backup /backups/shop-2031-05-01.tar"))(backup)
    app.command(epilog=example("omnisearch restore /backups/shop-2031-05-01.tar -w workspace"))(
        restore
    )


def backup(
    target: Annotated[
        Path, typer.Argument(help="A new file, if its name ends in .tar, else a new folder.")
    ],
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    json: JsonOption = False,
) -> None:
    """Back up a workspace, also while it is served, imported to and built in.

    All that was acknowledged before is in it, with the sha256 of each file. The command ends with
    status 4 where a file is damaged in the workspace; the backup holds it as it is.
    """
    from omnisearch.data.backup.backup import backup as make
    from omnisearch.data.workspace import Workspace

    with progress("files backed up") as advance:
        made = make(Workspace.open(workspace), target, advance)
    if json:
        emit_json("backup", asdict(made))
    else:
        index = f"generation {made.generation}" if made.generation else "no index yet"
        size = f"{counted(made.files, 'file')}, {made.bytes / 1e6:,.1f} MB"
        out.print(f"{made.path}: {size}, {index}.", markup=False, soft_wrap=True)
        for name in made.left_out:
            err.print(f"Left out, since it is a link: {name}", markup=False, soft_wrap=True)
        for sentence in made.damaged:
            err.print(f"Damaged: {sentence}", markup=False, soft_wrap=True)
    if made.damaged:
        raise typer.Exit(Corrupt.exit_code)


def restore(
    source: Annotated[Path, typer.Argument(help="A backup: a folder or a file.")],
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    force: Annotated[
        bool, typer.Option("--force", help="Replace the workspace that is there, and remove it.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Restore a workspace from a backup, after comparing every file with its sha256.

    A damaged backup changes nothing. Stop what uses the workspace before you replace it.
    """
    from omnisearch.data.backup.restore import restore as put_back

    with progress("files restored") as advance:
        manifest = put_back(source, workspace, force=force, progress=advance)
    files, made = len(manifest["files"]), manifest["made"]
    if json:
        return emit_json("restore", {"workspace": str(workspace), "files": files, "made": made})
    when = moment(datetime.fromisoformat(made).timestamp())
    told = f"{workspace} is as it was at {when}: {counted(files, 'file')}."
    out.print(told, markup=False, soft_wrap=True)
