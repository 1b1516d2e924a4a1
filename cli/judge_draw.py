"""`omnisearch judge draw`, `experiment` and `captions`: what people are asked about."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from omnisearch.cli.common import (
    DEFAULT_WORKSPACE,
    JsonOption,
    WorkspaceOption,
    emit_json,
    example,
    out,
)
from omnisearch.cli.progress import progress
from omnisearch.data.workspace.counts import counted

if TYPE_CHECKING:
    from omnisearch.engine.search import SearchEngine
    from omnisearch.evaluation.judging.folder import Judging

NameArgument = Annotated[str, typer.Argument(help="The name of this judging.", show_default=False)]


def register(app: typer.Typer) -> None:
    draws = (
        "omnisearch judge draw spring --systems token,full",
        "omnisearch judge draw spring --queries queries.txt",
    )
    app.command(epilog=example(*draws))(draw)
    app.command(epilog=example("omnisearch judge experiment deeper"))(experiment)
    app.command(epilog=example("omnisearch judge captions autumn --number 500"))(captions)


def draw(
    name: NameArgument,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    systems: Annotated[
        str,
        typer.Option(help="Two names, comma-separated; the second is measured against the first."),
    ] = "token,full",
    k: Annotated[int, typer.Option("-k", min=1, help="Results per system.")] = 8,
    number: Annotated[
        int, typer.Option(min=1, help="Queries to draw, equally from head, torso and tail.")
    ] = 300,
    queries: Annotated[
        Path | None, typer.Option(help="Judge all queries of this file instead.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    json: JsonOption = False,
) -> None:
    """Draw queries over head and tail, and mix the first results of both systems blind."""
    from omnisearch.data.catalogue.schema import open_catalogue
    from omnisearch.data.workspace import Workspace
    from omnisearch.evaluation.judging.draw import DrawOptions
    from omnisearch.evaluation.judging.draw import draw as draw_judging
    from omnisearch.evaluation.judging.folder import Judging

    def open_engine() -> SearchEngine:
        from omnisearch.engine.search import SearchEngine

        return SearchEngine.open(space)

    space = Workspace.open(workspace, writing=True)
    judging = Judging.new(space, name)
    named = [system.strip() for system in systems.split(",")]
    options = DrawOptions(named, k, number, queries, seed)
    with progress("results drawn") as advance:
        draw_judging(judging, open_catalogue(space.catalogue), open_engine, options, advance)
    _tell_queries("judge draw", judging, json)


def _tell_queries(command: str, judging: Judging, json: bool) -> None:
    from collections import Counter

    from omnisearch.evaluation.judging.queries import STRATA, UNLOGGED

    counts = Counter(entry.stratum for entry in judging.queries)
    strata = {name: counts[name] for name in (*STRATA, UNLOGGED) if name in counts}
    if json:
        figures = {"queries": len(judging.queries), "strata": strata, "pairs": len(judging.pairs)}
        return emit_json(command, {"folder": judging.folder, **figures})
    told = ", ".join(f"{count:,} {stratum}" for stratum, count in strata.items())
    _show_drawn(
        judging,
        f"{counted(len(judging.queries), 'query', 'queries')} ({told}), "
        f"{counted(len(judging.pairs), 'pair')}",
    )


def experiment(
    name: Annotated[str, typer.Argument(help="The name of the experiment, and of the judging.")],
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    number: Annotated[
        int, typer.Option(min=1, help="Queries to draw, equally from head, torso and tail.")
    ] = 300,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    json: JsonOption = False,
) -> None:
    """Draw what the variants of an experiment showed its users instead, mixed blind."""
    from omnisearch.data.catalogue.schema import open_catalogue
    from omnisearch.data.workspace import Workspace
    from omnisearch.evaluation.experiments import store
    from omnisearch.evaluation.experiments.judged import draw_experiment
    from omnisearch.evaluation.judging.folder import Judging

    space = Workspace.open(workspace, writing=True)
    kept = store.load(space, name)
    judging = Judging.new(space, name)
    db = open_catalogue(space.catalogue)
    draw_experiment(judging, space, kept, db, number, seed)
    _tell_queries("judge experiment", judging, json)


def captions(
    name: NameArgument,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    number: Annotated[
        int, typer.Option(min=1, help="Pictures to draw, equally from the broad categories.")
    ] = 300,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    json: JsonOption = False,
) -> None:
    """Draw pictures with machine captions instead, for people to rate relevance and quality."""
    from collections import Counter

    from omnisearch.data.catalogue.schema import open_catalogue
    from omnisearch.data.workspace import Workspace
    from omnisearch.evaluation.judging.captions import draw_captions
    from omnisearch.evaluation.judging.folder import Judging

    space = Workspace.open(workspace, writing=True)
    judging = Judging.new(space, name)
    draw_captions(judging, open_catalogue(space.catalogue), number, seed)
    counts = Counter(pair.category for pair in judging.pairs.values())
    if json:
        figures = {"pictures": len(judging.pairs), "categories": dict(sorted(counts.items()))}
        return emit_json("judge captions", {"folder": judging.folder, **figures})
    _show_drawn(
        judging,
        f"{counted(len(judging.pairs), 'picture')} of "
        f"{counted(len(counts), 'category', 'categories')}",
    )
    for note in judging.design.notes:
        out.print(note, markup=False)


def _show_drawn(judging: Judging, what: str) -> None:
    from omnisearch.evaluation.judging.scale import WANTED

    out.print(f"{what} to judge, {WANTED} judgments each, in {judging.folder}.", markup=False)
    name = judging.name
    out.print(
        f"Next: `omnisearch judge ask {name} --judge NAME`, or `omnisearch judge export` for a "
        "sheet.",
        markup=False,
        soft_wrap=True,
    )
