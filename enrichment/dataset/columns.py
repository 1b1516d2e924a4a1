"""`omnisearch catalogue enrich`: board titles and engaged queries of a data set's items."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from omnisearch.data.catalogue.schema import ITEM_ENTITIES, table_of
from omnisearch.data.catalogue.splits import engaged_window_of, features_end, split_of
from omnisearch.data.dataset.layout import TABLES, folder_of, table_in
from omnisearch.data.dataset.manifest import Manifest, read_manifest
from omnisearch.data.dataset.place import Place, using
from omnisearch.data.dataset.reader import Reader
from omnisearch.data.dataset.replacing import Replacing, finish_replacing
from omnisearch.data.dataset.tables import parquet_bytes, read_table
from omnisearch.data.workspace.progress import Progress
from omnisearch.enrichment.dataset.boards import DatasetBoards
from omnisearch.enrichment.dataset.log import DatasetLog
from omnisearch.enrichment.engaged_queries import WINDOW_DAYS, made_from
from omnisearch.enrichment.inputs import hash_of

_META = "meta.parquet"
_ENRICHERS = {"board_titles": "boards", "engaged_queries": "queries"}
_ITEMS = tuple(map(table_of, ITEM_ENTITIES))
_READ = ("engagements", "queries", "board_items", *_ITEMS)  # what progress counts

# Called with a bucket: (entity, item id, value) of the items that have one.
_Lists = Callable[[int], Iterator[tuple[str, str, str]]]


def enrich_dataset(place: Place, progress: Progress | None = None) -> dict[str, dict[str, Any]]:
    """Compute `board_titles` (§3.2.2) and `engaged_queries` (§3.2.3) of all items of a data set.

    They and their notes become what `omnisearch enrich boards` and `enrich queries` make of the
    same catalogue without options. Files of items that change are replaced, all at once
    (`data.dataset.replacing`). A run that was stopped is continued: what it has written is used.

    Memory: a bucket, the words of all board titles, and the queries held out of training. The log
    and the boards are divided into buckets on this machine's disk, where temporary files go.

    Args:
        progress: called with (files done, files in all).

    Returns:
        The counts of the enrichers 'boards' and 'queries' by name, without those of one that has
        nothing to read: its column stays as it is.

    Raises:
        InputError: there is no data set.
        Corrupt: the data set is damaged.
        Unavailable: the place cannot be used, or the disk is full.
    """
    finish_replacing(place)
    with using(place):
        manifest = read_manifest(place)
    with tempfile.TemporaryDirectory(prefix="omnisearch-") as folder:
        return _Enriching(place, manifest, Path(folder), progress).run()


class _Enriching:
    """One run."""

    def __init__(
        self, place: Place, manifest: Manifest, folder: Path, progress: Progress | None
    ) -> None:
        self.place, self.manifest, self.folder, self.progress = place, manifest, folder, progress
        self.hashes = {name: entry["sha256"] for name, entry in manifest.files.items()}
        self.total = sum(table_in(name) in _READ for name in manifest.files)
        self.done = 0

    def run(self) -> dict[str, dict[str, Any]]:
        reader = Reader(
            self.place, self.manifest, self.folder / "fetched.parquet", lambda *_: self._advance()
        )
        log = DatasetLog(reader, self.folder, self._ids)
        split = split_of(log)
        columns: dict[str, _Lists] = {}
        notes: dict[str, Any] = {}
        if self.manifest.rows.get("board_items"):
            boards = DatasetBoards(reader, self.folder, until := features_end(split))
            columns["board_titles"] = boards.lists
            notes |= {"boards_until": until, "boards_made": boards.made}
        if log.first() is not None:
            window = engaged_window_of(split, None, WINDOW_DAYS)
            columns["engaged_queries"] = partial(log.lists, window=window)
            made = made_from(WINDOW_DAYS, log.events(window[1]))
            notes |= {"engaged_until": window[1], "engaged_from": made}
        changed = self._replace(columns, notes)
        counts: dict[str, dict[str, Any]] = {
            _ENRICHERS[column]: {"items_changed": number} for column, number in changed.items()
        }
        if "queries" in counts:
            counts["queries"]["engaged_until"] = notes["engaged_until"]
        return counts

    def _replace(self, columns: dict[str, _Lists], notes: dict[str, Any]) -> dict[str, int]:
        """Replace the files that change; returns how many values of each column changed."""
        if not columns:
            return {}
        made_of = hash_of([self.manifest.files, notes])[:8].hex()
        replacing = Replacing(self.place, self.manifest, made_of)
        changed: Counter[str] = Counter(dict.fromkeys(columns, 0))
        for bucket in range(self.manifest.buckets):
            names = {entity: _items_file(entity, bucket) for entity in ITEM_ENTITIES}
            names = {entity: name for entity, name in names.items() if name in self.hashes}
            left = {entity: _table(replacing.left(name)) for entity, name in names.items()}
            fresh: dict[str, dict[tuple[str, str], str]] = {}
            if any(table is None for table in left.values()):
                fresh = {
                    column: {(entity, key): value for entity, key, value in lists(bucket)}
                    for column, lists in columns.items()
                }
            for entity, name in names.items():
                old, new = self._items(entity, bucket), left[entity]
                if new is None:
                    new = _with_columns(old, entity, fresh)
                differing = {column: _differing(old[column], new[column]) for column in columns}
                if left[entity] is None and any(differing.values()):
                    replacing.put(name, parquet_bytes(new))
                changed.update(differing)
                self._advance()
        replacing.finish({"meta": self._replace_notes(replacing, notes)})
        return changed

    def _replace_notes(self, replacing: Replacing, notes: dict[str, Any]) -> int:
        """Add notes to the table `meta`; returns how many rows it has."""
        schema, old = TABLES["meta"].schema, {}
        if _META in self.hashes:
            table = read_table(self.place, self.hashes, _META, schema)
            old = dict(zip(table["key"].to_pylist(), table["value"].to_pylist(), strict=True))
        new = old | {key: orjson.dumps(value).decode() for key, value in notes.items()}
        if new != old and replacing.left(_META) is None:
            rows = [{"key": key, "value": new[key]} for key in sorted(new)]
            replacing.put(_META, parquet_bytes(pa.Table.from_pylist(rows, schema)))
        return len(new)

    def _items(self, entity: str, bucket: int) -> pa.Table:
        schema = TABLES[table_of(entity)].schema
        return read_table(self.place, self.hashes, _items_file(entity, bucket), schema)

    def _ids(self, entity: str, bucket: int) -> list[str]:
        if _items_file(entity, bucket) not in self.hashes:
            return []
        found: list[str] = self._items(entity, bucket)["id"].to_pylist()
        return found

    def _advance(self) -> None:
        self.done += 1
        if self.progress is not None:
            self.progress(self.done, self.total)


def _table(content: bytes | None) -> pa.Table | None:
    try:
        return None if content is None else pq.read_table(pa.BufferReader(content))
    except (pa.ArrowException, OSError):  # damaged meanwhile
        return None


def _items_file(entity: str, bucket: int) -> str:
    return f"{folder_of(entity, bucket)}/{table_of(entity)}.parquet"


def _with_columns(
    items: pa.Table, entity: str, fresh: dict[str, dict[tuple[str, str], str]]
) -> pa.Table:
    """Items with these values in place of those that they had; null for those that have none."""
    ids = items["id"].to_pylist()
    for column, values in fresh.items():
        at = items.schema.get_field_index(column)
        array = pa.array([values.get((entity, key)) for key in ids], pa.string())
        items = items.set_column(at, items.schema.field(at), array)
    return items


def _differing(old: pa.ChunkedArray, new: pa.ChunkedArray) -> int:
    pairs = zip(old.to_pylist(), new.to_pylist(), strict=True)
    return sum(one != other for one, other in pairs)
