"""The catalogue: one SQLite file (WAL) with all entities, engagements and judgments.

Times are whole seconds since 1970 UTC. A query's id is its normalised text
(`omnisearch.data.text.normalise_query`). List-valued columns hold JSON arrays.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson
import sqlite_utils

from omnisearch.data.errors import Corrupt, InputError

SCHEMA_VERSION = 1

# What users do with a result. Impressions are kept too: the rankers learn from them.
ACTIONS = ("save", "long_click", "click", "add_to_cart", "checkout", "impression")
ITEM_ENTITIES = ("pin", "product")
ENTITIES = ("pin", "product", "query")

# All text of an item, in the order of §3.3; each field's strings are tokenised alone (§3.4.2).
TEXT_FIELDS = (
    "title",
    "description",
    "caption",
    "board_titles",
    "engaged_queries",
    "domain",
    "brand",
    "colours",
    "materials",
    "patterns",
    "size",
    "product_types",
)
LIST_FIELDS = ("board_titles", "colours", "materials", "patterns", "product_types")

_ITEM_COLUMNS = """
    id TEXT PRIMARY KEY, title TEXT, description TEXT, caption TEXT,
    board_titles TEXT,      -- JSON [str], written by enrichment, best first
    engaged_queries TEXT,   -- JSON [[query, weight, time of the last action]], best first
    domain TEXT, link TEXT,
    image TEXT,             -- path or URL
    language TEXT, country TEXT,
    created_at INTEGER,
    campaign TEXT           -- set for ads
"""

_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS pins ({_ITEM_COLUMNS});
CREATE TABLE IF NOT EXISTS products ({_ITEM_COLUMNS},
    brand TEXT, price REAL, currency TEXT, size TEXT,
    colours TEXT, materials TEXT, patterns TEXT, product_types TEXT  -- JSON [str]
);
CREATE TABLE IF NOT EXISTS boards (id TEXT PRIMARY KEY, title TEXT, owner TEXT, language TEXT);
CREATE TABLE IF NOT EXISTS board_items (
    board_id TEXT, entity TEXT, item_id TEXT, added_at INTEGER,
    PRIMARY KEY (board_id, entity, item_id)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS board_items_by_item ON board_items (entity, item_id);
CREATE TABLE IF NOT EXISTS queries (
    id TEXT PRIMARY KEY,    -- the normalised text
    text TEXT,              -- as first seen
    language TEXT, country TEXT,
    split TEXT              -- 'train', 'valid' or 'test' where a data set fixes it, else NULL
);
CREATE TABLE IF NOT EXISTS engagements (
    event INTEGER PRIMARY KEY,  -- 64-bit hash of the event_id given, else of the row
    time INTEGER NOT NULL, query TEXT NOT NULL, entity TEXT NOT NULL, item_id TEXT NOT NULL,
    action TEXT NOT NULL, count INTEGER NOT NULL,
    language TEXT, country TEXT, surface TEXT,  -- surface: 'search' (default) or 'offsite'
    session TEXT, position INTEGER              -- position: 1 is the first result
);
CREATE INDEX IF NOT EXISTS engagements_by_time ON engagements (time);
CREATE TABLE IF NOT EXISTS judgments (
    query TEXT, entity TEXT, item_id TEXT, judge TEXT, grade REAL NOT NULL, time INTEGER,
    PRIMARY KEY (query, entity, item_id, judge)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS features (
    name TEXT, entity TEXT, file TEXT, rows INTEGER, dim INTEGER, sha256 TEXT,
    PRIMARY KEY (name, entity)
);
CREATE TABLE IF NOT EXISTS imports (
    id INTEGER PRIMARY KEY, file TEXT, sha256 TEXT, kind TEXT, format TEXT, time INTEGER,
    rows INTEGER, taken INTEGER, changed INTEGER, refused INTEGER, rejects TEXT
);
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT);  -- value: JSON
"""


def open_catalogue(path: Path, *, create: bool = False) -> sqlite_utils.Database:
    """Open the catalogue at `path` (the workspace's `catalogue`).

    Raises:
        InputError: there is none and `create` is false.
        Corrupt: the file is not a catalogue of this version.
    """
    if not create and not path.exists():
        raise InputError(
            "The catalogue does not exist.", where=str(path), how="Run `omnisearch import` first."
        )
    connection = sqlite3.connect(path, timeout=60)
    try:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version not in (0, SCHEMA_VERSION):
            raise Corrupt(
                f"The catalogue has schema version {version}, this program reads {SCHEMA_VERSION}.",
                where=str(path),
                how="Import the files again into a new workspace.",
            )
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        if version == 0:
            connection.executescript(_SCHEMA)
            connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
    except sqlite3.DatabaseError as error:
        connection.close()
        raise Corrupt(
            f"The catalogue cannot be read ({error}).",
            where=str(path),
            how="Put back a copy of the file, or import again into a new workspace.",
        ) from error
    except Corrupt:
        connection.close()
        raise
    return sqlite_utils.Database(connection)


def table_of(entity: str) -> str:
    """The table that holds an entity type."""
    return {"pin": "pins", "product": "products", "query": "queries"}[entity]


def read_items(
    db: sqlite_utils.Database,
    entity: str,
    *,
    ids: Iterable[str] | None = None,
    batch_size: int = 4096,
) -> Iterator[list[dict[str, Any]]]:
    """The items of one entity type in batches, ordered by id, list columns decoded.

    `engaged_queries` is decoded to [[query, weight, time]]. With `ids`, only those items, in that
    order, absent ones left out. Memory is bounded by the batch.
    """
    table = table_of(entity)
    if ids is None:
        cursor = db.conn.execute(f"SELECT * FROM {table} ORDER BY id")
        names = [column[0] for column in cursor.description]
        while rows := cursor.fetchmany(batch_size):
            yield [_decode(dict(zip(names, row, strict=True))) for row in rows]
        return
    wanted = list(ids)
    for start in range(0, len(wanted), 500):
        part = wanted[start : start + 500]
        marks = ",".join("?" * len(part))
        cursor = db.conn.execute(f"SELECT * FROM {table} WHERE id IN ({marks})", part)
        names = [column[0] for column in cursor.description]
        found = {row[0]: _decode(dict(zip(names, row, strict=True))) for row in cursor}
        yield [found[key] for key in part if key in found]


def _decode(item: dict[str, Any]) -> dict[str, Any]:
    for field in (*LIST_FIELDS, "engaged_queries"):
        value = item.get(field)
        if value is not None:
            item[field] = orjson.loads(value)
    return item


def field_texts(item: dict[str, Any], fields: Sequence[str] = TEXT_FIELDS) -> list[str]:
    """All non-empty strings of an item's text fields, one entry for each tokenised alone."""
    texts: list[str] = []
    for field in fields:
        value = item.get(field)
        if not value:
            continue
        if field == "engaged_queries":
            texts.extend(entry[0] for entry in value)
        elif isinstance(value, list):
            texts.extend(value)
        else:
            texts.append(value)
    return texts


def count(db: sqlite_utils.Database, entity: str) -> int:
    """How many items of an entity type the catalogue holds."""
    return db.conn.execute(f"SELECT COUNT(*) FROM {table_of(entity)}").fetchone()[0]


def head_queries(db: sqlite_utils.Database, most: int) -> list[str]:
    """The queries of the log with the most events, most frequent first."""
    rows = db.conn.execute(
        "SELECT query FROM engagements GROUP BY query ORDER BY SUM(count) DESC, query LIMIT ?",
        [most],
    )
    return [query for (query,) in rows]


def get_meta(db: sqlite_utils.Database, key: str, default: Any = None) -> Any:
    """A value of the catalogue's own notes, such as 'engaged_until' or 'synthetic'."""
    row = db.conn.execute("SELECT value FROM meta WHERE key = ?", [key]).fetchone()
    return orjson.loads(row[0]) if row else default


def set_meta(db: sqlite_utils.Database, key: str, value: Any) -> None:
    """Set such a value (in the caller's transaction, if one is open)."""
    db.conn.execute(
        "INSERT INTO meta VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        [key, orjson.dumps(value).decode()],
    )
