"""The data that a table's models are trained on: one frozen copy, and copies with fewer fields."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path

import orjson

from data.catalogue import ITEM_ENTITIES, TEXT_FIELDS, open_catalogue, table_of
from data.enrich.boards import enrich_board_titles
from data.enrich.engaged import enrich_engaged_queries
from data.errors import InputError
from data.importers.load import ImportOptions, import_folder
from data.workspace import Workspace, new_folder, write_atomic
from data.world import Size, generate
from encoders.graph.itemsage import fit_itemsage
from encoders.graph.pinsage import fit_pinsage

Progress = Callable[[int, int], None]
WORLD_SEED = 7


def base_workspace(
    folder: Path, source: Workspace | None, pins: int, progress: Progress | None = None
) -> Workspace:
    """The workspace in `folder/base`: a copy of `source`, or a sample world of so many pins.

    It is made once; every later run of the folder uses it, whatever became of the source.

    Raises:
        InputError: the folder holds the runs of other data.
    """
    made_of = {"workspace": str(source.root.resolve())} if source else {"sample_world": pins}
    note = folder / "base.json"
    if note.exists():
        before = orjson.loads(note.read_bytes())
        if before != made_of:
            raise InputError(
                f"This folder holds the runs of other data: {before}, not {made_of}.",
                where=str(folder),
                how="Name another folder with --out.",
            )
        return Workspace.open(folder / "base")
    if (folder / "base").exists():
        shutil.rmtree(folder / "base")  # without its note it was never finished
    with new_folder(folder / "base") as unfinished:
        if source is not None:
            copy_workspace(source, unfinished)
        else:
            _sample_world(Workspace.create(unfinished), pins, progress)
    write_atomic(note, orjson.dumps(made_of))
    return Workspace.open(folder / "base")


def _sample_world(workspace: Workspace, pins: int, progress: Progress | None) -> None:
    with tempfile.TemporaryDirectory(dir=workspace.root) as files:
        generate(Size(pins), Path(files), seed=WORLD_SEED, pictures=False, progress=progress)
        import_folder(workspace, Path(files), ImportOptions())
    with closing(open_catalogue(workspace.catalogue)) as db:
        enrich_board_titles(db)
        enrich_engaged_queries(db)
        fit_pinsage(workspace, db)
        fit_itemsage(workspace, db)


def copy_workspace(source: Workspace, folder: Path) -> Workspace:
    """A workspace with the same catalogue and features; the latter are linked where they can be."""
    copy = Workspace.create(folder)
    with (
        closing(sqlite3.connect(source.catalogue)) as from_,
        closing(sqlite3.connect(copy.catalogue)) as to,
    ):
        from_.backup(to)
    if source.features.exists():
        shutil.copytree(source.features, copy.features, copy_function=_link)
    return copy


def hide_fields(workspace: Workspace, fields: Iterable[str]) -> None:
    """Empty all text fields of items but these, and drop the feature 'text', which holds them."""
    with closing(open_catalogue(workspace.catalogue)) as db, db.conn:
        for entity in ITEM_ENTITIES:
            table = table_of(entity)
            for name in sorted(set(TEXT_FIELDS) - set(fields) & set(TEXT_FIELDS)):
                if name in db[table].columns_dict:
                    db.conn.execute(f"UPDATE {table} SET {name} = NULL")
        db.conn.execute("DELETE FROM features WHERE name = 'text'")
        db.conn.execute("DELETE FROM meta WHERE key = 'text_encoder'")


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
