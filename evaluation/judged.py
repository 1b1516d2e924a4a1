"""What counts as good: judgments averaged over judges, or held-out engagement, as gains."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pyarrow as pa
import sqlite_utils

from data.catalogue import ITEM_ENTITIES, get_meta

Item = tuple[str, str]  # (entity, id)
ItemGains = dict[Item, float]

# The least mean grade that makes an item relevant: of ESCI's gains only "exact", of the three
# grades of Home Depot "partially relevant" and better, of tags and captions every one.
RELEVANT = 0.5

_MEAN_GRADES = """
    SELECT query, entity, item_id, AVG(grade) FROM judgments
    {where} GROUP BY query, entity, item_id
"""


def judged_gains(db: sqlite_utils.Database, split: str | None = None) -> dict[str, ItemGains]:
    """query → item → mean grade of its judges; of one split's queries, or (None) of all."""
    if split is None:
        rows = db.conn.execute(_MEAN_GRADES.format(where=""))
    else:
        where = "WHERE query IN (SELECT id FROM queries WHERE split = ?)"
        rows = db.conn.execute(_MEAN_GRADES.format(where=where), [split])
    return _gather(rows)


def gains_of_query(db: sqlite_utils.Database, query: str) -> ItemGains:
    """item → mean grade of its judges, for one normalised query; empty where none judged it."""
    rows = db.conn.execute(_MEAN_GRADES.format(where="WHERE query = ?"), [query])
    return _gather(rows).get(query, {})


def _gather(rows: Iterable[tuple[str, str, str, float]]) -> dict[str, ItemGains]:
    gains: dict[str, ItemGains] = {}
    for query, entity, item, grade in rows:
        gains.setdefault(query, {})[entity, item] = grade
    return gains


def engaged_gains(pairs: Mapping[str, pa.Table]) -> dict[str, ItemGains]:
    """query → item → 1 for each pin and product engaged in the evaluation window.

    `pairs` are `data.pairs.evaluation_pairs`; related-query clicks are left out.
    """
    gains: dict[str, ItemGains] = {}
    for table in pairs.values():
        columns = (table.column(name).to_pylist() for name in ("query", "entity", "item_id"))
        for query, entity, item in zip(*columns, strict=True):
            if entity in ITEM_ENTITIES:
                gains.setdefault(query, {})[entity, item] = 1.0
    return gains


def data_notes(db: sqlite_utils.Database) -> list[str]:
    """What a reader of any figure must know about the data; empty for real logs."""
    notes = []
    if get_meta(db, "synthetic"):
        notes.append("Synthetic data: a generated sample world, its log and its judges simulated.")
    derived = get_meta(db, "derived_from_labels")
    if derived:
        names = ", ".join(derived) if isinstance(derived, list) else str(derived)
        notes.append(f"Judgments and engagement derived from the labels of {names}: not clicks.")
    return notes
