"""`omnisearch enrich`: the enrichers of the registry, each as a sub-command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

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
from omnisearch.data.workspace.errors import InputError

UntilOption = Annotated[
    str | None,
    typer.Option(
        help="Count what people did before this time: 2024-03-01, or `now` for all. By default up "
        "to where training ends, so that no feature knows what search is measured by."
    ),
]
ModelOption = Annotated[str, typer.Option(help="A model folder, or a hub name.")]
ImagesOption = Annotated[
    Path | None, typer.Option("--images", help="Folder for relative image paths.")
]


class EnricherCommands(TyperGroup):
    """A sub-command per entry of ENRICHERS: one below with its own options, or a plain one.

    The registry is read when a sub-command is looked up, not when this module is imported.
    """

    def list_commands(self, ctx: Any) -> list[str]:
        from omnisearch.enrichment import ENRICHERS

        return list(ENRICHERS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        from omnisearch.enrichment import ENRICHERS

        if cmd_name not in ENRICHERS:
            return None
        command = self.commands.get(cmd_name) or _plain_command(cmd_name)
        command.help = ENRICHERS[cmd_name].about
        return command


def _plain_command(name: str) -> Any:
    app = typer.Typer(add_completion=False, rich_markup_mode="markdown")

    @app.command(name, epilog=example(f"omnisearch enrich {name}"))
    def run(workspace: WorkspaceOption = DEFAULT_WORKSPACE, json: JsonOption = False) -> None:
        _report(name, _run(name, workspace), json)

    return typer.main.get_command(app)


app = typer.Typer(
    cls=EnricherCommands,
    help="Add to the items what makes them findable: the queries that led to them, board titles, "
    "captions, and embeddings of texts and pictures.",
    invoke_without_command=True,
    epilog=example("omnisearch enrich", "omnisearch enrich queries --until now"),
)


@app.callback()
def enrich(ctx: typer.Context, workspace: WorkspaceOption = DEFAULT_WORKSPACE) -> None:
    """Without a sub-command: all enrichers that run by default."""
    if ctx.invoked_subcommand is None:
        everything(workspace)


def everything(workspace: Path) -> None:
    """What `omnisearch enrich` does."""
    for name in pipeline.default_enrichers(workspace):
        _report(name, _run(name, workspace), json=False)


@app.command(
    "queries",
    epilog=example("omnisearch enrich queries", "omnisearch enrich queries --incremental"),
)
def queries(
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    until: UntilOption = None,
    window_days: Annotated[int, typer.Option(min=1, help="Days of the log to read.")] = 730,
    incremental: Annotated[
        bool, typer.Option(help="Read only the events since the last run.")
    ] = False,
    json: JsonOption = False,
) -> None:
    counts = _run(
        "queries",
        workspace,
        until=_until(until),
        window_days=window_days,
        incremental=incremental,
    )
    _report("queries", counts, json)


@app.command(
    "captions", epilog=example("omnisearch enrich captions --model blip-folder --images pictures")
)
def captions(
    model: ModelOption,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    images: ImagesOption = None,
    overwrite: Annotated[bool, typer.Option(help="Replace existing captions.")] = False,
    json: JsonOption = False,
) -> None:
    counts = _run("captions", workspace, model=model, images=images, overwrite=overwrite)
    _report("captions", counts, json)


@app.command(
    "images", epilog=example("omnisearch enrich images --model vit-folder --images pictures")
)
def image_embeddings(
    model: ModelOption,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    images: ImagesOption = None,
    overwrite: Annotated[bool, typer.Option(help="Replace existing embeddings.")] = False,
    json: JsonOption = False,
) -> None:
    counts = _run("images", workspace, model=model, images=images, overwrite=overwrite)
    _report("images", counts, json)


@app.command(
    "text",
    epilog=example("omnisearch enrich text", "omnisearch enrich text --backbone path/to/encoder"),
)
def text(
    backbone: Annotated[
        str | None,
        typer.Option(
            help="A folder or hub name of a text encoder, minilm (English, extra `minilm`) or e5 "
            "(100 languages, extra `multilingual`); by default that of the last run, else of these "
            "what fits the items' languages."
        ),
    ] = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    pooling: Annotated[
        str | None, typer.Option(help="mean, cls or last; by default as the encoder's files tell.")
    ] = None,
    max_tokens: Annotated[int, typer.Option(min=2, help="Longer texts are cut.")] = 64,
    json: JsonOption = False,
) -> None:
    counts = _run("text", workspace, backbone=backbone, pooling=pooling, max_tokens=max_tokens)
    _report("text", counts, json)


@app.command("tune", epilog=example("omnisearch enrich tune"))
def tuned(
    backbone: Annotated[
        str | None,
        typer.Option(
            help="The encoder to begin with, by default that of the items' text, else minilm."
        ),
    ] = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    pooling: Annotated[
        str | None, typer.Option(help="mean, cls or last; by default as the encoder's files tell.")
    ] = None,
    max_tokens: Annotated[
        int | None, typer.Option(min=2, help="Longer texts are cut; by default at 64.")
    ] = None,
    json: JsonOption = False,
) -> None:
    counts = _run("tune", workspace, backbone=backbone, pooling=pooling, max_tokens=max_tokens)
    _report("tune", counts, json)


@app.command(
    "graph", epilog=example("omnisearch enrich graph", "omnisearch enrich graph --evaluate")
)
def graph(
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    again: Annotated[
        bool, typer.Option(help="Train again, even if vectors were imported.")
    ] = False,
    evaluate: Annotated[
        bool, typer.Option("--evaluate", help="Measure the vectors on engagement after training.")
    ] = False,
    json: JsonOption = False,
) -> None:
    counts = _run("graph", workspace, again=again)
    if not evaluate:
        return _report("graph", counts, json)
    from omnisearch.data.catalogue.schema import open_catalogue
    from omnisearch.data.workspace import Workspace
    from omnisearch.enrichment.graph.temporal_recall import KS, temporal_recall

    space = Workspace.open(workspace)
    recalls = temporal_recall(space, open_catalogue(space.catalogue))
    columns = [f"recall@{k}" for k in KS]
    if json:
        counts["recalls"] = {
            kind: dict(zip(columns, values, strict=True)) for kind, values in recalls.items()
        }
    _report("graph", counts, json)
    if not json:
        rows = [[kind, *values] for kind, values in recalls.items()]
        table("Pairs from after training", ["", *map(str.capitalize, columns)], rows)


def _until(text: str | None) -> int | None:
    if text is None:
        return None
    if text == "now":
        return 2**62
    from datetime import UTC, datetime

    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise InputError(
            f"{text!r} is not a time.", where="--until", how="Write 2024-03-01 or now."
        ) from error
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())


def _run(name: str, workspace: Path, **options: Any) -> dict[str, Any]:
    """Run one enricher under a progress bar; returns its counts."""
    with progress(f"enrich {name}") as advance:
        return pipeline.enrich(workspace, name, progress=advance, **options)[name]


def _report(name: str, counts: dict[str, Any], json: bool) -> None:
    """Print the counts, what was left out, and what to do if encoders became stale."""
    from omnisearch.enrichment.told import sentences

    if json:
        return emit_json(f"enrich {name}", counts)
    for sentence in sentences(name, counts):
        out.print(sentence, markup=False, highlight=False, soft_wrap=True)
    if counts.get("train_again"):
        out.print(
            "The encoders were trained with other vectors: run `omnisearch train`, "
            "then `omnisearch index build`.",
            soft_wrap=True,
        )
