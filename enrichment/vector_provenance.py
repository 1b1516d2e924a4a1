"""The origin of vectors: imported or made here, and until when their data was read."""

from __future__ import annotations

import sqlite_utils

from omnisearch.data.catalogue.schema import get_meta, set_meta
from omnisearch.data.catalogue.splits import fit_note
from omnisearch.data.catalogue.vectors import ItemVectors


def note_fit(db: sqlite_utils.Database, feature: ItemVectors, until: int) -> None:
    """Note until when (exclusive) training read the log, for the leak rule (`check_leak`)."""
    with db.conn:
        note = {"until": until, "sha256": vector_digest(db, feature.name, feature.entity)}
        set_meta(db, fit_note(feature.name), note)


def imported(db: sqlite_utils.Database, name: str, entity: str) -> bool:
    """Whether the catalogue has vectors of this name that were not made here."""
    digest = vector_digest(db, name, entity)
    note = get_meta(db, fit_note(name))
    return digest is not None and (note is None or note["sha256"] != digest)


def vector_digest(db: sqlite_utils.Database, name: str, entity: str) -> str | None:
    """The sha256 of the vectors of this name, None if there are none."""
    row = db.conn.execute(
        "SELECT sha256 FROM item_vectors WHERE name = ? AND entity = ?", [name, entity]
    ).fetchone()
    return row[0] if row else None
