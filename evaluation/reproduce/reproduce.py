"""`reproduce_table`: trains all models of a table with all seeds and writes one report."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson

from omnisearch.data.catalogue.schema import open_catalogue
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import InputError, NotReady
from omnisearch.data.workspace.files import write_atomic
from omnisearch.data.workspace.leftovers import remove_leftovers_in
from omnisearch.encoders.config import Config, preset_config
from omnisearch.evaluation.judged import data_notes
from omnisearch.evaluation.reproduce.base import WORLD_SEED, base_workspace
from omnisearch.evaluation.reproduce.pairs import all_columns
from omnisearch.evaluation.reproduce.plot import svg
from omnisearch.evaluation.reproduce.runs import Hits, Run, ceiling_hits, run_hits
from omnisearch.evaluation.reproduce.spec import Model, Table
from omnisearch.evaluation.reproduce.table_report import (
    Measured,
    Reproduction,
    markdown,
    reproduction,
)
from omnisearch.evaluation.reproduce.worlds import (
    AnyColumn,
    graded_columns,
    truth_of,
    week_of,
)
from omnisearch.world.visual import NOISE


@dataclass(frozen=True)
class Reproduce:
    """How to reproduce.

    Attributes:
        folder: for data, runs and reports.
        source: the workspace with the data; None for the table's sample world.
        seeds: trainings of every model on each world.
        worlds: sample worlds, of the seeds WORLD_SEED and on.
        steps: training steps of every model; None for the table's.
    """

    folder: Path
    source: Workspace | None = None
    seeds: int = 3
    steps: int | None = None
    worlds: int = 1

    def __post_init__(self) -> None:
        if self.source is not None and self.worlds > 1:
            raise InputError(
                "Only sample worlds come in several seeds.",
                where="--worlds",
                how="Leave out --worlds, or --workspace.",
            )

    def changes(self, train: dict[str, Any]) -> dict[str, Any]:
        """The settings of a training, with the requested number of steps."""
        if self.steps is None:
            return train
        validate = max(1, self.steps // 2)
        mine = {"steps": self.steps, "warmup_steps": self.steps // 10, "valid_every": validate}
        return train | mine


OnRun = Callable[[int, int, str], Callable[[Any], None] | None]


def reproduce_table(
    name: str, table: Table, options: Reproduce, on_run: OnRun | None = None
) -> Reproduction:
    """Train and measure every model of a table with every seed, and write the report.

    Writes `<name>.md`, `<name>.json` and, with matplotlib, `<name>.svg` into the folder. Models
    already trained, for this table or another, are not trained again. `on_run` is called before
    each training with its number, the number of trainings, and its name. A model without training
    data is skipped with a note.

    Raises:
        NotReady: none of the table's columns has held-out pairs.
    """
    remove_leftovers_in(options.folder)
    left_out: dict[str, str] = {}
    worlds: list[Measured] = []
    notes: list[str] = []
    for number in range(options.worlds):
        found, notes = _measured(table, options, number, left_out, on_run)
        worlds.append(found)
    data = f"sample world, {table.pins} pins"
    if table.picture_noise != NOISE:
        data += f" with picture noise {table.picture_noise:g} in place of {NOISE:g}"
    about = {
        "seeds": options.seeds,
        "worlds": options.worlds,
        "steps": _config(table, table.models[0], options, 0).steps,
        "data": str(options.source.root) if options.source else data,
        "cores": os.cpu_count(),
    }
    notes += left_out.values()
    of_worlds = f"{options.worlds} worlds, " if options.worlds > 1 else ""
    seeds = "1 seed" if options.seeds == 1 else f"{options.seeds} seeds"
    notes.append(
        f"{about['data']}; {of_worlds}{seeds}, {about['steps']} steps each, {about['cores']} cores."
    )
    made = replace(reproduction(name, table, worlds, notes), about=about)
    write_report(options.folder, name, made)
    return made


def _measured(
    table: Table,
    options: Reproduce,
    world: int,
    left_out: dict[str, str],
    on_run: OnRun | None,
) -> tuple[Measured, list[str]]:
    """Train and measure all models on one world, and the notes on its data."""
    base = base_workspace(
        options.folder,
        options.source,
        table.pins,
        seed=WORLD_SEED + world,
        picture_noise=table.picture_noise,
    )
    truth = None if options.source else truth_of(base)
    columns: dict[str, AnyColumn]
    with closing(open_catalogue(base.catalogue)) as db:
        notes = data_notes(db)
        if truth is None:
            columns = {**all_columns(db)}
        else:
            week = week_of(db, truth, WORLD_SEED + world)
            columns = {**all_columns(db, week), **graded_columns(db, truth, week)}
    if not columns.keys() & set(table.columns):
        raise NotReady(
            "The data has no held-out pairs for this table.",
            where=", ".join(table.columns),
            how="Import a log of more than 22 days, or judgments of test queries.",
        )
    data = base.root.name
    best = {} if truth is None else ceiling_hits(options.folder, data, columns, truth)
    hits: dict[str, list[Hits]] = {model.name: [] for model in table.models}
    total = len(table.models) * options.seeds * options.worlds
    for seed in range(options.seeds):
        for number, model in enumerate(table.models):
            at = (world * options.seeds + seed) * len(table.models) + number + 1
            run = Run(model.fields, _config(table, model, options, seed), data)
            named = f"{model.name}, seed {seed}" + (f", world {world}" if world else "")
            on_step = on_run(at, total, named) if on_run else None
            try:
                hits[model.name].append(run_hits(options.folder, base, columns, run, on_step))
            except NotReady as error:
                left_out[model.name] = f"{model.name} is skipped: {error.what}"
    return Measured(columns, hits, best), notes


def write_report(folder: Path, name: str, made: Reproduction) -> None:
    """Write the report as Markdown, JSON and, if matplotlib is installed, as a plot."""
    write_atomic(folder / f"{name}.md", markdown(made).encode())
    content = orjson.dumps(made.to_json(), option=orjson.OPT_INDENT_2)
    write_atomic(folder / f"{name}.json", content)
    picture = svg(made)
    if picture is not None:
        write_atomic(folder / f"{name}.svg", picture)


def _config(table: Table, model: Model, options: Reproduce, seed: int) -> Config:
    changes = options.changes(table.train | model.train)
    return preset_config(table.preset, **changes | {"seed": seed})
