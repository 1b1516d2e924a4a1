"""`omnisearch evaluate`: the quality of search, on data that training never saw."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from omnisearch import pipeline
from omnisearch.cli.common import (
    DEFAULT_WORKSPACE,
    JsonOption,
    SystemsCommand,
    WorkspaceOption,
    emit_json,
    example,
    out,
)
from omnisearch.cli.progress import progress

if TYPE_CHECKING:
    from omnisearch.evaluation.evaluate import Evaluation


def register(app: typer.Typer) -> None:
    app.command(
        cls=SystemsCommand,
        epilog=example("omnisearch evaluate", "omnisearch evaluate --json > figures.json"),
    )(evaluate)


def evaluate(
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    systems: Annotated[
        str | None,
        typer.Option(
            help="Comma-separated; the last is tested against the others.  [default: {evaluated}]"
        ),
    ] = None,
    queries: Annotated[
        int, typer.Option(min=1, help="Maximum queries of each set, sampled by the seed.")
    ] = 1000,
    corpus: Annotated[
        int, typer.Option(min=1, help="Random entities that Recall@10 is measured among.")
    ] = 1_500_000,
    seed: Annotated[int, typer.Option()] = 0,
    json: JsonOption = False,
) -> None:
    """Recall@10 of every space (§4.2), and nDCG and recall of every system, with intervals."""
    options: dict[str, Any] = {"queries": queries, "corpus": corpus, "seed": seed}
    if systems is not None:
        options["systems"] = systems.split(",")
    with progress("queries") as advance:
        found = pipeline.evaluate(workspace, advance, **options)
    if json:
        return emit_json("evaluate", found.to_json())
    show(found)


def show(found: Evaluation) -> None:
    """Print the recall of the spaces and a table of the systems for each set of queries."""
    from omnisearch.evaluation.render_terminal import evaluation_tables

    out.print(evaluation_tables(found))
