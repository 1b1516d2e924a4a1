"""The boards of a data set: which titles each item of a bucket has, and the best of them (§3.2.2).

Boards are in the bucket of their id, what is on them in that of the item. So the saves are divided
by board, take their titles there, and are divided by item again.
"""

from __future__ import annotations

from collections.abc import Iterator
from heapq import merge
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from omnisearch.data.dataset.layout import TABLES, folder_of
from omnisearch.data.dataset.reader import Reader
from omnisearch.data.dataset.tables import read_table
from omnisearch.enrichment.boards import by_item, made_of, title_lists, word_statistics
from omnisearch.enrichment.dataset.spill import (
    Spill,
    read_ordered,
    rows_of,
    write_ordered,
)

_SAVES = pa.schema([(name, pa.string()) for name in ("board_id", "entity", "item_id")])
_TITLED = pa.schema([(name, pa.string()) for name in ("entity", "item_id", "title")])


class DatasetBoards:
    """The saves before `end`, by bucket of their items, with the titles of their boards.

    In memory are a bucket's boards or saves, and the words of all titles, as in the SQLite path.

    Attributes:
        made: a hash of what the titles are made of (`made_of`).
    """

    def __init__(self, reader: Reader, folder: Path, end: int) -> None:
        self._buckets = reader.manifest.buckets
        saves = Spill(folder / "saves", _SAVES, "board_id", self._buckets)
        for batch in reader.batches("board_items"):
            # As `splits.SAVED_AT`: saves without a time count as the oldest.
            saves.add(batch.filter(pc.less(pc.fill_null(batch["added_at"], -1), end)))
        self._titled = Spill(folder / "titled", _TITLED, "item_id", self._buckets)
        boards, ordered = [], []
        for bucket in range(self._buckets):
            titles, rows = _boards(reader, bucket), saves.bucket(bucket)
            at = pc.index_in(rows["board_id"], titles["id"])
            titled = rows.append_column("title", titles["title"].take(at)).filter(at.is_valid())
            for batch in titled.to_batches():
                self._titled.add(batch)
            boards.append(folder / f"boards-{bucket}")
            ordered.append(folder / f"saves-{bucket}")
            write_ordered(boards[-1], titles)
            write_ordered(ordered[-1], rows)
        self.made = made_of(merge(*map(read_ordered, boards)), merge(*map(read_ordered, ordered)))
        items = (each for bucket in range(self._buckets) for each in self._items(bucket))
        self._statistics = word_statistics(titles for _, _, titles in items)

    def lists(self, bucket: int) -> Iterator[tuple[str, str, str]]:
        """(entity, item id, JSON list), as `title_lists`."""
        return title_lists(self._items(bucket), self._statistics)

    def _items(self, bucket: int) -> Iterator[tuple[str, str, list[str]]]:
        rows = self._titled.bucket(bucket)
        rows = rows.sort_by([("entity", "ascending"), ("item_id", "ascending")])
        return by_item(row for batch in rows.to_batches() for row in rows_of(batch))


def _boards(reader: Reader, bucket: int) -> pa.Table:
    """The ids and titles of a bucket's boards."""
    schema = TABLES["boards"].schema
    name = f"{folder_of('board', bucket)}/boards.parquet"
    found = schema.empty_table()
    if name in reader.manifest.files:
        digests = {name: reader.manifest.files[name]["sha256"]}
        found = read_table(reader.place, digests, name, schema)
    return found.select(["id", "title"])
