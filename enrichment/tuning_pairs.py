"""What a text encoder is tuned by: pairs of the log, the items' own texts, a teacher's grades."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

import numpy as np
import pyarrow as pa
import sqlite_utils

from omnisearch.data.catalogue.items import field_texts, read_items
from omnisearch.data.catalogue.left_out import LeftOut
from omnisearch.data.catalogue.pairs import training_pairs
from omnisearch.data.catalogue.schema import ITEM_ENTITIES, table_of
from omnisearch.data.catalogue.soft_labels import soft_labels
from omnisearch.data.catalogue.splits import time_split
from omnisearch.data.text.normalise import normalise_query
from omnisearch.data.workspace import Workspace
from omnisearch.encoders.config import preset_config
from omnisearch.encoders.training.tune import BATCH, MOST_STEPS, PASSES, GradedLists, TextPairs
from omnisearch.encoders.training.validate import hold_out
from omnisearch.enrichment.inputs import FIELDS, PROSE, texts_of

_HELD_OUT = 2_000  # pairs to measure by
_OTHERS = 4_000  # items that they are searched among, beside their own

ItemKey = tuple[str, str]  # entity, item id


@dataclass(frozen=True)
class Log:
    """(query, item) of the pairs to learn from, and of those held out to measure by.

    Attributes:
        left_out: pairs of the log that are not learned from.
    """

    learned: list[tuple[str, ItemKey]]
    held_out: list[tuple[str, ItemKey]]
    left_out: list[LeftOut]


def read_log(db: sqlite_utils.Database) -> Log:
    """The pairs of the log; the held-out ones are those of a training with default settings."""
    split = time_split(db)
    pairs = training_pairs(db, split, may_be_none=True)
    left, valid = hold_out(db, split, pairs, preset_config("demo"))
    whole, learned = (
        {pair for name, table in tables.items() if name != "query" for pair in _pairs(table)}
        for tables in (pairs, left)
    )
    most = MOST_STEPS * BATCH
    left_out = [
        LeftOut(pairs["query"].num_rows, "pairs of two queries", "tuning needs an item's text"),
        LeftOut(len(whole - learned), "pairs", "the tuned encoder is measured by them"),
        LeftOut(max(0, len(learned) - most), "pairs", f"tuning learns from {most:,} at most"),
    ]
    held_out = {
        (query, (entity, key))
        for entity, table in valid.items()
        if entity != "query"
        for query, key in zip(table["query"].to_pylist(), table["item_id"].to_pylist(), strict=True)
    }
    return Log(_drawn(learned, most), _drawn(held_out - learned, _HELD_OUT), left_out)


def _drawn(pairs: set[tuple[str, ItemKey]], most: int) -> list[tuple[str, ItemKey]]:
    """At most so many of the pairs, in order: no more texts are read than are needed."""
    found = sorted(pairs)
    if len(found) <= most:
        return found
    rows = np.random.default_rng(0).choice(len(found), most, replace=False)
    return [found[row] for row in np.sort(rows)]


def _pairs(table: pa.Table) -> list[tuple[str, ItemKey]]:
    queries, entities, ids = (table[name].to_pylist() for name in ("query", "entity", "item_id"))
    return list(zip(queries, zip(entities, ids, strict=True), strict=True))


def with_texts(db: sqlite_utils.Database, log: Log) -> tuple[TextPairs, TextPairs, list[list[str]]]:
    """The pairs with the texts of their items, and texts of other items, at most _OTHERS."""
    paired = {item for _, item in (*log.learned, *log.held_out)}
    texts: dict[ItemKey, list[str]] = {}
    others: list[list[str]] = []
    generator, seen = np.random.default_rng(0), 0
    for entity in ITEM_ENTITIES:
        for items in read_items(db, entity, columns=FIELDS):
            for item in items:
                found = texts_of(item)
                if not found:
                    continue
                if (entity, item["id"]) in paired:
                    texts[entity, item["id"]] = found
                    continue
                seen += 1  # reservoir sampling
                if len(others) < _OTHERS:
                    others.append(found)
                elif (place := int(generator.integers(seen))) < _OTHERS:
                    others[place] = found
    return _paired(log.learned, texts), _paired(log.held_out, texts), others


def steps_left(pairs: int) -> int:
    """How many more pairs than these fit into the steps of a tuning."""
    return max(0, MOST_STEPS * BATCH // PASSES - pairs)


def has_own_pairs(db: sqlite_utils.Database, fewest: int) -> bool:
    """Whether `own_pairs` finds so many."""
    found = 0
    for entity in ITEM_ENTITIES:
        other = " OR ".join(f"coalesce({field}, '') NOT IN ('', title)" for field in PROSE[1:])
        sql = f"SELECT 1 FROM {table_of(entity)} WHERE title <> '' AND ({other}) LIMIT {fewest}"
        found += len(db.conn.execute(sql).fetchall())
    return found >= fewest


def own_pairs(
    db: sqlite_utils.Database,
    beside: int = 0,
) -> tuple[TextPairs, TextPairs, list[list[str]]]:
    """Titles with their items' captions and descriptions: to learn from, as many as fit `beside`
    other pairs, and held out to measure by; and other items' texts to search these among.
    """
    most = steps_left(beside) + _HELD_OUT
    found: list[tuple[str, list[str]]] = []
    generator, seen = np.random.default_rng(0), 0
    for entity in ITEM_ENTITIES:
        for items in read_items(db, entity, columns=PROSE):
            for item in items:
                title, *texts = field_texts(item, PROSE) or [""]
                texts = [text for text in texts if text != title]
                if not item.get("title") or not texts:
                    continue
                seen += 1  # reservoir sampling
                if len(found) < most:
                    found.append((normalise_query(title), texts))
                elif (place := int(generator.integers(seen))) < most:
                    found[place] = (normalise_query(title), texts)
    found = [found[row] for row in generator.permutation(len(found)).tolist()]
    held_out = min(_HELD_OUT, len(found) // 10)
    learned, measured = (
        TextPairs([title for title, _ in part], np.arange(len(part)), [texts for _, texts in part])
        for part in (found[held_out:], found[:held_out])
    )
    return learned, measured, learned.texts[:_OTHERS]


def every_text(db: sqlite_utils.Database, pairs: TextPairs) -> Iterator[str]:
    """The queries, and all items' texts."""
    yield from pairs.queries
    for entity in ITEM_ENTITIES:
        for items in read_items(db, entity, columns=FIELDS):
            yield from chain.from_iterable(map(texts_of, items))


def taught(workspace: Workspace, db: sqlite_utils.Database, log: Log) -> GradedLists:
    """What a teacher graded for the queries of the pairs to learn from."""
    asked = {query for query, _ in log.learned}
    held_out = set(log.held_out)
    grades: dict[str, dict[ItemKey, float]] = {}
    for (query, entity, item_id), (share, _) in soft_labels(workspace).items():
        item = (entity, item_id)
        if query in asked and (query, item) not in held_out:
            grades.setdefault(query, {})[item] = share
    wanted = {item for items in grades.values() for item in items}
    texts: dict[ItemKey, list[str]] = {}
    for entity in ITEM_ENTITIES:
        ids = sorted(item_id for of, item_id in wanted if of == entity)
        for batch in read_items(db, entity, ids=ids, columns=FIELDS):
            texts |= {(entity, item["id"]): found for item in batch if (found := texts_of(item))}
    row = {item: number for number, item in enumerate(texts)}
    lists = GradedLists([], [], [], list(texts.values()))
    for query, items in sorted(grades.items()):
        known = [item for item in items if item in row]
        if len(known) > 1:
            lists.queries.append(normalise_query(query))
            lists.items.append(np.array([row[item] for item in known], np.int64))
            lists.grades.append(np.array([items[item] for item in known], np.float32))
    return lists


def _paired(pairs: list[tuple[str, ItemKey]], texts: dict[ItemKey, list[str]]) -> TextPairs:
    found = [(query, item) for query, item in pairs if item in texts]
    row = {item: number for number, item in enumerate(dict.fromkeys(item for _, item in found))}
    return TextPairs(
        [normalise_query(query) for query, _ in found],
        np.array([row[item] for _, item in found], dtype=np.int64),
        [texts[item] for item in row],
    )
