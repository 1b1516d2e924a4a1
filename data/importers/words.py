"""Whether the items of a file have words to be found by, by the file or from before."""

from __future__ import annotations

import sqlite3

import orjson

from omnisearch.data.importers.catalogue_writer import Numbered

_WORDS = {"products": ("title",), "pins": ("title", "description", "caption")}
NO_WORDS = {
    "products": "No product of this file has a title: name the column with --map title=COLUMN.",
    "pins": "No pin of this file has a title, description or caption: name a column of these, such "
    "as with --map title=COLUMN.",
}


def have_words(connection: sqlite3.Connection, kind: str, block: list[Numbered]) -> bool:
    """Whether an item of the block has words in the catalogue; other kinds need none."""
    if kind not in _WORDS:
        return True
    worded = " OR ".join(f"{name} <> ''" for name in _WORDS[kind])
    ids = orjson.dumps([record["id"] for _, record in block]).decode()
    found = connection.execute(
        f"SELECT 1 FROM {kind} WHERE id IN (SELECT value FROM json_each(?)) AND ({worded}) LIMIT 1",
        [ids],
    )
    return found.fetchone() is not None
