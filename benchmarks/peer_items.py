"""A workspace that has grown, for `peers.py`."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import sqlite_utils

from omnisearch import pipeline
from omnisearch.data.catalogue.schema import ITEM_ENTITIES, open_catalogue, table_of
from omnisearch.data.catalogue.vectors import open_vectors
from omnisearch.data.catalogue.vectors_write import write_vectors
from omnisearch.data.workspace import Workspace

NOISE = 0.5  # the length of what is added to a unit vector
REPLACED = 1 / 3  # of the words of a text
MIXED = ("title", "description")


def grown(workspace: Path, target: Path, items: int) -> Path:
    """A copy of a workspace with made-up items more, up to so many, indexed."""
    shutil.copytree(workspace, target)
    copy, random = Workspace.open(target), np.random.default_rng(0)
    db = open_catalogue(copy.catalogue)
    sizes = {entity: db[table_of(entity)].count for entity in ITEM_ENTITIES}
    for entity, size in sizes.items():
        more = items * size // sum(sizes.values()) - size
        drawn = random.integers(0, size, max(more, 0)).tolist()
        rows = list(db.query(f"SELECT * FROM {table_of(entity)} ORDER BY id"))
        ids = [row["id"] for row in rows]
        made = [f"{ids[row]}~{number:07}" for number, row in enumerate(drawn)]
        texts = {name: mixed(random, rows, drawn, name) for name in MIXED}
        columns = list(rows[0])
        new = (
            {**rows[row], "id": key, **{name: next(text) for name, text in texts.items()}}
            for key, row in zip(made, drawn, strict=True)
        )
        marks = ", ".join("?" * len(columns))
        with db.conn:
            db.conn.executemany(
                f"INSERT INTO {table_of(entity)} ({', '.join(columns)}) VALUES ({marks})",
                (tuple(row.values()) for row in new),
            )
        moved(copy, db, random, entity, ids, made, np.array(drawn, np.int64))
    db.conn.close()
    pipeline.build_index(copy)
    return target


def mixed(
    random: np.random.Generator, rows: list[dict[str, Any]], drawn: list[int], name: str
) -> Iterator[str | None]:
    """A text of each drawn row, a share of its words replaced by words of any."""
    words = [(row[name] or "").split() for row in rows]
    every = [word for each in words for word in each]
    for row in drawn:
        own = words[row]
        swapped = random.random(len(own)) < REPLACED
        others = random.integers(0, max(len(every), 1), len(own)).tolist()
        chosen = zip(own, swapped.tolist(), others, strict=True)
        yield " ".join(every[at] if swap else word for word, swap, at in chosen) or None


def moved(
    workspace: Workspace,
    db: sqlite_utils.Database,
    random: np.random.Generator,
    entity: str,
    ids: list[str],
    made: list[str],
    drawn: np.ndarray,
) -> None:
    """Give the new items the vectors of those that they are made of, moved by noise."""
    found = db.conn.execute("SELECT name FROM item_vectors WHERE entity = ?", [entity])
    for (name,) in found.fetchall():
        held = open_vectors(workspace, db, name, entity)
        assert held is not None
        vectors, has = held.rows(ids)
        kept = has[drawn]
        new = vectors[drawn[kept]]
        lengths = np.linalg.norm(new, axis=1, keepdims=True)
        noise = random.standard_normal(new.shape, np.float32) / np.sqrt(np.float32(held.dim))
        new += NOISE * lengths * noise
        new *= lengths / np.linalg.norm(new, axis=1, keepdims=True)
        keys = [key for key, keep in zip(made, kept.tolist(), strict=True) if keep]
        if keys:
            write_vectors(workspace, db, name, entity, keys, new)
