"""`omnisearch export`: the catalogue for other tools, the query tower for ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from omnisearch.cli.common import (
    DEFAULT_WORKSPACE,
    JsonOption,
    WorkspaceOption,
    emit_json,
    example,
    out,
    table,
)

_ALWAYS = 2**40  # later than any time in seconds

app = typer.Typer(help="Export for other tools.", no_args_is_help=True)


@app.command(epilog=example("omnisearch export beir beir-folder"))
def beir(
    folder: Annotated[Path, typer.Argument(help="Folder for corpus.jsonl, queries.jsonl, qrels/.")],
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    json: JsonOption = False,
) -> None:
    """Write items, queries and judgments in the BEIR layout, for other tools."""
    from omnisearch.data.importers.datasets.beir import export_beir
    from omnisearch.data.workspace import Workspace

    counts = export_beir(Workspace.open(workspace), folder)
    if json:
        return emit_json("export beir", counts)
    summary = ", ".join(f"{value:,} {key}" for key, value in counts.items())
    out.print(f"Wrote {summary} to {folder}.", markup=False)


@app.command(epilog=example("omnisearch export onnx"))
def onnx(
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    checkpoint: Annotated[str, typer.Option(help="The checkpoint's name.")] = "default",
    pairs: Annotated[int, typer.Option(min=1, help="Maximum engaged pairs of each kind.")] = 10_000,
    json: JsonOption = False,
) -> None:
    """Write the query tower for ONNX Runtime, float32 and int8, checked against PyTorch.

    From then on, queries are encoded with the export. int8 is kept only if it loses less than 0.5%
    of Recall@10 on engaged pairs of the log; build the index first, so that this can be measured.
    """
    from omnisearch.data.catalogue.items import head_queries
    from omnisearch.data.catalogue.schema import open_catalogue
    from omnisearch.data.workspace import Workspace
    from omnisearch.encoders.checkpoint import load_encoder
    from omnisearch.encoders.onnx.export import export_query_tower

    space = Workspace.open(workspace, writing=True)
    encoder = load_encoder(space, checkpoint)
    sample = head_queries(open_catalogue(space.catalogue), 500)
    recall = _recall(space, encoder.checkpoint, pairs)
    facts = export_query_tower(space, encoder, sample, recall)
    folder = space.export(encoder.checkpoint)
    if json:
        return emit_json("export onnx", {**facts, "folder": str(folder)})
    names = ("kept", "recall_float32", "recall_int8", "recall_loss", "recall_loss_error", "pairs")
    int8 = [[f"int8 {name}", _text(facts["int8"].get(name))] for name in names]
    rows = [
        ["minimum cosine with PyTorch, float32", f"{facts['float32']['cosine']:.6f}"],
        ["minimum cosine with PyTorch, int8", f"{facts['int8']['cosine']:.6f}"],
        *int8,
        *([f"{name}, MB", f"{file['bytes'] / 1e6:.1f}"] for name, file in facts["files"].items()),
    ]
    table(
        f"Checkpoint {encoder.checkpoint}, serving with {facts['serves']}",
        ["figure", "value"],
        rows,
    )
    if facts["int8"]["why"]:
        out.print(facts["int8"]["why"], markup=False)
    out.print(f"Wrote {folder}.", markup=False)


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4f}"
    return "–" if value is None else str(value)


def _recall(space: Any, checkpoint: str, most: int) -> Callable[..., Any] | None:
    """The recall of a tower on this workspace; None if no index of this checkpoint is live."""
    from omnisearch.data.catalogue.pairs import window_pairs
    from omnisearch.data.catalogue.schema import open_catalogue
    from omnisearch.data.workspace.errors import NotReady
    from omnisearch.evaluation.tower_recall import tower_recall
    from omnisearch.indexer.generation import Generation

    try:
        generation = Generation.open(space)
    except NotReady:
        return None
    if generation.checkpoint != checkpoint:
        return None
    pairs = window_pairs(open_catalogue(space.catalogue), (0, _ALWAYS), sample=most)
    return tower_recall(generation, pairs)
