"""`omnisearch classify`: queries into a taxonomy, from their frozen embeddings (§5.4)."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from omnisearch.cli.common import (
    DEFAULT_WORKSPACE,
    JsonOption,
    WorkspaceOption,
    emit_json,
    err,
    example,
    out,
    table,
)
from omnisearch.cli.progress import progress

if TYPE_CHECKING:
    from omnisearch.evaluation.classification.labels import Labels

app = typer.Typer(
    help="Find the category of a query: put queries into a taxonomy (§5.4).", no_args_is_help=True
)

LabelsArgument = Annotated[
    Path,
    typer.Argument(
        help="CSV, TSV, JSONL or Parquet with `query` and `label`, a path such as "
        '"home > tables > side tables".'
    ),
]
EncoderOption = Annotated[str, typer.Option("--encoder", help="The checkpoint's name.")]
NameOption = Annotated[str, typer.Option("--name", help="The classifier's name.")]


@app.command(
    epilog=example(
        "omnisearch classify evaluate interests.csv",
        "omnisearch classify evaluate interests.csv --markdown report.md",
    )
)
def evaluate(
    labels: LabelsArgument,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    encoder: EncoderOption = "default",
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of each classifier.")] = 3,
    markdown: Annotated[
        Path | None, typer.Option(help="Also write the report here as Markdown.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Precision@1 by level on held-out queries, compared with fastText (extra `classify`)."""
    from omnisearch.data.workspace import Workspace
    from omnisearch.data.workspace.files import write_atomic
    from omnisearch.encoders.checkpoint import load_encoder
    from omnisearch.evaluation.classification.render import markdown as as_markdown
    from omnisearch.evaluation.classification.study import classification_report

    space = Workspace.open(workspace)
    read = _read(labels)
    tower = load_encoder(space, encoder)
    with progress("classify evaluate") as advance:
        report = classification_report(
            read,
            {"query tower": tower.queries},
            tuple(range(seeds)),
            lambda what: err.print(f"{what} …", markup=False),
            advance,
        )
    if markdown is not None:
        write_atomic(markdown, as_markdown(report).encode())
    if json:
        return emit_json("classify evaluate", report.to_json())
    out.print(as_markdown(report), markup=False, highlight=False, soft_wrap=True)


@app.command(epilog=example("omnisearch classify train interests.csv"))
def train(
    labels: LabelsArgument,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    encoder: EncoderOption = "default",
    name: NameOption = "default",
    json: JsonOption = False,
) -> None:
    """Train a classifier on all labels and store it in the workspace, for `classify predict`."""
    from omnisearch.data.workspace import Workspace
    from omnisearch.encoders.checkpoint import load_encoder
    from omnisearch.evaluation.classification.classifier_file import (
        train_classifier,
        write_classifier,
    )

    space = Workspace.open(workspace, writing=True)
    read = _read(labels)
    with progress("passes to choose the settings", "passes of the training") as advance:
        stored = train_classifier(read, load_encoder(space, encoder), advance)
    path = write_classifier(space, name, stored)
    if json:
        facts = {"queries": len(read.queries), "nodes": len(read.nodes)}
        return emit_json("classify train", {"file": str(path), **facts})
    out.print(
        f"Wrote a classifier of {len(read.nodes):,} nodes to {path}. Next: `omnisearch classify "
        "predict QUERY`.",
        markup=False,
        soft_wrap=True,
    )


@app.command(epilog=example('omnisearch classify predict "oak side table" "red dress"'))
def predict(
    queries: Annotated[list[str], typer.Argument(help="One or more queries.")],
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    name: NameOption = "default",
    k: Annotated[int, typer.Option("-k", min=1, help="Nodes per level.")] = 1,
    json: JsonOption = False,
) -> None:
    """The likeliest nodes of each level, with their share of the level."""
    from omnisearch.data.workspace import Workspace
    from omnisearch.evaluation.classification.classifier_file import guesses, open_classifier

    stored, encoder = open_classifier(Workspace.open(workspace), name)
    found = guesses(stored, encoder.queries(queries), k)
    if json:
        rows = [
            {"query": query, "nodes": [asdict(guess) for guess in answer]}
            for query, answer in zip(queries, found, strict=True)
        ]
        return emit_json("classify predict", rows)
    table(
        "Likeliest nodes",
        ["query", "level", "node", "share"],
        [
            [query, guess.level, guess.node, guess.share]
            for query, answer in zip(queries, found, strict=True)
            for guess in answer
        ],
    )


def _read(path: Path) -> Labels:
    """The labels; refused rows are reported on stderr."""
    from omnisearch.evaluation.classification.labels import read_labels

    found = read_labels(path)
    for refusal in found.refused[:10]:
        what = f"{path}, line {refusal.line}: {refusal.field} {refusal.reason}"
        err.print(" ".join(what.split()), markup=False, soft_wrap=True)
    if len(found.refused) > 10:
        err.print(f"{len(found.refused):,} rows were refused in total.")
    return found
