"""Held-out pairs grouped by the languages of query and item, for cross-lingual Recall@10.

`evaluation.recall` measures them like all pairs (§4.2): exactly, among items of all languages,
ties counted against the model. Word-based search finds little off the diagonal.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

import numpy as np
import orjson
import pyarrow as pa
import sqlite_utils

from omnisearch.data.catalogue.pairs import PAIR_SCHEMA
from omnisearch.data.catalogue.schema import ITEM_ENTITIES, table_of
from omnisearch.evaluation.judged import RELEVANT, ItemGains

ACROSS = " → "
Pair = tuple[str, str, str]  # query, entity, item id


def language_pairs(
    db: sqlite_utils.Database,
    sets: Iterable[Mapping[str, ItemGains]],
    most: int = 1_000,
    seed: int = 0,
    fewest: int = 1,
) -> dict[str, pa.Table]:
    """'<entity>/<query language> → <item language>' → tables of PAIR_SCHEMA.

    Empty unless a pair crosses languages. Pairs whose query or item has no language are left out.
    At most `most` pairs are sampled for each two languages; two languages with fewer than
    `fewest` pairs are left out, since their figure would be meaningless.
    """
    relevant = {
        (query, entity, key)
        for gains_of in sets
        for query, gains in gains_of.items()
        for (entity, key), gain in gains.items()
        if gain >= RELEVANT
    }
    of_query = _languages(db, "queries", {query for query, _, _ in relevant})
    of_item = {
        entity: _languages(
            db, table_of(entity), {key for _, kind, key in relevant if kind == entity}
        )
        for entity in ITEM_ENTITIES
    }
    found: dict[tuple[str, str, str], set[Pair]] = defaultdict(set)
    for query, entity, key in relevant:
        asked, answered = of_query.get(query), of_item[entity].get(key)
        if asked and answered:
            found[entity, asked, answered].add((query, entity, key))
    if all(asked == answered for _, asked, answered in found):
        return {}
    return {
        f"{entity}/{asked}{ACROSS}{answered}": _table(sorted(pairs), most, seed)
        for (entity, asked, answered), pairs in sorted(found.items())
        if len(pairs) >= fewest
    }


def _languages(db: sqlite_utils.Database, table: str, ids: set[str]) -> dict[str, str]:
    """id → language, for the ids that have one."""
    wanted = orjson.dumps(sorted(ids)).decode()
    rows = db.conn.execute(
        f"SELECT id, language FROM {table} WHERE language <> '' "
        "AND id IN (SELECT value FROM json_each(?))",
        [wanted],
    )
    return dict(rows.fetchall())


def _table(pairs: list[Pair], most: int, seed: int) -> pa.Table:
    order = np.random.default_rng(seed).permutation(len(pairs))[:most]
    rows = [dict(zip(("query", "entity", "item_id"), pairs[at], strict=True)) for at in order]
    return pa.Table.from_pylist(rows, schema=PAIR_SCHEMA)
