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
    systems_named,
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
            help="Ways to search, comma-separated; the last is tested against the others.  "
            "[default: those of {evaluated} that the shop has]"
        ),
    ] = None,
    queries: Annotated[
        int, typer.Option(min=1, help="At most so many queries of each kind, drawn by the seed.")
    ] = 1000,
    corpus: Annotated[
        int,
        typer.Option(
            min=1, help="At most so many items that Recall@10 searches among, drawn by the seed."
        ),
    ] = 1_500_000,
    seed: Annotated[int, typer.Option(help="Of what is drawn by chance.")] = 0,
    json: JsonOption = False,
) -> None:
    """Measure how well search finds what people chose, or judges graded, and no training saw.

    Recall@10: how often the chosen item is among the first ten, of all items (§4.2). nDCG@10: how
    well the first ten are ordered, at most 1. Each figure comes with its 95% interval.
    """
    options: dict[str, Any] = {"queries": queries, "corpus": corpus, "seed": seed}
    options["systems"] = systems_named(systems)
    with progress("evaluate") as advance:
        found = pipeline.evaluate(workspace, advance, **options)
    if json:
        return emit_json("evaluate", found.to_json())
    show(found)


def show(found: Evaluation) -> None:
    """Print the recall of the spaces and a table of the systems for each set of queries."""
    from omnisearch.evaluation.render_terminal import evaluation_tables

    out.print(evaluation_tables(found))
