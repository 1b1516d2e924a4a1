"""The training data of a table's models: one frozen copy, and copies with fewer fields."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson
import sqlite_utils

from omnisearch.data.catalogue.items import read_items
from omnisearch.data.catalogue.schema import ITEM_ENTITIES, TEXT_FIELDS, open_catalogue, table_of
from omnisearch.data.catalogue.splits import feature_until
from omnisearch.data.catalogue.vectors import open_vectors
from omnisearch.data.catalogue.vectors_write import write_vectors
from omnisearch.data.importers.files import ImportOptions
from omnisearch.data.importers.folders import import_folder
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import InputError
from omnisearch.data.workspace.files import new_folder
from omnisearch.data.workspace.progress import Progress
from omnisearch.encoders.text_encoder import text_encoder
from omnisearch.enrichment.boards import enrich_board_titles
from omnisearch.enrichment.engaged_queries import enrich_engaged_queries
from omnisearch.enrichment.graph.itemsage import fit_itemsage
from omnisearch.enrichment.graph.pinsage import fit_pinsage
from omnisearch.enrichment.inputs import texts_of
from omnisearch.enrichment.text import embed_texts, usual_encoder
from omnisearch.enrichment.vector_provenance import imported, note_fit
from omnisearch.world import Size, generate
from omnisearch.world.visual import NOISE

WORLD_SEED = 7
_GRAPH = (("pinsage", "pin"), ("itemsage", "product"))


def base_workspace(
    folder: Path,
    source: Workspace | None,
    pins: int,
    progress: Progress | None = None,
    seed: int = WORLD_SEED,
    picture_noise: float = NOISE,
) -> Workspace:
    """The workspace in `folder/base`: a copy of `source`, or a sample world of `pins` pins.

    It is made once; later runs in the folder use it, even if the source has changed. A world of
    another seed is in `folder/base-<seed>`.

    Args:
        picture_noise: how little the sample world's image vectors say (`world.visual`).

    Raises:
        InputError: the folder has runs on other data.
    """
    made_of: dict[str, Any] = {"sample_world": pins}
    if picture_noise != NOISE:
        made_of["picture_noise"] = picture_noise
    if source is not None:
        made_of = {"workspace": str(source.root.resolve())}
    base = folder / ("base" if seed == WORLD_SEED else f"base-{seed}")
    if base.exists():
        before = _made_of(base)
        if before != made_of:
            raise InputError(
                f"This folder has runs on other data: {before}, not {made_of}.",
                where=str(folder),
                how="Name another folder with --out.",
            )
        return Workspace.open(base)
    with new_folder(base) as unfinished:
        if source is not None:
            copy_workspace(source, unfinished)
            if source.text_cache.exists():
                _backup(source.text_cache, Workspace(unfinished).text_cache)
        else:
            _sample_world(Workspace.create(unfinished), pins, seed, progress, picture_noise)
        Workspace(unfinished).made_of.write_bytes(orjson.dumps(made_of))
    return Workspace.open(base)


def _made_of(base: Path) -> dict[str, Any]:
    try:
        return orjson.loads(Workspace(base).made_of.read_bytes())
    except (OSError, ValueError) as error:
        raise InputError(
            "This folder was not written by `omnisearch reproduce`, or it is damaged.",
            where=str(base),
            how="Name another folder with --out.",
        ) from error


def _sample_world(
    workspace: Workspace, pins: int, seed: int, progress: Progress | None, picture_noise: float
) -> None:
    with tempfile.TemporaryDirectory(dir=workspace.root) as files:
        generate(Size(pins), Path(files), seed, False, progress, picture_noise)
        import_folder(workspace, Path(files), ImportOptions())
    with closing(open_catalogue(workspace.catalogue)) as db:
        enrich_board_titles(db)
        enrich_engaged_queries(db)
        fit_pinsage(workspace, db)
        fit_itemsage(workspace, db)


def copy_workspace(source: Workspace, folder: Path) -> Workspace:
    """A workspace with the same catalogue and item vectors, hard-linked if possible."""
    copy = Workspace.create(folder)
    _backup(source.catalogue, copy.catalogue)
    if source.item_vectors.exists():
        shutil.copytree(source.item_vectors, copy.item_vectors, copy_function=_link)
    if source.text_encoders.exists():
        shutil.copytree(source.text_encoders, copy.text_encoders, copy_function=_link)
    return copy


def with_fields(base: Workspace, folder: Path, fields: Iterable[str]) -> Workspace:
    """A copy of the base whose items have only these text fields.

    Vectors that encode the hidden text are removed too. The feature 'text' is recomputed from the
    remaining text; the PinSage of `enrich graph` is replaced by one trained without text and log
    (`textless`), and its ItemSage is dropped; imported vectors are kept.
    """
    copy = copy_workspace(base, folder)
    with closing(open_catalogue(copy.catalogue)) as db:
        encoder = usual_encoder(db) if text_encoder(db) else None
        hide_fields(db, fields)
        if encoder is not None and _has_text(db):
            # Runs of all seeds use the same texts.
            copy.text_cache.symlink_to(base.text_cache.resolve())
            embed_texts(copy, db, **encoder)
        fitted = [
            name
            for name, entity in _GRAPH
            if open_vectors(copy, db, name, entity) and not imported(db, name, entity)
        ]
        for name in fitted:
            db["item_vectors"].delete_where("name = ?", [name])
        if "pinsage" in fitted:
            plain = textless(base)
            with closing(open_catalogue(plain.catalogue)) as other:
                feature = open_vectors(plain, other, "pinsage", "pin")
            if feature is not None:
                until = feature_until(db)
                made = write_vectors(copy, db, "pinsage", "pin", feature.ids, feature.vectors)
                note_fit(db, made, until)
    return copy


def textless(base: Workspace) -> Workspace:
    """A copy of the base, made once, with a PinSage trained on its boards and pictures alone."""
    folder = base.root.with_name(f"{base.root.name}-textless")
    if not folder.exists():
        with new_folder(folder) as unfinished:
            copy = copy_workspace(base, unfinished)
            with closing(open_catalogue(copy.catalogue)) as db:
                until = feature_until(db)
                hide_fields(db, ())
                with db.conn:
                    db.conn.execute("DELETE FROM engagements")
                    db.conn.execute(
                        "DELETE FROM item_vectors WHERE name IN ('pinsage', 'itemsage')"
                    )
                fit_pinsage(copy, db, until=until)
    return Workspace.open(folder)


def hide_fields(db: sqlite_utils.Database, fields: Iterable[str]) -> None:
    """Empty all text fields of items but these, and drop the feature 'text', made from them."""
    hidden = set(TEXT_FIELDS) - set(fields)
    with db.conn:
        for entity in ITEM_ENTITIES:
            table = table_of(entity)
            for name in sorted(hidden & db[table].columns_dict.keys()):
                db.conn.execute(f"UPDATE {table} SET {name} = NULL")
        db.conn.execute("DELETE FROM item_vectors WHERE name = 'text'")
        db.conn.execute("DELETE FROM meta WHERE key = 'text_encoder'")


def _has_text(db: sqlite_utils.Database) -> bool:
    batches = (batch for entity in ITEM_ENTITIES for batch in read_items(db, entity))
    return any(texts_of(item) for batch in batches for item in batch)


def _backup(source: Path, target: Path) -> None:
    with closing(sqlite3.connect(source)) as from_, closing(sqlite3.connect(target)) as to:
        from_.backup(to)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
