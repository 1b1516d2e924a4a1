"""`omnisearch export`: the catalogue's items, queries and judgments in the BEIR layout."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.common import DEFAULT_WORKSPACE, JsonOption, WorkspaceOption, emit_json, example, out


def register(app: typer.Typer) -> None:
    app.command(epilog=example("omnisearch export beir-folder"))(export)


def export(
    folder: Annotated[Path, typer.Argument(help="Where corpus.jsonl, queries.jsonl, qrels/ go.")],
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    json: JsonOption = False,
) -> None:
    """Write items, queries and judgments in the BEIR layout, for other tools."""
    from data.importers.beir import export_beir
    from data.workspace import Workspace

    counts = export_beir(Workspace.open(workspace), folder)
    if json:
        return emit_json("export", counts)
    summary = ", ".join(f"{value:,} {key}" for key, value in counts.items())
    out.print(f"Wrote {summary} to {folder}.", markup=False)
