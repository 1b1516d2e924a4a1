"""`omnisearch suggest`: what the search box would suggest."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from omnisearch.cli.common import (
    DEFAULT_WORKSPACE,
    JsonOption,
    WorkspaceOption,
    emit_json,
    example,
    out,
)


def register(app: typer.Typer) -> None:
    app.command(
        epilog=example("omnisearch suggest sof", 'omnisearch suggest "lether so" --language en')
    )(suggest)


def suggest(
    prefix: Annotated[str, typer.Argument(help="What has been typed so far.")],
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    k: Annotated[int, typer.Option("-k", min=1, max=50, help="Suggestions at most.")] = 8,
    language: Annotated[
        str | None, typer.Option(help="Only texts in this language, such as en.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Suggest searches that begin with a text: queries of the log, categories, brands, titles."""
    from omnisearch.data.workspace import Workspace
    from omnisearch.engine.search import open_suggester

    found = open_suggester(Workspace.open(workspace)).suggest(prefix, k, language)
    if json:
        return emit_json("suggest", {"suggestions": [asdict(each) for each in found]})
    if not found:
        out.print("Nothing begins so.")
        return
    from rich.table import Table
    from rich.text import Text

    grid = Table()
    for column in ("suggestion", "kind", "count", "typos"):
        grid.add_column(column, justify="right" if column in ("count", "typos") else "left")
    for each in found:
        text = Text(each.text)
        for start, end in each.highlights:
            text.stylize("bold", start, end)
        grid.add_row(text, each.kind, f"{each.count:,}", str(each.typos or ""))
    out.print(grid)
