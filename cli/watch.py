"""`omnisearch watch`: imports the files of a folder as they arrive."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import Annotated, Any

import typer

from omnisearch import pipeline
from omnisearch.cli.common import DEFAULT_WORKSPACE, WorkspaceOption, example, out


def register(app: typer.Typer) -> None:
    app.command(
        epilog=example("omnisearch watch incoming", "omnisearch watch incoming --kind products")
    )(watch)


def watch(
    folder: Annotated[Path, typer.Argument(help="The folder that files are put into.")],
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    kind: Annotated[
        str | None,
        typer.Option(
            help="The kind of rows of files whose names and columns do not tell it, as in "
            "`omnisearch import`."
        ),
    ] = None,
) -> None:
    """Import files as they arrive in a folder, then update the index, until it is stopped.

    Exports of shop systems are known by their columns, as in `omnisearch import`. A file is read
    when it has not changed for a second. Names that begin with `.` or `~$` or end in `.tmp` or
    `.part` are left alone: write under such a name, then rename. Ctrl-C and SIGTERM end it after
    the import under way, with exit status 0.
    """
    stop = threading.Event()

    def end(number: int, _: Any) -> None:
        signal.signal(number, signal.SIG_DFL)  # a second one ends it at once
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)

    def tell(sentence: str) -> None:
        out.print(sentence, markup=False, highlight=False, soft_wrap=True)

    pipeline.watch(workspace, folder, kind=kind, tell=tell, stop=stop)
