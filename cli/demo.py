"""`omnisearch demo`: the whole stack on the sample world, from files to ranked results."""

from __future__ import annotations

import resource
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from omnisearch.cli import compare as compare_command
from omnisearch.cli import enrich, importing, index, rank, search, world
from omnisearch.cli import evaluate as evaluate_command
from omnisearch.cli import train as train_command
from omnisearch.cli.common import JsonOption, WorkspaceOption, emit_json, err, example, out
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import InputError

QUERY = "antique copper bathroom sink"


def register(app: typer.Typer) -> None:
    app.command(epilog=example("omnisearch demo --workspace demo"))(demo)


def demo(
    workspace: WorkspaceOption = Path("demo"),
    preset: Annotated[str, typer.Option(help="Size of world and model: tiny or demo.")] = "demo",
    seed: Annotated[int, typer.Option()] = 7,
    json: JsonOption = False,
) -> None:
    """Make a synthetic world, import, enrich, train, index, rank, then search and measure it."""
    _begin_afresh(workspace)
    sample, page = Workspace(workspace).demo_world, Workspace(workspace).demo_page
    steps: dict[str, Callable[[], Any]] = {
        "world": lambda: world.world(sample, preset=preset, pins=None, seed=seed),
        "import": lambda: importing.import_([sample], workspace),
        "enrich": lambda: enrich.everything(workspace),
        "train": lambda: train_command.train(workspace, preset=preset),
        "index": lambda: index.build(workspace),
        "rank": lambda: rank.train(workspace),
        "search": lambda: search.search(QUERY, workspace, k=10),
        "compare": lambda: compare_command.compare(QUERY, workspace, k=8, html=page),
        "evaluate": lambda: evaluate_command.evaluate(workspace, queries=500),
    }
    seconds = {}
    for name, step in steps.items():
        err.rule(f"omnisearch {name}")
        started = time.perf_counter()
        step()
        seconds[name] = round(time.perf_counter() - started, 1)
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9
    total = round(sum(seconds.values()), 1)
    if json:
        return emit_json(
            "demo", {"seconds": seconds, "total_seconds": total, "peak_gb": peak}, synthetic=True
        )
    spent = ", ".join(f"{name} {value:.0f}" for name, value in seconds.items())
    out.print(
        f"\nAll of it on synthetic data, in {total:.0f} s ({spent}); peak memory {peak:.1f} GB."
    )
    out.print(f"The comparison page: {page}", markup=False)
    out.print(f'Now try: omnisearch search "boho bedroom" --workspace {workspace}', markup=False)


def _begin_afresh(workspace: Path) -> None:
    """Empty the folder of an earlier demo; leave any other folder alone."""
    mark = Workspace(workspace).demo_mark
    if workspace.exists() and any(workspace.iterdir()):
        if not mark.exists():
            raise InputError(
                "This folder is not a demo's, and the demo begins with an empty one.",
                where=str(workspace),
                how="Name another folder with --workspace.",
            )
        shutil.rmtree(workspace)
    workspace.mkdir(parents=True, exist_ok=True)
    mark.write_text("{}\n")
