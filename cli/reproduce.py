"""`omnisearch reproduce`: the paper's tables on the sample world or on a workspace."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from omnisearch.cli.common import JsonOption, emit_json, err, example, out
from omnisearch.cli.progress import about, cores

if TYPE_CHECKING:
    from omnisearch.evaluation.reproduce.reproduce import Reproduce


def register(app: typer.Typer) -> None:
    app.command(
        epilog=example(
            "omnisearch reproduce table2",
            "omnisearch reproduce table4 --workspace shop --out shop-tables --seeds 5",
            "omnisearch reproduce table2 --steps 250 --steps 1000 --steps 4000",
        )
    )(reproduce)


def reproduce(
    table: Annotated[
        str,
        typer.Argument(
            help="table1 to table8, relevance or classification; any name with --config."
        ),
    ],
    workspace: Annotated[
        Path | None,
        typer.Option(
            "--workspace", "-w", help="Workspace to copy data from; by default the sample world."
        ),
    ] = None,
    out_: Annotated[
        Path,
        typer.Option(
            "--out", help="Folder for data, runs and reports; an earlier run in it is continued."
        ),
    ] = Path("reproduction"),
    config: Annotated[
        Path | None, typer.Option(help="Your own table, as TOML; see docs/guide/reproduce.md.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Trainings per model and world.")] = 3,
    worlds: Annotated[
        int, typer.Option(min=1, help="Sample worlds of different seeds to train on.")
    ] = 1,
    steps: Annotated[
        list[int] | None,
        typer.Option(
            min=1,
            help="Steps per training; by default the table's. Several times for a table's curve.",
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """For researchers: train what a table of the paper compares, and measure it (§4, §5).

    It says how many trainings there are, and after the first how long the others will take.
    """
    _check_options(table, config, steps or [], worlds)
    from omnisearch.data.workspace import Workspace
    from omnisearch.evaluation.reproduce.reproduce import Reproduce

    source = None if workspace is None else Workspace.open(workspace)
    budgets = steps or []
    options = Reproduce(out_, source, seeds, budgets[0] if budgets else None, worlds)
    text, found = _reproduce(table, config, options, budgets)
    if json:
        return emit_json("reproduce", found)
    out.print(text, markup=False, highlight=False, soft_wrap=True)
    out.print(f"Wrote {table}.md and .json (for recalls also .svg) to {out_}.", markup=False)


def _check_options(table: str, config: Path | None, budgets: Sequence[int], worlds: int) -> None:
    """Refuse what cannot be done before anything heavy is imported."""
    from omnisearch.data.workspace.errors import InputError
    from omnisearch.evaluation.reproduce.spec import STUDIES, load_study, load_table

    if table in STUDIES and (len(budgets) > 1 or worlds > 1):
        raise InputError(
            f"{table} has no curve, and one world.", how="Give --steps once, and no --worlds."
        )
    load = load_study if table in STUDIES else load_table
    load(table, config)


def _reproduce(
    table: str, config: Path | None, options: Reproduce, budgets: Sequence[int]
) -> tuple[str, Any]:
    """Markdown, and plain values."""
    from omnisearch.evaluation.reproduce.reproduce import reproduce_table
    from omnisearch.evaluation.reproduce.spec import STUDIES, load_study, load_table
    from omnisearch.evaluation.reproduce.table_report import markdown

    if len(budgets) > 1:
        from omnisearch.evaluation.reproduce.curve import reproduce_curve

        return reproduce_curve(table, load_table(table, config), options, budgets, _told)
    if table not in STUDIES:
        made = reproduce_table(table, load_table(table, config), options, _told)
        return markdown(made), made.to_json()
    from omnisearch.evaluation.reproduce.studies import (
        reproduce_classification,
        reproduce_relevance,
    )
    from omnisearch.evaluation.reproduce.table1 import reproduce_table1
    from omnisearch.evaluation.reproduce.table7 import reproduce_table7
    from omnisearch.evaluation.reproduce.table8 import reproduce_table8

    runs = {
        "table1": reproduce_table1,
        "relevance": reproduce_relevance,
        "classification": reproduce_classification,
        "table7": reproduce_table7,
        "table8": reproduce_table8,
    }
    return runs[table](load_study(table, config), options, _told)


def _told(number: int, total: int, name: str) -> Callable[[Any], None]:
    err.print(f"{number} of {total}: {name}", markup=False)
    steps = 0

    def on_step(report: Any) -> None:
        nonlocal steps
        steps += 1
        if steps == 3:  # the first is slow
            left = report.seconds * (report.steps - report.step + report.steps * (total - number))
            err.print(f"  {total - number + 1} trainings take {about(left)} on {cores()}.")
        if report.recalls:
            recalls = ", ".join(f"{key} {value:.3f}" for key, value in report.recalls.items())
            err.print(f"  step {report.step}: validation Recall@10 {recalls}", markup=False)

    return on_step
