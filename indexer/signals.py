"""Signals: every item encoded by one checkpoint, in batches, and kept between builds.

`signals/<checkpoint>/<version>/` has for each entity type the ids (ascending), a content hash of
each item, and one array of vectors per space; `signals/<checkpoint>/CURRENT` names the complete
version. An item whose content hash has not changed since the previous version is not encoded again
(§3.6: the daily batch inference touches what changed).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import sqlite_utils

from omnisearch.data.catalogue.items import count, read_items
from omnisearch.data.catalogue.schema import ENTITIES
from omnisearch.data.catalogue.spaces import LEARNED
from omnisearch.data.catalogue.splits import counted_until
from omnisearch.data.catalogue.vector_files import unusable
from omnisearch.data.catalogue.vectors import ItemVectors, open_vectors
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.arrays import new_array
from omnisearch.data.workspace.artefacts import (
    Kind,
    numbers_in,
    pointed,
    verified,
    write_manifest,
    write_pointer,
)
from omnisearch.data.workspace.errors import Corrupt
from omnisearch.data.workspace.files import new_folder, remove_folder
from omnisearch.data.workspace.progress import Progress
from omnisearch.data.workspace.reading import check_array, load_array, load_lines, reading
from omnisearch.indexer.encoding import (
    HASH_BYTES,
    ItemsAndQueries,
    check_feature,
    checked,
    digests,
    text_of,
)
from omnisearch.indexer.parts.vectors import check_units

SIGNALS = Kind("signals", 3, again="Run `omnisearch index rebuild`.")
_ENCODE_AT_ONCE = 4096


@dataclass(frozen=True)
class EntitySignals:
    """The signals of one entity type.

    Attributes:
        ids: ascending.
        hashes: uint8 (n, 16), of everything that an item's vectors are made of.
        spaces: space → float32 (n, dim) unit rows, memory-mapped; zeros if an item has none. Empty
            without an encoder.
    """

    ids: list[str]
    hashes: np.ndarray
    spaces: dict[str, np.ndarray]


@dataclass
class SignalStats:
    """The result of `encode_signals`, by entity type.

    Attributes:
        items: the number of items; encoded: how many of them were encoded now.
        folder: where the signals are.
    """

    folder: Path
    items: dict[str, int] = field(default_factory=dict)
    encoded: dict[str, int] = field(default_factory=dict)


def encode_signals(
    workspace: Workspace,
    db: sqlite_utils.Database,
    encoder: ItemsAndQueries,
    progress: Progress | None = None,
    *,
    fresh: bool = False,
) -> SignalStats:
    """Bring the signals of the encoder's checkpoint up to date with the catalogue.

    With `fresh`, older signals are not used. Progress counts items.

    Raises:
        InputError: a feature's dimension differs from the one the encoder was trained with.
        Corrupt: item vectors are damaged, or the encoder gives NaN.
    """
    home = workspace.signals_of(encoder.checkpoint)
    old = {} if fresh else _old_signals(workspace, encoder.checkpoint)
    number = max([*numbers_in(home), 0]) + 1
    stats = SignalStats(home / str(number))
    total, done = sum(count(db, entity) for entity in ENTITIES), 0

    def step(items: int) -> None:
        nonlocal done
        done += items
        if progress:
            progress(min(done, total), total)

    with new_folder(home / str(number)) as folder:
        for entity in ENTITIES:
            run = _Run(workspace, db, encoder, entity, folder, old.get(entity))
            found = run.encode(step)
            _save_entity(folder, entity, found)
            stats.items[entity], stats.encoded[entity] = len(found.ids), run.encoded
        facts = {"checkpoint": encoder.checkpoint, "items": stats.items}
        write_manifest(folder, SIGNALS, facts)
    write_pointer(workspace.current_signals(encoder.checkpoint), number)
    for other in numbers_in(home):
        if other != number:
            remove_folder(home / str(other))
    return stats


def encode_items(
    workspace: Workspace,
    db: sqlite_utils.Database,
    encoder: ItemsAndQueries,
    entity: str,
    ids: list[str],
    step: Callable[[int], None],
) -> EntitySignals:
    """Encode these items of the catalogue, in memory; raises as `encode_signals` does.

    Args:
        ids: ascending; the catalogue has all of them.
    """
    return _Run(workspace, db, encoder, entity, ids=ids).encode(step)


def read_hashed(
    workspace: Workspace,
    db: sqlite_utils.Database,
    encoder: ItemsAndQueries,
    entity: str,
    ids: list[str],
) -> Iterator[tuple[dict[str, Any], np.ndarray]]:
    """Items of the catalogue as `encode_items` reads them, each with its hash uint8 (16,)."""
    for read in _Run(workspace, db, encoder, entity, ids=ids).read():
        yield from zip(read.items, read.hashes, strict=True)


def _save_entity(folder: Path, entity: str, found: EntitySignals) -> None:
    np.save(folder / f"{entity}-hashes.npy", found.hashes)
    lines = b"".join(orjson.dumps(key) + b"\n" for key in found.ids)
    (folder / f"{entity}.ids").write_bytes(lines)


def read_signals(folder: Path) -> dict[str, EntitySignals]:
    """The signals in one version's folder, by entity type.

    Raises:
        Corrupt: a file does not match the manifest or is of another shape; a vector is not of unit
            length.
    """
    verified(folder, SIGNALS)
    with reading("The folder of signals", folder, SIGNALS.again):
        found = {entity: _read_entity(folder, entity) for entity in ENTITIES}
        dims = {space.shape[1] for part in found.values() for space in part.spaces.values()}
        if len(dims) > 1:
            raise ValueError(f"its spaces have {sorted(dims)} dimensions")
        return found


def _read_entity(folder: Path, entity: str) -> EntitySignals:
    ids = load_lines((folder / f"{entity}.ids").read_bytes(), str)
    if ids != sorted(set(ids)):
        raise ValueError(f"the ids in {entity}.ids do not ascend")
    hashes = load_array(folder / f"{entity}-hashes.npy", np.uint8, (len(ids), HASH_BYTES))
    spaces = {}
    for path in folder.glob(f"{entity}-*.npy"):
        name = path.stem.removeprefix(f"{entity}-")
        if name != "hashes":
            spaces[name] = vectors = load_array(path, np.float32, (len(ids), None))
            check_units(vectors, np.asarray(vectors.any(axis=1)))
    if spaces:
        check_array(LEARNED, spaces[LEARNED], np.float32, (len(ids), None))
    return EntitySignals(ids, np.asarray(hashes), spaces)


def _old_signals(workspace: Workspace, checkpoint: str) -> dict[str, EntitySignals]:
    """The existing signals; none if they are damaged or hold NaN: they can be made again."""
    try:
        folder = pointed(workspace.current_signals(checkpoint), SIGNALS)
        found = {} if folder is None else read_signals(folder)
        learned = [each.spaces[LEARNED] for each in found.values() if each.spaces]
        whole = not any(unusable(vectors).size for vectors in learned)
        return found if whole else {}
    except Corrupt:
        return {}


def related_queries(db: sqlite_utils.Database) -> list[str]:
    """The queries that can be shown as related ones, ascending: those with engagement.

    Only engagement before the catalogue's engaged_until counts. If no query has any, all queries of
    the catalogue are returned.
    """
    rows = db.conn.execute(
        "SELECT query FROM engaged WHERE since < ? AND query IN (SELECT id FROM queries) "
        "ORDER BY query",
        [counted_until(db)],
    ).fetchall()
    if not rows:
        rows = db.conn.execute("SELECT id FROM queries ORDER BY id").fetchall()
    return [row[0] for row in rows]


@dataclass(frozen=True)
class _Read:
    """A batch of m items as they were read.

    Attributes:
        hashes: uint8 (m, 16). features: name → float32 (m, d), what the encoder reads of each.
        older: space → existing embeddings float32 (m, d), and bool (m,) which items have one.
    """

    items: list[dict[str, Any]]
    hashes: np.ndarray
    features: dict[str, np.ndarray]
    older: dict[str, tuple[np.ndarray, np.ndarray]]

    @property
    def ids(self) -> list[str]:
        return [item["id"] for item in self.items]


@dataclass
class _Run:
    """Encodes one entity type: all items into files in `folder`, or those of `ids` in memory."""

    workspace: Workspace
    db: sqlite_utils.Database
    encoder: ItemsAndQueries
    entity: str
    folder: Path | None = None
    old: EntitySignals | None = None
    ids: list[str] | None = None
    encoded: int = field(default=0, init=False)  # the others were known

    def encode(self, step: Callable[[int], None]) -> EntitySignals:
        total = self._count()
        spaces = {LEARNED: self._array(LEARNED, total)} if self.encoder.dim else {}
        spaces |= {name: self._array(name, total) for name in self._older}
        hashes = np.zeros((total, HASH_BYTES), dtype=np.uint8)
        ids: list[str] = []
        for read in self.read():
            part = slice(len(ids), len(ids) + len(read.items))
            ids.extend(read.ids)
            hashes[part] = read.hashes
            if spaces:
                self.encoded += self._learned(spaces[LEARNED], part, read)
            for name, (rows, has) in read.older.items():
                if has.any():
                    mapped = self.encoder.compat(name, rows[has])
                    keys = [
                        key for key, there in zip(ids[part], has.tolist(), strict=True) if there
                    ]
                    spaces[name][part][has] = checked(self.encoder, self.entity, mapped, keys, name)
            step(len(read.items))
        return EntitySignals(ids, hashes, spaces)

    def read(self) -> Iterator[_Read]:
        """Read the items in batches."""
        features = self._features()
        for batch in self._batches():
            ids = [item["id"] for item in batch]
            given = {name: feature.rows(ids)[0] for name, feature in features.items()}
            there = {name: feature.rows(ids) for name, feature in self._older.items()}
            texts = (text_of(self.entity, item) for item in batch)
            vectors = [*given.values(), *(rows for rows, _ in there.values())]
            hashes = digests(
                text + b"".join(vector.tobytes() for vector in each)
                for text, *each in zip(texts, *vectors, strict=True)
            )
            yield _Read(batch, hashes, given, there)

    def _learned(self, target: np.ndarray, part: slice, read: _Read) -> int:
        """Fill a part of the learned vectors; returns how many were encoded."""
        batch, given = read.items, read.features
        known = self._known(read.ids, read.hashes)
        fresh = np.flatnonzero(known < 0)
        if self.old is not None and len(fresh) < len(batch):
            kept = np.flatnonzero(known >= 0)
            target[part.start + kept] = self.old.spaces[LEARNED][known[kept]]
        if not len(fresh):
            return 0
        if self.entity == "query":
            vectors = self.encoder.queries([batch[row]["id"] for row in fresh])
        else:
            vectors = self.encoder.items(
                [batch[row] for row in fresh], {name: rows[fresh] for name, rows in given.items()}
            )
        keys = [batch[row]["id"] for row in fresh]
        target[part.start + fresh] = checked(self.encoder, self.entity, vectors, keys, LEARNED)
        return len(fresh)

    def _known(self, ids: list[str], hashes: np.ndarray) -> np.ndarray:
        """Int64 (m,): the old row of each item with unchanged content, else -1."""
        if self.old is None or not self.old.ids:
            return np.full(len(ids), -1, dtype=np.int64)
        rows = np.array([self._old_rows.get(key, -1) for key in ids], dtype=np.int64)
        same = (self.old.hashes[rows] == hashes).all(axis=1) & (rows >= 0)
        return np.where(same, rows, -1)

    def __post_init__(self) -> None:
        old = self.old
        self._old_rows = {} if old is None else {key: row for row, key in enumerate(old.ids)}

    def _array(self, space: str, rows: int) -> np.ndarray:
        if self.folder is None:
            return np.zeros((rows, self.encoder.dim), np.float32)
        path = self.folder / f"{self.entity}-{space}.npy"
        return new_array(path, np.float32, (rows, self.encoder.dim))

    def _features(self) -> dict[str, ItemVectors]:
        if self.entity == "query":
            return {}
        found = {}
        for name in sorted(self.encoder.feature_dims):
            feature = open_vectors(self.workspace, self.db, name, self.entity)
            if feature is None:
                continue
            check_feature(self.encoder, self.entity, name, feature.dim, feature.made_by)
            found[name] = feature
        return found

    @cached_property
    def _older(self) -> dict[str, ItemVectors]:
        """The existing embeddings of any dimension; their spaces have the encoder's."""
        found = {
            name: open_vectors(self.workspace, self.db, name, self.entity)
            for name, entity in self.encoder.compat_spaces.items()
            if entity == self.entity
        }
        return {name: vectors for name, vectors in found.items() if vectors is not None}

    def _count(self) -> int:
        if self.ids is None and self.entity == "query":
            self.ids = related_queries(self.db)
        return count(self.db, self.entity) if self.ids is None else len(self.ids)

    def _batches(self) -> Iterator[list[dict[str, Any]]]:
        if self.entity != "query":
            return read_items(self.db, self.entity, ids=self.ids, batch_size=_ENCODE_AT_ONCE)
        ids = self.ids or []
        parts = range(0, len(ids), _ENCODE_AT_ONCE)
        return ([{"id": key} for key in ids[start : start + _ENCODE_AT_ONCE]] for start in parts)
