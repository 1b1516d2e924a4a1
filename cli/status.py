"""`omnisearch status`: what a workspace contains, and what is missing."""

from __future__ import annotations

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


def register(app: typer.Typer) -> None:
    app.command(epilog=example("omnisearch status"))(status)


def status(workspace: WorkspaceOption = DEFAULT_WORKSPACE, json: JsonOption = False) -> None:
    """Show counts, item vectors, checkpoints, the live generation, rankers and the next step."""
    from omnisearch.data.workspace import Workspace
    from omnisearch.pipeline.status import workspace_status

    found = workspace_status(Workspace.open(workspace))
    if json:
        return emit_json("status", found)
    stale = found.pop("stale")
    rows = []
    for part, state in found.items():
        if isinstance(state, dict):
            rows += [[f"{part}: {key}", value] for key, value in state.items()]
        elif isinstance(state, list):
            rows.append([part, ", ".join(map(str, state)) or None])
        elif isinstance(state, bool):
            rows.append([part, "yes" if state else "no"])
        else:
            rows.append([part, state])
    table(f"Workspace {workspace}", ["part", "state"], rows)
    for sentence in stale:
        out.print(sentence, markup=False, soft_wrap=True)
