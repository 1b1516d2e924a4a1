"""Training and evaluation pairs from the engagement log (§4.1, §4.2).

A pair is a query and an item, with a row for each action. The four data sets are those of Table 1:
'pin' and 'product' (saves and long clicks of the query log), 'offsite' (products put into a cart or
bought) and 'query' (clicks on related queries).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b

import pyarrow as pa
import sqlite_utils

from omnisearch.data.catalogue.schema import ACTIONS, ENTITIES, table_of
from omnisearch.data.catalogue.splits import (
    Split,
    Window,
    check_leak,
    evaluation_window,
    training_may_see,
    training_window,
)
from omnisearch.data.workspace.errors import NothingToLearn

# Table 1: data set → its entity type and actions.
DATASETS: dict[str, tuple[str, tuple[str, ...]]] = {
    "pin": ("pin", ("save", "long_click")),
    "product": ("product", ("save", "long_click")),
    "offsite": ("product", ("add_to_cart", "checkout")),
    "query": ("query", ("click",)),
}

PAIR_SCHEMA = pa.schema(
    [
        ("query", pa.string()),
        ("entity", pa.string()),
        ("item_id", pa.string()),
        ("action", pa.string()),
        ("count", pa.int64()),
        ("language", pa.string()),
        ("country", pa.string()),
    ]
)


@dataclass(frozen=True)
class Caps:
    """How many pairs one item may be in, in each data set, whatever the number of actions: against
    popularity bias (§4.1)."""

    pin: int = 50
    product: int = 200


def training_pairs(
    db: sqlite_utils.Database,
    split: Split,
    caps: Caps | None = None,
    seed: int = 0,
    *,
    may_be_none: bool = False,
) -> dict[str, pa.Table]:
    """The pairs of each data set from before `split.train_until` (§4.1, Table 1).

    Returns tables of PAIR_SCHEMA, one row for each unique (query, item, action), ordered by
    (item, query, action); `count` sums the log's counts. If an item is in more pairs of a data set
    than the cap, those that come first in an order hashed from the seed and the pair are kept, so a
    longer log changes few of them. Queries held out by their data set, items not in the catalogue,
    and pairs of a query with itself are left out.

    Raises:
        NotReady: the features leak (see `check_leak`).
        NothingToLearn: there are no pairs and `may_be_none` is false.
    """
    check_leak(db, split)
    caps = caps or Caps()
    limits = {"pin": caps.pin, "product": caps.product, "query": None}
    _register_order(db, seed)
    tables = {}
    for name, (entity, actions) in DATASETS.items():
        selected = _pairs_sql(entity, actions, train=True)
        if limits[entity] is not None:
            selected = _capped_sql(selected, limits[entity])
        cursor = db.conn.execute(
            f"SELECT {', '.join(PAIR_SCHEMA.names)} FROM ({selected}) "
            "ORDER BY item_id, query, action",
            training_window(split),
        )
        tables[name] = _table(cursor)
    if not may_be_none and not any(table.num_rows for table in tables.values()):
        raise NothingToLearn(
            "The log has no engagements to train on.",
            where=split.training_days,
            how="Import engagements: saves, long clicks, carts, or clicks on related queries.",
        )
    return tables


@dataclass(frozen=True)
class Counted:
    """The size of a data set before `Split.train_until`.

    Attributes:
        engagements: how often users did something. pairs: of a query and an item.
        kept: the pairs within the caps.
    """

    engagements: int
    pairs: int
    kept: int


def counted_pairs(db: sqlite_utils.Database, split: Split, caps: Caps) -> dict[str, Counted]:
    """Data set → its size (Table 1)."""
    found = {}
    for name, (entity, actions) in DATASETS.items():
        cap = {"pin": caps.pin, "product": caps.product}.get(entity)
        kept = "n" if cap is None else f"MIN(n, {cap})"
        ((*counts,),) = db.conn.execute(
            f"SELECT COALESCE(SUM(events), 0), COALESCE(SUM(n), 0), COALESCE(SUM({kept}), 0) FROM "
            "(SELECT SUM(count) AS events, COUNT(DISTINCT query) AS n FROM "
            f"({_pairs_sql(entity, actions, train=True)}) GROUP BY item_id)",
            training_window(split),
        )
        found[name] = Counted(*counts)
    return found


def evaluation_pairs(
    db: sqlite_utils.Database, split: Split, seed: int = 0, sample: int = 80_000
) -> dict[str, pa.Table]:
    """The pairs of the evaluation window by '<entity>/<action>', as `window_pairs` (§4.2).

    Raises:
        NotReady: the features leak (see `check_leak`).
    """
    check_leak(db, split)
    return window_pairs(db, evaluation_window(split), seed, sample)


def window_pairs(
    db: sqlite_utils.Database, window: Window, seed: int = 0, sample: int = 80_000
) -> dict[str, pa.Table]:
    """The pairs engaged in a window by '<entity>/<action>', such as 'pin/save'.

    Each table has PAIR_SCHEMA and holds at most `sample` unique pairs, drawn by an order hashed
    from the seed and the pair. Impressions do not count as engagement; keys without pairs are
    omitted.
    """
    _register_order(db, seed)
    tables = {}
    for entity in ENTITIES:
        for action in ACTIONS[:-1]:
            cursor = db.conn.execute(
                f"SELECT * FROM ({_pairs_sql(entity, (action,), train=False)}) "
                "ORDER BY pair_order(query, item_id, action), query, item_id LIMIT ?",
                [*window, sample],
            )
            table = _table(cursor)
            if table.num_rows:
                tables[f"{entity}/{action}"] = table
    return tables


def _pairs_sql(entity: str, actions: Iterable[str], *, train: bool) -> str:
    """Unique pairs of one entity type in the columns of PAIR_SCHEMA; binds [from, until)."""
    names = ", ".join(f"'{action}'" for action in actions)
    # Training reads most of the log: a scan is faster than the index by time ("+" keeps it off).
    period = "+e.time >= ? AND +e.time < ?" if train else "e.time >= ? AND e.time < ?"
    conditions = [period, f"e.entity = '{entity}'", f"e.action IN ({names})"]
    if entity == "query":
        conditions.append("e.item_id <> e.query")
    else:
        conditions.append(f"e.item_id IN (SELECT id FROM {table_of(entity)})")
    if train:
        conditions.append(training_may_see("e.query"))
    if train and entity == "query":
        conditions.append(training_may_see("e.item_id"))
    return f"""
        SELECT e.query AS query, e.entity AS entity, e.item_id AS item_id, e.action AS action,
            SUM(e.count) AS count, COALESCE(q.language, MAX(e.language)) AS language,
            COALESCE(q.country, MAX(e.country)) AS country
        FROM engagements e LEFT JOIN queries q ON q.id = e.query
        WHERE {" AND ".join(conditions)}
        GROUP BY e.item_id, e.query, e.action HAVING SUM(e.count) > 0"""


def _capped_sql(pairs: str, cap: int | None) -> str:
    """The rows of at most `cap` pairs of each item; only items above the cap are hashed."""
    numbered = f"SELECT *, DENSE_RANK() OVER (PARTITION BY item_id ORDER BY query) n FROM ({pairs})"
    counted = f"SELECT *, MAX(n) OVER (PARTITION BY item_id) AS of_item FROM ({numbered})"
    return f"""
        SELECT * FROM (
            SELECT *, DENSE_RANK() OVER (PARTITION BY item_id ORDER BY
                CASE WHEN of_item > {cap} THEN pair_order(query, item_id, '') END, query) AS place
            FROM ({counted}))
        WHERE place <= {cap}"""


def _register_order(db: sqlite_utils.Database, seed: int) -> None:
    """The SQL function pair_order(query, item_id, action): a seeded 63-bit hash."""
    salt = seed.to_bytes(8, "little", signed=True)

    def pair_order(query: str, item_id: str, action: str) -> int:
        text = "\0".join((query, item_id, action)).encode("utf-8", "surrogatepass")
        return int.from_bytes(blake2b(text, digest_size=8, salt=salt).digest(), "little") >> 1

    db.conn.create_function("pair_order", 3, pair_order, deterministic=True)


def _table(cursor: sqlite3.Cursor) -> pa.Table:
    batches = []
    while rows := cursor.fetchmany(65_536):
        columns = list(zip(*rows, strict=True))
        arrays = [pa.array(c, f.type) for c, f in zip(columns, PAIR_SCHEMA, strict=True)]
        batches.append(pa.RecordBatch.from_arrays(arrays, schema=PAIR_SCHEMA))
    return pa.Table.from_batches(batches, schema=PAIR_SCHEMA)
