"""Writing an entity type's table (`omnisearch.indexer.parts.table`) from the catalogue."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import sqlite_utils
from safetensors.numpy import save_file

from omnisearch.data.catalogue.items import read_items
from omnisearch.data.catalogue.schema import ITEM_ENTITIES
from omnisearch.data.text.exclusions import lacking, languages_of
from omnisearch.data.text.keys import key_of, name_key, word_keys
from omnisearch.data.text.tokens import tokens
from omnisearch.indexer.parts.attributes import AttributesOf
from omnisearch.indexer.parts.table import (
    CODED,
    COLUMNS_FILE,
    DISPLAY_FILE,
    DISPLAYED,
    IDS_FILE,
    VOCABULARY_FILE,
    name_of,
)

Visit = Callable[[int, dict[str, Any]], None]


def write_table(
    folder: Path, db: sqlite_utils.Database, entity: str, ids: list[str], visit: Visit | None = None
) -> None:
    """Write the table of items of an entity type into `folder`, a row for each id.

    `visit(row, item)` is called for each item, so that the catalogue is read once.
    """
    n = len(ids)
    row_of = {key: row for row, key in enumerate(ids)}
    columns: dict[str, np.ndarray] = {
        "price": np.full(n, np.nan, dtype=np.float32),
        "created_at": np.zeros(n, dtype=np.int64),
        "is_ad": np.zeros(n, dtype=bool),
        "full_name": np.zeros(n, dtype=np.uint64),
        **{name: np.full(n, -1, dtype=np.int32) for name in CODED},
    }
    vocabulary: dict[str, dict[str, int]] = {name: {} for name in CODED}
    engaged: list[tuple[int, int, float]] = []
    attributes = AttributesOf()
    none = np.zeros(0, dtype=np.uint32)
    names, lacks = [none] * n, [none] * n
    sizes = np.zeros(n, dtype=np.int64)
    with (folder / DISPLAY_FILE).open("wb") as display:
        for batch in read_items(db, entity, ids=ids):
            for item in batch:
                row = row_of[item["id"]]
                _fill(columns, vocabulary, row, item)
                attributes.add(row, item)
                for query, weight, *_ in item.get("engaged_queries") or ():
                    engaged.append((key_of(query), row, weight))
                name, languages = name_of(item), languages_of([item.get("language")])
                columns["full_name"][row] = name_key(name)
                names[row] = word_keys(tokens(name))
                lacks[row] = word_keys(lacking(name, languages))
                line = orjson.dumps(_displayed(item), option=orjson.OPT_APPEND_NEWLINE)
                sizes[row] = display.write(line)
                if visit:
                    visit(row, item)
    # Items are read in row order, so the lines are in that order too.
    columns["display_ends"] = np.cumsum(sizes)
    for kind, keys in (("name", names), ("lack", lacks)):
        columns[f"{kind}_ends"] = np.cumsum([len(part) for part in keys], dtype=np.int64)
        columns[f"{kind}_keys"] = np.concatenate([none, *keys])
    columns |= postings_columns("engaged", engaged)
    columns |= postings_columns("boards", _boards(db, entity, row_of))
    save_file(columns, folder / COLUMNS_FILE)
    if entity in ITEM_ENTITIES:
        attributes.write(folder)
    (folder / IDS_FILE).write_bytes(b"".join(orjson.dumps(key) + b"\n" for key in ids))
    (folder / VOCABULARY_FILE).write_bytes(
        orjson.dumps({name: list(codes) for name, codes in vocabulary.items()})
    )


def _fill(
    columns: dict[str, np.ndarray],
    vocabulary: dict[str, dict[str, int]],
    row: int,
    item: dict[str, Any],
) -> None:
    if item.get("price") is not None:
        columns["price"][row] = item["price"]
    columns["created_at"][row] = item.get("created_at") or 0
    columns["is_ad"][row] = bool(item.get("campaign"))
    for name, codes in vocabulary.items():
        value = item.get(name)
        if value:
            columns[name][row] = codes.setdefault(value, len(codes))


def _displayed(item: dict[str, Any]) -> dict[str, Any]:
    shown = {name: item[name] for name in DISPLAYED if item.get(name) is not None}
    if "text" in item:  # a query
        shown["title"] = item["text"]
    return shown


def _boards(
    db: sqlite_utils.Database, entity: str, row_of: dict[str, int]
) -> Iterator[tuple[int, int, float]]:
    keys: dict[str, int] = {}
    listed = orjson.dumps(list(row_of)).decode()
    cursor = db.conn.execute(
        "SELECT b.board_id, b.item_id FROM json_each(?) i CROSS JOIN board_items b "
        "ON b.entity = ? AND b.item_id = i.value",
        [listed, entity],
    )
    for board, item_id in cursor:
        if board not in keys:
            keys[board] = key_of(board)
        yield keys[board], row_of[item_id], 1.0


def postings_columns(name: str, entries: Iterable[tuple[int, int, float]]) -> dict[str, np.ndarray]:
    """The stored columns of Postings from (key, row, weight) entries in any order."""
    found = list(entries)
    keys = np.array([entry[0] for entry in found], dtype=np.uint64)
    rows = np.array([entry[1] for entry in found], dtype=np.int32)
    weights = np.array([entry[2] for entry in found], dtype=np.float32)
    order = np.lexsort((rows, keys))
    return {
        f"{name}_keys": keys[order],
        f"{name}_rows": rows[order],
        f"{name}_weights": weights[order],
    }
