"""`omnisearch enrich`: what the paper adds to items' own text, and graph embeddings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from omnisearch.cli.common import (
    DEFAULT_WORKSPACE,
    JsonOption,
    WorkspaceOption,
    emit_json,
    example,
    out,
    progress,
    table,
)
from omnisearch.data.workspace.errors import InputError

app = typer.Typer(
    help="Add board titles, engaged queries, captions and embeddings to the items.",
    invoke_without_command=True,
    epilog=example("omnisearch enrich", "omnisearch enrich queries --until now"),
)

UntilOption = Annotated[
    str | None,
    typer.Option(
        help="Count engagements before this time: ISO 8601, `now` for all. Default: the end of the "
        "training period, so that no feature knows of the evaluation."
    ),
]
ModelOption = Annotated[str, typer.Option(help="A model folder, or a hub name.")]
ImagesOption = Annotated[
    Path | None, typer.Option("--images", help="Folder that relative image paths start from.")
]


@app.callback()
def enrich(ctx: typer.Context, workspace: WorkspaceOption = DEFAULT_WORKSPACE) -> None:
    """Without a sub-command: board titles, engaged queries, text embeddings where an encoder is at
    hand (the one used before, or MiniLM for English), and graph embeddings."""
    if ctx.invoked_subcommand is None:
        everything(workspace)


def everything(workspace: Path) -> None:
    """What `omnisearch enrich` does."""
    from omnisearch.data.catalogue.schema import open_catalogue
    from omnisearch.data.workspace import Workspace
    from omnisearch.enrichment.text import usual_encoder

    boards(workspace)
    queries(workspace)
    usual = usual_encoder(open_catalogue(Workspace.open(workspace).catalogue))
    if usual:
        text(workspace=workspace, **usual)
    graph(workspace)


@app.command(epilog=example("omnisearch enrich boards"))
def boards(workspace: WorkspaceOption = DEFAULT_WORKSPACE, json: JsonOption = False) -> None:
    """The 10 best board titles of each item (§3.2.2)."""
    from omnisearch.data.catalogue.schema import open_catalogue
    from omnisearch.data.workspace import Workspace
    from omnisearch.enrichment.boards import enrich_board_titles

    db = open_catalogue(Workspace.open(workspace).catalogue)
    with progress("board titles") as advance:
        changed = enrich_board_titles(db, advance)
    _report("enrich boards", {"items_changed": changed}, json)


@app.command(epilog=example("omnisearch enrich queries", "omnisearch enrich queries --incremental"))
def queries(
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    until: UntilOption = None,
    window_days: Annotated[int, typer.Option(min=1, help="The log's window.")] = 730,
    incremental: Annotated[
        bool, typer.Option(help="Merge only what is new since the last time (§3.2.3).")
    ] = False,
    json: JsonOption = False,
) -> None:
    """The 20 queries that engaged each item most (§3.2.3)."""
    from omnisearch.data.catalogue.schema import get_meta, open_catalogue
    from omnisearch.data.workspace import Workspace
    from omnisearch.enrichment.engaged_queries import enrich_engaged_queries

    db = open_catalogue(Workspace.open(workspace).catalogue)
    with progress("engaged queries") as advance:
        changed = enrich_engaged_queries(
            db, _until(until), window_days=window_days, incremental=incremental, progress=advance
        )
    _report(
        "enrich queries",
        {"items_changed": changed, "engaged_until": get_meta(db, "engaged_until")},
        json,
    )


@app.command(epilog=example("omnisearch enrich captions --model blip-folder --images pictures"))
def captions(
    model: ModelOption,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    images: ImagesOption = None,
    overwrite: Annotated[bool, typer.Option(help="Replace captions that are there.")] = False,
    json: JsonOption = False,
) -> None:
    """Machine captions by a BLIP model (§3.2.1), cached by image and resumable."""
    from omnisearch.data.catalogue.schema import open_catalogue
    from omnisearch.data.workspace import Workspace
    from omnisearch.enrichment.captions import caption_images

    space = Workspace.open(workspace)
    with progress("captions") as advance:
        counts = caption_images(
            space, open_catalogue(space.catalogue), model, images, overwrite, progress=advance
        )
    _report("enrich captions", counts, json)


@app.command(
    "images", epilog=example("omnisearch enrich images --model vit-folder --images pictures")
)
def image_embeddings(
    model: ModelOption,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    images: ImagesOption = None,
    overwrite: Annotated[bool, typer.Option(help="Replace embeddings that are there.")] = False,
    json: JsonOption = False,
) -> None:
    """Image embeddings by any vision model, as the feature `image`."""
    from omnisearch.data.catalogue.schema import open_catalogue
    from omnisearch.data.workspace import Workspace
    from omnisearch.enrichment.images import embed_images

    space = Workspace.open(workspace)
    with progress("image embeddings") as advance:
        counts = embed_images(
            space, open_catalogue(space.catalogue), model, images, overwrite, progress=advance
        )
    _report("enrich images", counts, json)


@app.command(
    epilog=example("omnisearch enrich text", "omnisearch enrich text --backbone path/to/encoder")
)
def text(
    backbone: Annotated[
        str,
        typer.Option(help="A folder or hub name of a text encoder; minilm is the extra's."),
    ] = "minilm",
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    pooling: Annotated[str, typer.Option(help="mean or cls, as the encoder was trained.")] = "mean",
    max_tokens: Annotated[int, typer.Option(min=2, help="Longer texts are cut.")] = 64,
    json: JsonOption = False,
) -> None:
    """Items' own text through a pretrained encoder: the feature that training starts from."""
    from omnisearch.data.catalogue.schema import open_catalogue
    from omnisearch.data.workspace import Workspace
    from omnisearch.enrichment.text import embed_texts

    space = Workspace.open(workspace)
    with progress("text embeddings") as advance:
        counts = embed_texts(
            space, open_catalogue(space.catalogue), backbone, pooling, max_tokens, advance
        )
    _report("enrich text", counts, json)


@app.command(epilog=example("omnisearch enrich graph", "omnisearch enrich graph --evaluate"))
def graph(
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    again: Annotated[
        bool, typer.Option(help="Train again, also where vectors were imported.")
    ] = False,
    evaluate: Annotated[
        bool, typer.Option("--evaluate", help="Measure the vectors on what came after training.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """PinSage and ItemSage embeddings, for who has none to import: trained once, then saved."""
    from omnisearch.data.catalogue.schema import open_catalogue
    from omnisearch.data.workspace import Workspace
    from omnisearch.enrichment.graph.refresh import EMBEDDINGS, refresh
    from omnisearch.enrichment.graph.temporal_recall import KS, later_recalls

    space = Workspace.open(workspace)
    db = open_catalogue(space.catalogue)
    made = {}
    for name in EMBEDDINGS:
        with progress(name) as advance:
            made[name] = refresh(space, db, name, again, advance)
    recalls = later_recalls(space, db) if evaluate else {}
    # The encoders learned to map queries to the vectors of the network before.
    stale = any(o.how == "trained" for o in made.values()) and space.checkpoints.exists()
    if json:
        counts = {name: {"vectors": o.vectors, "how": o.how} for name, o in made.items()}
        found = {
            kind: {f"recall@{k}": value for k, value in zip(KS, values, strict=True)}
            for kind, values in recalls.items()
        }
        recalled = {"recalls": found} if evaluate else {}
        return emit_json("enrich graph", {**counts, "train_again": stale, **recalled})
    _report("enrich graph", {name: f"{o.vectors:,} {o.how}" for name, o in made.items()}, json)
    if stale:
        out.print(
            "The encoders were trained with other vectors: run `omnisearch train`, "
            "then `omnisearch index build`.",
            soft_wrap=True,
        )
    if evaluate:
        rows = [[kind, *values] for kind, values in recalls.items()]
        table("Pairs from after training", ["", *(f"Recall@{k}" for k in KS)], rows)


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


def _report(command: str, counts: dict, json: bool) -> None:
    if json:
        return emit_json(command, counts)
    figures = ", ".join(
        f"{key.replace('_', ' ')} {value:,}" if isinstance(value, int) else f"{key} {value}"
        for key, value in counts.items()
    )
    out.print(f"{command}: {figures}", markup=False)
