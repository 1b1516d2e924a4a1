"""The catalogue: one SQLite file, in WAL mode, with all entities, engagements and judgments.

Times are whole seconds since 1970 UTC. A query's id is its normalised text
(`omnisearch.data.text.normalise.normalise_query`). List-valued columns hold JSON arrays.
"""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from omnisearch.data.catalogue import changes
from omnisearch.data.catalogue.migrations import migrate, remove_copies, schema_version
from omnisearch.data.workspace.causes import cause_of, is_damage
from omnisearch.data.workspace.errors import Corrupt, NotReady, OmniError

if TYPE_CHECKING:
    import sqlite_utils

SCHEMA_VERSION = 8  # a change of the schema is a step in `migrations`

# What users do with a result. Rankers also learn from impressions without an action.
ACTIONS = ("save", "long_click", "click", "add_to_cart", "checkout", "impression")
ITEM_ENTITIES = ("pin", "product")
ENTITIES = ("pin", "product", "query")
AVAILABILITY = ("in_stock", "out_of_stock", "preorder", "backorder")

# The text fields of an item, in the order of §3.3; each string is tokenised by itself (§3.4.2).
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
# What identifies a product elsewhere; found whatever its hyphens and spaces, and like its text.
CODE_FIELDS = ("sku", "gtin", "mpn")
LIST_FIELDS = (
    *("board_titles", "colours", "materials", "patterns", "product_types"),
    "more_images",
)

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
_SHOP_COLUMNS = """
    availability TEXT,      -- one of AVAILABILITY
    attributes TEXT,        -- JSON {name: str, number, bool or [str]}
    more_images TEXT        -- JSON [str], paths or URLs of further pictures
"""

_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS pins ({_ITEM_COLUMNS}, {_SHOP_COLUMNS});
CREATE TABLE IF NOT EXISTS products ({_ITEM_COLUMNS},
    brand TEXT, price REAL, currency TEXT, size TEXT,
    colours TEXT, materials TEXT, patterns TEXT, product_types TEXT,  -- JSON [str]
    sku TEXT, gtin TEXT, mpn TEXT, {_SHOP_COLUMNS}
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
    split TEXT              -- 'train', 'valid' or 'test' if the data set has splits, else NULL
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
CREATE TABLE IF NOT EXISTS item_vectors (
    name TEXT, entity TEXT, file TEXT, rows INTEGER, dim INTEGER, sha256 TEXT,
    ids_sha256 TEXT, made_sha256 TEXT,  -- of the files beside it
    made_by TEXT,                       -- the model, NULL if imported
    PRIMARY KEY (name, entity)
);
CREATE TABLE IF NOT EXISTS machine_captions (
    entity TEXT, item_id TEXT,
    image TEXT, caption TEXT,  -- what `enrich captions` wrote, and of which picture
    PRIMARY KEY (entity, item_id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS imports (
    id INTEGER PRIMARY KEY, file TEXT, sha256 TEXT, kind TEXT, format TEXT, time INTEGER,
    rows INTEGER, taken INTEGER, changed INTEGER, refused INTEGER, rejects TEXT
);
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT);  -- value: JSON
{changes.TABLES}"""
_TABLES = re.findall(r"CREATE TABLE IF NOT EXISTS (\w+)", _SCHEMA + changes.LOG)
_TRIGGERS = re.findall(r"CREATE TRIGGER (\w+)", changes.TRIGGERS + changes.LOG)


opened: set[Path] = set()  # by this process: what to examine after an unexpected error


def open_catalogue(path: Path, *, create: bool = False) -> sqlite_utils.Database:
    """Open the catalogue at `path` (the workspace's `catalogue`), migrating an earlier version.

    Where nothing can be written, it is opened for reading.

    Raises:
        NotReady: there is no catalogue and `create` is false.
        Corrupt: the file is not a catalogue, or a newer OmniSearch made it.
        Unavailable: it cannot be written, or another process keeps it locked. A migration that
            failed leaves the catalogue unchanged.
    """
    import sqlite_utils  # not needed by a search, which reads the names above

    if not create and not (path.exists() and path.stat().st_size):
        raise NotReady(
            "The catalogue is empty." if path.exists() else "The catalogue does not exist.",
            where=str(path),
            how="Run `omnisearch import` first, or put back a copy of the file.",
        )
    opened.add(path)
    try:
        return sqlite_utils.Database(_connect(path, create))
    except sqlite3.Error as error:
        raise catalogue_error(error, path) from error


def catalogue_error(error: sqlite3.Error, path: Path) -> OmniError:
    """What SQLite says of the catalogue at `path`, as an error for the user."""
    known = None if is_damage(error) else cause_of(error, path)
    return known or corrupt_catalogue(f"The catalogue cannot be read ({error}).", path)


def corrupt_catalogue(what: str, path: Path) -> Corrupt:
    """The error for a damaged catalogue."""
    how = "Put back a copy of the file, or import again into a new workspace."
    return Corrupt(what, where=str(path), how=how)


def _connect(path: Path, create: bool) -> sqlite3.Connection:
    try:
        return _prepared(sqlite3.connect(path, timeout=60), path, create)
    except sqlite3.OperationalError as error:
        connection = None if create or is_damage(error) else open_unwritable(path)
        if connection is None or schema_version(connection) != SCHEMA_VERSION:
            raise
        return connection


def _prepared(connection: sqlite3.Connection, path: Path, create: bool) -> sqlite3.Connection:
    try:
        version = schema_version(connection)
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
        newer = version > SCHEMA_VERSION
        # A newer program's schema differs in something; the number alone may be a flipped bit.
        flipped = newer and catalogue_columns().items() <= _columns(connection).items()
        if version < 0 or (version == 0 and tables) or flipped:
            raise corrupt_catalogue(
                "The file is not a catalogue, or its beginning is damaged "
                f"(it has version {version}).",
                path,
            )
        if newer:
            raise Corrupt(
                f"The catalogue was made by a newer OmniSearch: its schema has version {version}, "
                f"this program reads versions up to {SCHEMA_VERSION}.",
                where=str(path),
                how="Update OmniSearch.",
            )
        missing = ", ".join(sorted({*_TABLES, *_TRIGGERS} - tables))
        if version == SCHEMA_VERSION and missing:
            raise corrupt_catalogue(f"The catalogue has no table or trigger {missing}.", path)
        connection.execute("PRAGMA journal_mode=WAL")
        if version == 0:
            connection.executescript(
                f"BEGIN IMMEDIATE;{_SCHEMA}{changes.TRIGGERS}{changes.LOG}"
                f"PRAGMA user_version={SCHEMA_VERSION};COMMIT;"
            )
        elif version < SCHEMA_VERSION:
            migrate(connection, path, SCHEMA_VERSION)
        else:
            remove_copies(path)
        connection.execute("PRAGMA synchronous=NORMAL")
    except BaseException:
        connection.close()
        raise
    return connection


def open_unwritable(path: Path) -> sqlite3.Connection | None:
    """A database where SQLite cannot write its log beside it: the disk is read-only or full.

    None if it cannot be read either, or if a part of the content is only in the log.
    """
    log = path.with_name(f"{path.name}-wal")
    if log.exists() and log.stat().st_size:
        return None
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?immutable=1", uri=True)
    try:
        schema_version(connection)
    except sqlite3.Error:
        connection.close()
        return None
    return connection


def catalogue_columns() -> dict[str, dict[str, str]]:
    """Table → column → its SQL type."""
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(_SCHEMA)
        return _columns(connection)


def _columns(connection: sqlite3.Connection) -> dict[str, dict[str, str]]:
    tables = connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    )
    return {
        table: {row[1]: row[2] for row in connection.execute(f"PRAGMA table_info({table})")}
        for (table,) in tables.fetchall()
    }


def table_of(entity: str) -> str:
    """The table of an entity type: 'pins', 'products' or 'queries'."""
    return {"pin": "pins", "product": "products", "query": "queries"}[entity]


def get_meta(db: sqlite_utils.Database, key: str, default: Any = None) -> Any:
    """The note stored under `key`, such as 'engaged_until' or 'synthetic', or `default`."""
    row = db.conn.execute("SELECT value FROM meta WHERE key = ?", [key]).fetchone()
    return orjson.loads(row[0]) if row else default


def set_meta(db: sqlite_utils.Database, key: str, value: Any) -> None:
    """Store a note: any value that JSON can hold. An open transaction is not committed."""
    db.conn.execute(
        "INSERT INTO meta VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        [key, orjson.dumps(value).decode()],
    )
