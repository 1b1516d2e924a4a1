"""`omnisearch export`: the catalogue for other tools, the query tower for ONNX Runtime."""

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
    table,
)
from omnisearch.data.workspace.counts import counted

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
    singular = {"documents": "document", "queries": "query", "judgments": "judgment"}
    summary = ", ".join(counted(count, singular[key], key) for key, count in counts.items())
    out.print(f"Wrote {summary} to {folder}.", markup=False)
    if not counts["judgments"]:
        out.print(
            "There are no judgments, which tools need to measure a search: import some, or have "
            "results judged: `omnisearch judge --help`."
        )


@app.command(epilog=example("omnisearch export onnx"))
def onnx(
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    checkpoint: Annotated[str, typer.Option(help="The checkpoint's name.")] = "default",
    pairs: Annotated[int, typer.Option(min=1, help="Maximum engaged pairs of each kind.")] = 10_000,
    json: JsonOption = False,
) -> None:
    """Write the query tower for ONNX Runtime, float32 and int8, checked against PyTorch.

    `omnisearch index build` does this by itself. Here int8 is measured again, on more engaged pairs
    of the log: it is kept only if it loses less than 0.5% of Recall@10.
    """
    from omnisearch.data.catalogue.schema import open_catalogue
    from omnisearch.data.workspace import Workspace
    from omnisearch.encoders.checkpoint import load_encoder
    from omnisearch.pipeline.exporting import export_queries

    space = Workspace.open(workspace, writing=True)
    encoder = load_encoder(space, checkpoint)
    facts = export_queries(space, open_catalogue(space.catalogue), encoder, pairs)
    folder = space.export(encoder.checkpoint)
    if json:
        return emit_json("export onnx", {**facts, "folder": str(folder)})
    int8 = facts["int8"]
    rows = [
        ["least cosine with PyTorch's vectors, float32", f"{facts['float32']['cosine']:.6f}"],
        ["least cosine with PyTorch's vectors, int8", int8.get("cosine")],
        ["engaged pairs that recall is measured on", int8.get("pairs")],
        ["Recall@10, float32", int8.get("recall_float32")],
        ["Recall@10, int8", int8.get("recall_int8")],
        ["share of Recall@10 that int8 loses", _percent(int8.get("recall_loss"))],
        ["standard error of that share", _percent(int8.get("recall_loss_error"))],
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


@app.command(epilog=example("omnisearch export teacher"))
def teacher(workspace: WorkspaceOption = DEFAULT_WORKSPACE, json: JsonOption = False) -> None:
    """Write the teacher for ONNX Runtime, so that it can re-rank while serving.

    int8 is kept only if its grades differ by less than 0.01 on average. The setting `rerank` of
    `[engine]` turns it on.
    """
    from omnisearch import pipeline

    facts, folder = pipeline.export_teacher(workspace)
    if json:
        return emit_json("export teacher", {**facts, "folder": str(folder)})
    out.print(
        f"Wrote {folder}, serving with {facts['serves']}. Mean difference of an int8 grade: "
        f"{facts['int8_error']:.4f}.",
        markup=False,
    )
    out.print("`[engine] rerank = 20` in omnisearch.toml turns it on.", markup=False)


def _percent(share: float | None) -> str | None:
    return None if share is None else f"{share:.2%}"
