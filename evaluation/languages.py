"""Held-out pairs by the language of the query and that of the item, for Recall@10 across languages.

`evaluation.recall` measures them as it does all pairs (§4.2): exactly, among items of all
languages, ties against the model. A search that only knows words finds little off the diagonal.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

import numpy as np
import pyarrow as pa
import sqlite_utils

from data.catalogue import ITEM_ENTITIES, table_of
from data.pairs import PAIR_SCHEMA
from evaluation.judged import RELEVANT, ItemGains

ACROSS = " → "
Pair = tuple[str, str, str]  # query, entity, item id


def language_pairs(
    db: sqlite_utils.Database,
    sets: Iterable[Mapping[str, ItemGains]],
    most: int = 1_000,
    seed: int = 0,
) -> dict[str, pa.Table]:
    """'<entity>/<query language> → <item language>' → tables of PAIR_SCHEMA.

    Empty unless a pair crosses languages. Pairs whose query or item has no language are left out.
    At most `most` pairs of each two languages are drawn.
    """
    of_query = dict(db.conn.execute("SELECT id, language FROM queries WHERE language <> ''"))
    of_item = {
        (entity, key): language
        for entity in ITEM_ENTITIES
        for key, language in db.conn.execute(
            f"SELECT id, language FROM {table_of(entity)} WHERE language <> ''"
        )
    }
    found: dict[tuple[str, str, str], set[Pair]] = defaultdict(set)
    for gains_of in sets:
        for query, gains in gains_of.items():
            for (entity, key), gain in gains.items():
                asked, answered = of_query.get(query), of_item.get((entity, key))
                if gain >= RELEVANT and asked and answered:
                    found[entity, asked, answered].add((query, entity, key))
    if all(asked == answered for _, asked, answered in found):
        return {}
    return {
        f"{entity}/{asked}{ACROSS}{answered}": _table(sorted(pairs), most, seed)
        for (entity, asked, answered), pairs in sorted(found.items())
    }


def _table(pairs: list[Pair], most: int, seed: int) -> pa.Table:
    order = np.random.default_rng(seed).permutation(len(pairs))[:most]
    rows = [dict(zip(("query", "entity", "item_id"), pairs[at], strict=True)) for at in order]
    return pa.Table.from_pylist(rows, schema=PAIR_SCHEMA)
