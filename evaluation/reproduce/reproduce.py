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
from omnisearch.data.workspace.errors import NotReady
from omnisearch.data.workspace.files import write_atomic
from omnisearch.data.workspace.leftovers import remove_leftovers_in
from omnisearch.encoders.config import Config, preset_config
from omnisearch.evaluation.judged import data_notes
from omnisearch.evaluation.reproduce.base import base_workspace
from omnisearch.evaluation.reproduce.pairs import all_columns
from omnisearch.evaluation.reproduce.plot import svg
from omnisearch.evaluation.reproduce.runs import Hits, Run, run_hits
from omnisearch.evaluation.reproduce.spec import Model, Table
from omnisearch.evaluation.reproduce.table_report import Reproduction, markdown, reproduction


@dataclass(frozen=True)
class Reproduce:
    """How to reproduce.

    Attributes:
        folder: for data, runs and reports.
        source: the workspace with the data; None for the table's sample world.
        steps: training steps of every model; None for the table's.
    """

    folder: Path
    source: Workspace | None = None
    seeds: int = 3
    steps: int | None = None

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
    base = base_workspace(options.folder, options.source, table.pins)
    with closing(open_catalogue(base.catalogue)) as db:
        columns, notes = all_columns(db), data_notes(db)
    if not columns.keys() & set(table.columns):
        raise NotReady(
            "The data has no held-out pairs for this table.",
            where=", ".join(table.columns),
            how="Import a log of more than 22 days, or judgments of test queries.",
        )
    hits: dict[str, list[Hits]] = {model.name: [] for model in table.models}
    left_out: dict[str, str] = {}
    total = len(table.models) * options.seeds
    for seed in range(options.seeds):
        for number, model in enumerate(table.models):
            at = seed * len(table.models) + number + 1
            run = Run(model.fields, _config(table, model, options, seed))
            on_step = on_run(at, total, f"{model.name}, seed {seed}") if on_run else None
            try:
                hits[model.name].append(run_hits(options.folder, base, columns, run, on_step))
            except NotReady as error:
                left_out[model.name] = f"{model.name} is skipped: {error.what}"
    about = {
        "seeds": options.seeds,
        "steps": _config(table, table.models[0], options, 0).steps,
        "data": str(options.source.root) if options.source else f"sample world, {table.pins} pins",
        "cores": os.cpu_count(),
    }
    notes += left_out.values()
    notes.append(
        f"{about['data']}; {about['seeds']} seeds, {about['steps']} steps each, "
        f"{about['cores']} cores."
    )
    made = replace(reproduction(name, table, columns, hits, notes), about=about)
    write_report(options.folder, name, made)
    return made


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
