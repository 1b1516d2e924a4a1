"""`omnisearch encode`: the vectors of a data set."""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from typing import Annotated

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


class Runner(StrEnum):
    local = "local"
    ray = "ray"


def register(app: typer.Typer) -> None:
    app.command(epilog=example("omnisearch encode shop-dataset --out shop-vectors"))(encode)


def encode(
    dataset: Annotated[str, typer.Argument(help="A data set: a folder or a URL.")],
    target: Annotated[str, typer.Option("--out", help="Where the vectors go: a folder or a URL.")],
    runner: Annotated[
        Runner, typer.Option(help="Processes of this machine, or Ray (the extra `cluster`).")
    ] = Runner.local,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    checkpoint: Annotated[str, typer.Option(help="The checkpoint's name.")] = "default",
    json: JsonOption = False,
) -> None:
    """Encode the pins, products and queries of `omnisearch catalogue export`, bucket by bucket.

    What has not changed since the last run is not encoded again, and a run that was stopped is
    continued. Both runners write the same files. Ray runs on the cluster that the environment
    variable RAY_ADDRESS names, else on this machine alone.
    """
    from omnisearch.data.dataset.place import place_at
    from omnisearch.data.workspace import Workspace
    from omnisearch.pipeline.encoding import encode_dataset

    with progress("files encoded") as advance:
        done = encode_dataset(
            Workspace(workspace), place_at(dataset), place_at(target), checkpoint, runner, advance
        )
    if json:
        return emit_json("encode", asdict(done))
    kinds = {"pin": "pins", "product": "products", "query": "queries"}
    rows = ", ".join(counted(done.rows[one], one, many) for one, many in kinds.items())
    out.print(
        f"{target} has the vectors of {rows} by the checkpoint {done.checkpoint}: "
        f"{counted(done.files, 'file')}, {done.encoded:,} of them encoded now.",
        markup=False,
        soft_wrap=True,
    )
