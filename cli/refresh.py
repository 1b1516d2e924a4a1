"""`omnisearch refresh`: everything that changed, in one command for cron."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from omnisearch import pipeline
from omnisearch.cli.common import (
    DEFAULT_WORKSPACE,
    JsonOption,
    WorkspaceOption,
    emit_json,
    example,
    out,
    table,
)
from omnisearch.cli.progress import progress

if TYPE_CHECKING:
    from omnisearch.pipeline.refreshing import Refreshed

_EXIT = """Exit status: 0 all is done, or there was nothing to do; 5 another refresh is running; 6 a
step failed, the others were done; 3 nothing was imported yet; 4 the catalogue is damaged; 2 wrong
options; 1 an unexpected error."""


def register(app: typer.Typer) -> None:
    app.command(
        epilog=f"{_EXIT}\n\n" + example("omnisearch refresh", "omnisearch refresh --train")
    )(refresh)


def refresh(
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    train: Annotated[
        bool,
        typer.Option(
            "--train",
            help="Also train encoders, rankers and models of ads, if what they learn from changed.",
        ),
    ] = False,
    json: JsonOption = False,
) -> None:
    """Import feedback, enrich, embed new texts and update the index, each only if there is need.

    A step that fails does not stop the others. A refresh that was killed is continued by the next
    one. `omnisearch status` tells of the last one.
    """
    with progress("refresh") as advance:
        found = pipeline.refresh(workspace, train=train, progress=advance)
    if json:
        emit_json("refresh", asdict(found))
    else:
        show(found)
    if found.failed:
        raise typer.Exit(found.exit_code)


def show(found: Refreshed) -> None:
    """Print what became of each step, and the sentences on those with something to tell."""
    rows = [[each.step, each.outcome, each.seconds] for each in found.steps]
    table("Refresh", ["step", "outcome", "seconds"], rows)
    for each in found.steps:
        for sentence in each.told:
            out.print(f"{each.step}: {sentence}", markup=False, soft_wrap=True)
