"""`omnisearch demo`: the whole stack on the sample world, from files to ranked results."""

from __future__ import annotations

import resource
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from omnisearch import pipeline
from omnisearch.cli import compare, enrich, evaluate, importing, index, rank, search, train, world
from omnisearch.cli.common import (
    JsonOption,
    WorkspaceOption,
    emit_json,
    err,
    example,
    out,
)
from omnisearch.cli.progress import progress, training_bar
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import InputError

QUERY = "antique copper bathroom sink"


def register(app: typer.Typer) -> None:
    app.command(epilog=example("omnisearch demo --workspace demo"))(demo)


def demo(
    workspace: WorkspaceOption = Path("demo"),
    preset: Annotated[str, typer.Option(help="Size of world and model: tiny or demo.")] = "demo",
    seed: Annotated[int, typer.Option(help="The same seed gives the same world.")] = 7,
    json: JsonOption = False,
) -> None:
    """Try everything on a made-up shop: import, enrich, train, index, rank, search and measure."""
    from omnisearch.data.catalogue.schema import open_catalogue
    from omnisearch.engine.search import SearchEngine
    from omnisearch.evaluation.compare import compare_query
    from omnisearch.evaluation.pictures import picture_folders
    from omnisearch.evaluation.render_terminal import comparison_table
    from omnisearch.evaluation.report_html import comparison_page
    from omnisearch.world import generate

    _begin_afresh(workspace)
    space = Workspace(workspace)
    sample, page = space.demo_world, space.demo_page
    seconds: dict[str, float] = {}
    out.quiet = json
    with _timed("world", seconds):
        with progress("sample world") as advance:
            summary = generate(preset, sample, seed, progress=advance)
        world.show(sample, summary)
    with _timed("import", seconds):
        with progress("import world") as advance:
            reports = pipeline.import_files(space, [sample], progress=advance)
        importing.show(workspace, reports)
    with _timed("enrich", seconds):
        enrich.everything(workspace)
    with _timed("train", seconds):
        with training_bar() as (advance, on_step):
            checkpoint = pipeline.train(space, preset, progress=advance, on_step=on_step)
        train.show(checkpoint)
    with _timed("index", seconds):
        with progress("index build") as advance:
            number = pipeline.build_index(space, progress=advance)
        index.show(number)
    with _timed("rank", seconds):
        with progress("candidates of queries", "models of the rankers") as advance:
            rankers, folder = pipeline.train_rankers(space, advance)
        rank.show(rankers.report, folder)
    with _timed("search", seconds):
        engine = SearchEngine.open(space)
        search.show(engine.search(QUERY, k=10))
    with _timed("compare", seconds):
        db = open_catalogue(space.catalogue)
        comparison = compare_query(engine, db, QUERY, 8, ["token", "embedding", "full"])
        pictures = picture_folders(db), compare.image_origins(space)
        compare.write_page(page, comparison_page(comparison, *pictures))
        out.print(comparison_table(comparison))
    with _timed("evaluate", seconds):
        with progress("evaluate") as advance:
            found = pipeline.evaluate(space, advance, queries=500)
        evaluate.show(found)
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9
    total = round(sum(seconds.values()), 1)
    if json:
        return emit_json(
            "demo", {"seconds": seconds, "total_seconds": total, "peak_gb": peak}, synthetic=True
        )
    spent = ", ".join(f"{name} {value:.0f}" for name, value in seconds.items())
    out.print(
        f"\nDone in {total:.0f} s ({spent}), all on synthetic data; peak memory {peak:.1f} GB."
    )
    out.print(f"The comparison page: {page}", markup=False)
    out.print(f'Now try: omnisearch search "boho bedroom" --workspace {workspace}', markup=False)


@contextmanager
def _timed(name: str, seconds: dict[str, float]) -> Iterator[None]:
    err.rule(f"omnisearch {name}")
    started = time.perf_counter()
    yield
    seconds[name] = round(time.perf_counter() - started, 1)


def _begin_afresh(workspace: Path) -> None:
    """Empty the folder of an earlier demo; raises InputError for any other non-empty folder."""
    mark = Workspace(workspace).demo_mark
    if workspace.is_dir() and any(workspace.iterdir()):
        if not mark.exists():
            raise InputError(
                "The demo needs an empty folder, and this one was not made by an earlier demo.",
                where=str(workspace),
                how="Name another folder with --workspace.",
            )
        shutil.rmtree(workspace)
    Workspace.create(workspace)
    mark.write_text("{}\n")
