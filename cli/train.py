"""`omnisearch train`: the encoders."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from omnisearch import pipeline
from omnisearch.cli.common import (
    DEFAULT_WORKSPACE,
    JsonOption,
    WorkspaceOption,
    emit_json,
    example,
    out,
)
from omnisearch.cli.progress import training_bar
from omnisearch.data.workspace import Workspace

if TYPE_CHECKING:
    from omnisearch.data.catalogue.left_out import LeftOut


def register(app: typer.Typer) -> None:
    app.command(
        epilog=example(
            "omnisearch train --preset demo",
            "omnisearch train --preset demo --backbone path/to/model --name warm",
            "torchrun --nproc-per-node 2 --no-python omnisearch train --preset paper",
        )
    )(train)


def train(
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    preset: Annotated[
        str,
        typer.Option(
            help="How much to learn: demo (minutes to an hour on two cores), paper (for a GPU) or "
            "tiny (for tests)."
        ),
    ] = "demo",
    name: Annotated[
        str, typer.Option(help="The name of what is trained, to keep several.")
    ] = "default",
    backbone: Annotated[
        str | None,
        typer.Option(
            help="A folder or hub name of a language model that reads the queries; by default the "
            "preset's."
        ),
    ] = None,
    pooling: Annotated[
        str | None,
        typer.Option(
            help="How the backbone's words become one vector: cls (the paper's), mean or last; by "
            "default as its files tell."
        ),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Steps of the training; by default the preset's.")
    ] = None,
    warm_start: Annotated[
        bool, typer.Option(help="Start from the encoder of `enrich text`, if it was run.")
    ] = True,
    seed: Annotated[
        int | None,
        typer.Option(help="Of all that is drawn by chance: the same seed gives the same training."),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            help="Continue a training that was interrupted; if there is none, a new one begins."
        ),
    ] = False,
    json: JsonOption = False,
) -> None:
    """Learn from the log which items people mean by a query (the encoders; §3.4, §3.5).

    It says first how long it will take, and what of the log it leaves out and why. Run
    `omnisearch index build` afterwards.

    If started by torchrun, the processes share each batch.
    """
    from omnisearch.encoders.training.parallel import reports

    nothing = _nothing_to_continue(workspace, name) if resume else None
    if nothing and reports() and not json:
        out.print(nothing, markup=False, highlight=False, soft_wrap=True)
    left_out: list[LeftOut] = []
    with training_bar() if reports() else nullcontext((None, None)) as (progress, on_step):
        folder = pipeline.train(
            workspace,
            preset,
            name=name,
            resume=resume,
            progress=progress,
            on_step=on_step,
            tell=left_out.append,
            backbone=backbone,
            pooling=pooling,
            steps=steps,
            seed=seed,
            warm_steps=None if warm_start else 0,
        )
    if not reports():
        return None
    if json:
        from omnisearch.encoders.checkpoint_folder import nothing_learned

        told = {"checkpoint": str(folder), "name": name, "left_out": list(map(vars, left_out))}
        more = {"resumed": resume and nothing is None, "learned": not nothing_learned(folder)}
        return emit_json("train", told | more)
    for each in left_out:
        out.print(str(each), markup=False, highlight=False, soft_wrap=True)
    show(folder)


def _nothing_to_continue(workspace: Path, name: str) -> str | None:
    """Why there is no interrupted training of this name to go on from; None if there is one."""
    from omnisearch.data.workspace.artefacts import pointed
    from omnisearch.encoders.checkpoint import CHECKPOINT
    from omnisearch.pipeline.refresh_rules import interrupted

    space = Workspace.open(workspace)
    if pointed(space.last_checkpoint(name), CHECKPOINT) is None:
        return f"No training named {name} was interrupted: a new one begins."
    if not interrupted(space, name):
        return f"The training named {name} has ended: there is nothing to continue."
    return None


def show(folder: Path) -> None:
    """Print where the encoder is, and whether anything was learned."""
    from omnisearch.encoders.checkpoint_folder import nothing_learned

    if unchanged := nothing_learned(folder):
        out.print(unchanged, soft_wrap=True)
    said = "Encoder" if unchanged else "Trained encoder"
    out.print(f"{said} in {folder}; its card is README.md there.", markup=False)
