"""`omnisearch rank`: the L1 and L2 rankers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any

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
from omnisearch.data.workspace.counts import counted
from omnisearch.data.workspace.errors import NotReady

if TYPE_CHECKING:
    from pathlib import Path

app = typer.Typer(
    help="Learn the order of results: the light ranker (L1), the full one (L2), and a teacher.",
    no_args_is_help=True,
)


@app.command(epilog=example("omnisearch rank train"))
def train(workspace: WorkspaceOption = DEFAULT_WORKSPACE, json: JsonOption = False) -> None:
    """Learn from clicks and judgments how to order what a search finds.

    It says what it learned from, and what it left out and why.
    """
    with progress("candidates of queries", "models of the rankers") as advance:
        rankers, folder = pipeline.train_rankers(workspace, advance)
    if json:
        return emit_json("rank train", rankers.report)
    show(rankers.report, folder)


@app.command(epilog=example("omnisearch rank teach"))
def teach(
    backbone: Annotated[
        str | None,
        typer.Option(
            help="Folder or hub name of an encoder or a cross-encoder, or minilm (English); by "
            "default the encoder of the items' text."
        ),
    ] = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    json: JsonOption = False,
) -> None:
    """Train a teacher on the judgments, and let it grade what nobody judged."""
    with progress("teaching") as advance:
        counts = pipeline.teach(workspace, backbone, advance)
    if json:
        return emit_json("rank teach", counts)
    show_teacher(counts)


def show_teacher(counts: dict[str, Any]) -> None:
    """Print what the teacher learned and graded, and what comes next."""
    out.print(
        f"Learned from {counted(counts['learned_queries'], 'judged query', 'judged queries')}."
    )
    show_left_out(counts.get("left_out", ()))
    orders = {"the teacher": "", "the order before it": "_before", "both together": "_both"}
    table(
        "nDCG@10 on held-out judged queries, of the first results",
        ["order", "those judged", "all, unjudged as irrelevant"],
        [
            [order, counts.get(f"ndcg_judged{end}"), counts.get(f"ndcg{end}")]
            for order, end in orders.items()
        ],
    )
    if counts["better"]:
        out.print(
            f"Graded {counts['graded']:,} of {counted(counts['pairs'], 'pair')} of "
            f"{counted(counts['queries'], 'query', 'queries')}; the others had their grades."
        )
        told = "Next: `omnisearch rank train`, which learns from these grades too."
    else:
        told = (
            "This teacher adds nothing to the order that held-out judgments had before it, and its "
            "grades are not used. More judgments may help, or another --backbone."
        )
    out.print(told, markup=False)


@app.command(epilog=example("omnisearch rank report"))
def report(workspace: WorkspaceOption = DEFAULT_WORKSPACE, json: JsonOption = False) -> None:
    """Show what the rankers learned from, and how those trained on four fifths order the rest."""
    from omnisearch.data.workspace import Workspace
    from omnisearch.ranker.published import load_rankers

    space = Workspace.open(workspace)
    rankers = load_rankers(space)
    if rankers is None:
        raise NotReady(
            "There are no rankers yet.",
            where=str(space.rankers),
            how="Run `omnisearch rank train`.",
        )
    if json:
        return emit_json("rank report", rankers.report)
    show(rankers.report, space.rankers)


def show(found: dict[str, Any], folder: Path | None) -> None:
    """Print what the rankers learned from, how they order held-out queries, and what is live."""
    trained, held_out = found.get("trained_on", {}), found.get("held_out", {})
    kinds = {"engagement": "of the log", "relevance": "judged"}
    rows = [[kinds.get(of, of), count, held_out.get(of)] for of, count in trained.items()]
    table(
        f"Learned from {found.get('queries', 0):,} queries and {found.get('rows', 0):,} of their "
        "candidates",
        ["queries", "learned from", "of them held out to measure"],
        rows,
    )
    show_left_out(found.get("left_out", ()))
    for title, figures in (
        ("candidates without a label left out", "ndcg@10 of labelled"),
        ("candidates without a label irrelevant", "ndcg@10"),
    ):
        for label, orderings in found.get(figures, {}).items():
            shown = [[name, value] for name, value in orderings.items()][:12]
            of = f"nDCG@10 of held-out queries ({kinds.get(label, label)})"
            table(f"{of}, {title}", ["ordering", "nDCG@10"], shown)
    if folder is None:
        return out.print(
            "The new rankers order held-out queries worse than the starter ranker, rank fusion or "
            "BM25 do, and are not live. More judgments or a longer log may help."
        )
    if found.get("order") == "l1":
        out.print(
            "L1 orders the full stack: on held-out queries L2 orders worse than a simpler one."
        )
    out.print(f"These rankers are live, in {folder}.", markup=False)


def show_left_out(found: Iterable[dict[str, Any]]) -> None:
    """Print a sentence on each thing that was not learned from."""
    from omnisearch.data.catalogue.left_out import LeftOut

    for each in found:
        out.print(str(LeftOut(**each)), markup=False, highlight=False, soft_wrap=True)
