"""`omnisearch world`: write the sample world's files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from omnisearch.cli.common import (
    JsonOption,
    emit_json,
    example,
    out,
)
from omnisearch.cli.progress import progress
from omnisearch.data.workspace.dates import day


def register(app: typer.Typer) -> None:
    app.command(epilog=example("omnisearch world --preset tiny sample"))(world)


def world(
    folder: Annotated[Path, typer.Argument(help="The folder to write to.")],
    preset: Annotated[str, typer.Option(help="tiny (500 items) or demo (25,000 items).")] = "demo",
    pins: Annotated[
        int | None, typer.Option(min=1, help="Number of pins; the rest scales with it.")
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same world.")] = 7,
    pictures: Annotated[bool, typer.Option(help="Draw an SVG picture of each item.")] = True,
    json: JsonOption = False,
) -> None:
    """Write a made-up shop and its log, as files that `omnisearch import` reads."""
    from omnisearch.world import Size, generate

    with progress("sample world") as advance:
        summary = generate(
            preset if pins is None else Size(pins=pins), folder, seed, pictures, advance
        )
    if json:
        return emit_json("world", summary, synthetic=True)
    show(folder, summary)


def show(folder: Path, summary: dict[str, Any]) -> None:
    apart = ("seed", "from", "until")
    counts = ", ".join(
        f"{value:,} {key.replace('_', ' ')}"
        for key, value in summary.items()
        if type(value) is int and key not in apart
    )
    out.print(
        f"Wrote a made-up shop to {folder}: {counts}; events from {day(summary['from'])} to "
        f"{day(summary['until'])}.",
        markup=False,
    )
