"""An encoder without a network, and catalogues without an importer."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import sqlite_utils

from omnisearch.data.catalogue.items import field_texts
from omnisearch.data.catalogue.schema import open_catalogue
from omnisearch.data.workspace import Workspace

DAY = 86_400


class FakeEncoder:
    """Vectors by words: texts that share words lie near each other. Counts what it is asked."""

    def __init__(
        self,
        checkpoint: str = "0123456789abcdef",
        dim: int = 16,
        feature_dims: Mapping[str, int] | None = None,
    ) -> None:
        self.checkpoint = checkpoint
        self.name = "default"
        self.dim = dim
        self.feature_dims = dict(feature_dims or {})
        self.feature_models: dict[str, str] = {}
        self.compat_spaces = {"pinsage": "pin", "itemsage": "product"}
        self.items_seen: list[str] = []
        self.queries_seen: list[str] = []

    def copy_to(self, target: Path) -> None:
        target.mkdir()
        (target / "weights").write_text(self.checkpoint)

    def words(self) -> list[str]:
        return ["known"]

    def queries(self, texts: list[str], batch_size: int = 256) -> np.ndarray:
        self.queries_seen.extend(texts)
        return self._unit([text.split() for text in texts])

    def items(self, items: list[dict[str, Any]], features: Mapping[str, np.ndarray]) -> np.ndarray:
        self.items_seen.extend(item["id"] for item in items)
        vectors = self._unit([" ".join(field_texts(item)).split() for item in items])
        for values in features.values():
            vectors[:, : values.shape[1]] += values[:, : self.dim]
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def compat(self, space: str, vectors: np.ndarray) -> np.ndarray:
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def _unit(self, bags: Iterable[list[str]]) -> np.ndarray:
        rows = [
            sum((self._word(word) for word in bag), self._word("") * 0.1)  # never all zeros
            for bag in bags
        ]
        vectors = np.array(rows, dtype=np.float32).reshape(-1, self.dim)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def _word(self, word: str) -> np.ndarray:
        seed = hashlib.blake2b(f"{self.checkpoint} {word}".encode(), digest_size=8).digest()
        return np.random.default_rng(int.from_bytes(seed, "little")).normal(size=self.dim)


def new_catalogue(root: Path) -> tuple[Workspace, sqlite_utils.Database]:
    workspace = Workspace.create(root)
    return workspace, open_catalogue(workspace.catalogue, create=True)


def put(db: sqlite_utils.Database, entity: str, **item: Any) -> None:
    """Insert or replace an item; list values become JSON."""
    table = {"pin": "pins", "product": "products", "query": "queries", "board": "boards"}[entity]
    row = {
        key: orjson.dumps(value).decode() if isinstance(value, list) else value
        for key, value in item.items()
    }
    names, marks = ", ".join(row), ", ".join("?" * len(row))
    with db.conn:
        db.conn.execute(
            f"INSERT OR REPLACE INTO {table} ({names}) VALUES ({marks})", list(row.values())
        )


def drop(db: sqlite_utils.Database, entity: str, item_id: str) -> None:
    table = {"pin": "pins", "product": "products"}[entity]
    with db.conn:
        db.conn.execute(f"DELETE FROM {table} WHERE id = ?", [item_id])


def engage(
    db: sqlite_utils.Database,
    query: str,
    entity: str,
    item_id: str,
    action: str = "save",
    time: int = DAY,
    count: int = 1,
) -> None:
    with db.conn:
        db.conn.execute(
            "INSERT INTO engagements (time, query, entity, item_id, action, count) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            [time, query, entity, item_id, action, count],
        )


_WORDS = (
    "oak walnut brass copper linen velvet boho rustic modern scandi lamp chair sofa table "
    "mirror rug vase sink basin shelf garden patio bedroom kitchen bathroom"
)
WORDS = _WORDS.split()


def fill(db: sqlite_utils.Database, pins: int = 60, products: int = 20, seed: int = 0) -> None:
    """A small catalogue of random titles."""
    rng = np.random.default_rng(seed)
    for entity, many in (("pin", pins), ("product", products)):
        for number in range(many):
            title = " ".join(rng.choice(WORDS, size=4))
            put(db, entity, id=f"{entity}{number:03}", title=title)
    for word in WORDS[:10]:
        put(db, "query", id=word, text=word.title())
