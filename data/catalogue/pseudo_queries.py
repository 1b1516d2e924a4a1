"""Pseudo-queries: pairs of some words of an item's own text and the item.

The query encoder alone learns from them (`omnisearch.encoders.training.step`).

A log covers few items of a large catalogue. Words from an item's title are a query that a user
could have typed for it; training on them as well teaches the encoders the words of the whole
catalogue (compare the inverse cloze task, Lee et al., 2019).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import sqlite_utils

from omnisearch.data.catalogue.schema import ITEM_ENTITIES, table_of
from omnisearch.data.text.normalise import normalise_query

FEWEST, MOST = 2, 4  # words of a pseudo-query
_READ = 14  # words of an item's text; the most informative come first
_SIGNS = (2, 6)  # characters of a text that is written without spaces

PSEUDO = "pseudo_"  # prefix of the names of these data sets
SCHEMA = pa.schema([("query", pa.string()), ("entity", pa.string()), ("item_id", pa.string())])


def pseudo_pairs(db: sqlite_utils.Database, seed: int = 0) -> dict[str, pa.Table]:
    """'pseudo_pin' and 'pseudo_product' → one pair for each item with enough text.

    Tables of (query, entity, item_id), by item id; the same for the same catalogue and seed.
    """
    return {f"{PSEUDO}{entity}": _pairs(db, entity, seed) for entity in ITEM_ENTITIES}


def _pairs(db: sqlite_utils.Database, entity: str, seed: int) -> pa.Table:
    generator = np.random.default_rng([seed, ITEM_ENTITIES.index(entity)])
    queries, ids = [], []
    rows = db.conn.execute(f"SELECT id, title, caption FROM {table_of(entity)} ORDER BY id")
    for key, title, caption in rows:
        query = pseudo_query(f"{title or ''} {caption or ''}", generator)
        if query:
            queries.append(query)
            ids.append(key)
    return pa.table([queries, [entity] * len(ids), ids], schema=SCHEMA)


def pseudo_query(text: str, generator: np.random.Generator) -> str:
    """Some words of a text in their order, normalised; "" if it has too few."""
    words = list(_words(text))[:_READ]
    if len(words) == 1 and len(words[0]) > _SIGNS[1] and not words[0].isascii():
        start = int(generator.integers(len(words[0]) - _SIGNS[0]))
        return words[0][start : start + int(generator.integers(_SIGNS[0], _SIGNS[1] + 1))]
    if len(words) <= FEWEST:
        return ""
    count = min(int(generator.integers(FEWEST, MOST + 1)), len(words) - 1)
    chosen = np.sort(generator.choice(len(words), count, replace=False))
    return normalise_query(" ".join(words[number] for number in chosen.tolist()))


def _words(text: str) -> Iterator[str]:
    # Not `data.text.normalise.words`: characters of unspaced scripts must stay together.
    for word in normalise_query(text).split():
        bare = word.strip(".,;:!?()[]\"'«»„“”。、！？（）")
        if bare:
            yield bare
