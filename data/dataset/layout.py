"""Which file of a data set a row of the catalogue is in.

    manifest.json                            written last: sizes and sha256 of all other files
    entity=pin/bucket=007/pins.parquet       the rows of the table `pins` in this bucket
    entity=pin/bucket=007/board_items.parquet, judgments.parquet, ..   what refers to these pins
    entity=pin/bucket=007/vectors-pinsage.parquet                      their vectors
    entity=board/bucket=007/boards.parquet
    day=2031-05-01/engagements.parquet       the events of one day, UTC
    meta.parquet, imports.parquet, ..        what belongs to no item

A file has the name of its table and its columns; its rows are ordered by the table's key, so that
equal catalogues give equal files.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, timedelta
from hashlib import blake2b
from typing import TypeVar

import pyarrow as pa

from omnisearch.data.catalogue.schema import ENTITIES, catalogue_columns
from omnisearch.data.catalogue.vectors import MADE_BYTES

Rows = TypeVar("Rows", pa.Table, pa.RecordBatch)
MOST_BUCKETS = 1000  # their numbers have three digits
OLDEST_SCHEMA = 7  # of a catalogue whose data sets are read
_ADDED = frozenset(("more_images",))  # columns that it had not
_DAY = 86_400
_PARTS = (*ENTITIES, "board")
_TYPES = {"TEXT": pa.string(), "INTEGER": pa.int64(), "REAL": pa.float64()}
_NAME = re.compile(
    rf"((?:entity=(?:{'|'.join(_PARTS)})/bucket=\d{{3}}/|day=\d{{4}}-\d\d-\d\d/)?)"
    r"([a-z][a-z0-9_]*(?:-[a-z][a-z0-9_]*)?)\.parquet"
)
# A file that takes the place of another when all are written, and what a killed writer left.
_PASSING = re.compile(r"(?:.*/)?(?:[^/]+\.parquet\.new-[0-9a-f]{16}|\.[^/]+\.[0-9a-f]{8}\.tmp)")


@dataclass(frozen=True)
class Table:
    """How a table of SQLite is divided into files.

    Attributes:
        key: the columns that its rows are ordered by, within a file.
        entity: the type of the entity that a row belongs to, as SQL; '' if it belongs to none.
        id: the column with the id of that entity, of which the bucket is made.
        columns: name → SQL type.
    """

    key: str
    columns: dict[str, str]
    entity: str = ""
    id: str = ""

    @property
    def schema(self) -> pa.Schema:
        return pa.schema([(name, _TYPES[kind]) for name, kind in self.columns.items()])


def completed(rows: Rows, schema: pa.Schema) -> Rows:
    """Rows with the columns of today's schema: those that an earlier one had not are null."""
    for name in _ADDED.intersection(schema.names).difference(rows.schema.names):
        rows = rows.append_column(name, pa.nulls(rows.num_rows, schema.field(name).type))
    same = sorted(rows.schema.names) == sorted(schema.names)
    return rows.select(schema.names) if same else rows


def _tables() -> dict[str, Table]:
    of = catalogue_columns()
    items = {"pins": "pin", "products": "product", "queries": "query", "boards": "board"}
    return {
        **{name: Table("id", of[name], f"'{entity}'", "id") for name, entity in items.items()},
        "board_items": Table("item_id, board_id", of["board_items"], "entity", "item_id"),
        "judgments": Table("item_id, query, judge", of["judgments"], "entity", "item_id"),
        "machine_captions": Table("item_id", of["machine_captions"], "entity", "item_id"),
        "changes": Table("number", of["changes"], "entity", "id"),
        "engaged": Table("query", of["engaged"], "'query'", "query"),
        "engagements": Table("time, event", of["engagements"]),
        "imports": Table("id", of["imports"]),
        "meta": Table("key", of["meta"]),
        "item_vectors": Table("name, entity", of["item_vectors"]),
        "log_changes": Table("number", {"number": "INTEGER"}),
    }


def _of_log(key: str) -> Table:
    columns = {"seq": "INTEGER", key: "TEXT", "received": "INTEGER", "row": "TEXT"}
    return Table("seq", columns)


TABLES = _tables()
# Tables of the feedback log, a database of its own → their names there.
FEEDBACK = {"feedback_events": "events", "feedback_judgments": "judgments"}
FEEDBACK_TABLES = {"feedback_events": _of_log("event_id"), "feedback_judgments": _of_log("key")}


def vectors_schema(dim: int, made: bool) -> pa.Schema:
    """The columns of a file of vectors; `row` is the place of a vector among all of its name."""
    fields = [
        ("id", pa.string()),
        ("row", pa.int64()),
        ("vector", pa.list_(pa.float32(), dim)),
        *([("made", pa.binary(MADE_BYTES))] if made else []),
    ]
    return pa.schema(fields)


def bucket_of(key: str | None, buckets: int) -> int:
    """The bucket of an id: the first 8 bytes of its BLAKE2b hash, big-endian, modulo `buckets`."""
    digest = blake2b((key or "").encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % buckets


def folder_of(entity: str, bucket: int) -> str:
    """The folder of one bucket; raises ValueError for an unknown entity type."""
    if entity not in _PARTS:
        raise ValueError(f"{entity!r} is no entity type")
    return f"entity={entity}/bucket={bucket:03}"


def day_of(time: int) -> str:
    """The folder of the events at a time; raises OverflowError far outside of the calendar."""
    return f"day={(date(1970, 1, 1) + timedelta(days=time // _DAY)).isoformat()}"


def table_in(name: str) -> str | None:
    """The table in a file, 'vectors-<name>' for vectors; None for a name that no file has."""
    found = _NAME.fullmatch(name)
    if found is None:
        return None
    known = found[2] in TABLES or found[2] in FEEDBACK or found[2].startswith("vectors-")
    return found[2] if known else None


def is_passing(name: str) -> bool:
    """Whether a file is not part of the data set, but of what a command is writing, or wrote."""
    return _PASSING.fullmatch(name) is not None
