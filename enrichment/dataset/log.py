"""The log of a data set: its span, and the engaged queries of a bucket's items (§3.2.3)."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import sqlite_utils

from omnisearch.data.catalogue.log_span import FEWEST, CatalogueLog
from omnisearch.data.catalogue.schema import ITEM_ENTITIES, table_of
from omnisearch.data.catalogue.splits import Window
from omnisearch.data.dataset.layout import TABLES
from omnisearch.data.dataset.reader import Reader
from omnisearch.enrichment.dataset.spill import Spill, rows_of
from omnisearch.enrichment.engaged_queries import engaged_lists

_COLUMNS = ("time", "query", "entity", "item_id", "action", "count")
_SCRATCH = f"""
    CREATE TABLE engagements ({", ".join(_COLUMNS)});
    CREATE TABLE queries (id PRIMARY KEY, split) WITHOUT ROWID;
    CREATE TABLE pins (id PRIMARY KEY) WITHOUT ROWID;
    CREATE TABLE products (id PRIMARY KEY) WITHOUT ROWID;
"""


class DatasetLog:
    """A `data.catalogue.log_span.Log`, and the engagement of each bucket.

    The events are read once, in batches. The times of all are kept in files of `folder`, and the
    events that are no impressions there by bucket; in memory are the queries that are held out of
    training. Of a bucket, the SQL of the SQLite path runs over a database of its own.

    Args:
        ids: called with an entity type and a bucket, gives the ids of its items.

    Raises:
        Corrupt: a file is damaged, or its events are not in the order of time.
    """

    def __init__(self, reader: Reader, folder: Path, ids: Callable[[str, int], list[str]]) -> None:
        self._buckets, self._ids = reader.manifest.buckets, ids
        schema = pa.schema([TABLES["engagements"].schema.field(name) for name in _COLUMNS])
        self._spill = Spill(folder / "events", schema, "item_id", self._buckets)
        self._times, self._numbers = _all_events(reader, folder, self._spill)
        self._db = sqlite_utils.Database(sqlite3.connect(""))  # on the disk where it grows
        self._db.conn.executescript(_SCRATCH)
        for batch in reader.batches("queries"):
            held_out = batch.filter(pc.is_in(batch["split"], pa.array(["valid", "test"])))
            rows = rows_of(held_out.select(["id", "split"]))
            self._db.conn.executemany("INSERT INTO queries VALUES (?, ?)", rows)

    def first(self) -> int | None:
        return int(self._times[0]) if len(self._times) else None

    def last(self, before: int) -> int | None:
        number = self._before(before)
        return int(self._times[number - 1]) if number else None

    def count(self, begins: int, ends: int) -> int:
        return self._before(ends) - self._before(begins)

    def few_queries(self, begins: int, ends: int) -> bool:
        found: set[str] = set()
        for bucket in range(self._buckets):
            events = self._spill.bucket(bucket)
            time = events["time"]
            events = events.filter(pc.and_(pc.less_equal(begins, time), pc.less(time, ends)))
            if len(events):
                self._fill(events)
                for entity in ITEM_ENTITIES:
                    rows = [(key,) for key in self._ids(entity, bucket)]
                    self._insert(table_of(entity), rows)
                found |= CatalogueLog(self._db).queries(begins, ends)
            if len(found) >= FEWEST:
                return False
        return True

    def events(self, end: int) -> tuple[int, int]:
        """The number of events before a time, and the sum of their ids' last 32 bits."""
        number = self._before(end)
        return number, int(self._numbers[:number].sum(dtype=np.int64))

    def lists(self, bucket: int, window: Window) -> Iterator[tuple[str, str, str]]:
        """(entity, item id, JSON list), as `engaged_lists`."""
        self._fill(self._spill.bucket(bucket))
        return engaged_lists(self._db, window)

    def _before(self, time: int) -> int:
        return int(np.searchsorted(self._times, time))

    def _fill(self, events: pa.Table) -> None:
        """Have these events and no items in the database."""
        for table in ("engagements", *map(table_of, ITEM_ENTITIES)):
            self._db.conn.execute(f"DELETE FROM {table}")
        for batch in events.to_batches(max_chunksize=16_384):
            self._insert("engagements", rows_of(batch))

    def _insert(self, table: str, rows: list[tuple]) -> None:
        if rows:
            marks = ", ".join("?" * len(rows[0]))
            self._db.conn.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)


def _all_events(reader: Reader, folder: Path, spill: Spill) -> tuple[np.ndarray, np.ndarray]:
    """Times, int64 ascending, and the last 32 bits of the ids, uint32, of all events; mapped."""
    times, numbers = folder / "times", folder / "numbers"
    last = -(2**63)
    with times.open("wb") as all_times, numbers.open("wb") as all_numbers:
        for batch in reader.batches("engagements"):
            found = batch["time"].to_numpy(zero_copy_only=False)
            if len(found) and (found[0] < last or (np.diff(found) < 0).any()):
                raise reader.damaged("its events are not in the order of time")
            last = found[-1] if len(found) else last
            all_times.write(found.tobytes())
            events = batch["event"].to_numpy(zero_copy_only=False)
            all_numbers.write((events & 0xFFFFFFFF).astype(np.uint32).tobytes())
            spill.add(batch.filter(pc.not_equal(batch["action"], "impression")))
    return _mapped(times, np.int64), _mapped(numbers, np.uint32)


def _mapped(path: Path, kind: type) -> np.ndarray:
    return np.memmap(path, kind, mode="r") if path.stat().st_size else np.zeros(0, kind)
