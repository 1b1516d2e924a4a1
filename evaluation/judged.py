"""Relevance gains from judgments averaged over judges, or from held-out engagement."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pyarrow as pa
import sqlite_utils

from omnisearch.data.catalogue.schema import ITEM_ENTITIES, get_meta

Item = tuple[str, str]  # (entity, id)
ItemGains = dict[Item, float]

# Data sets use different scales (ESCI up to 1, Home Depot up to 2, others up to 3), so a gain is
# the mean grade divided by the data set's highest grade. Gains from 0.5 are relevant: "exact" in
# ESCI, "partially relevant" and better in Home Depot, every tag.
RELEVANT = 0.5

_OF_SET = (
    "CASE WHEN instr(item_id, ':') THEN substr(item_id, 1, instr(item_id, ':') - 1) ELSE '' END"
)
# `omnisearch judge apply` writes scaled grades: up to the others' highest grade, or up to 1.
JUDGING = "judging:"
_GAINS = f"""
    WITH tops AS (
        SELECT {_OF_SET} AS of_set, COALESCE(
            MAX(CASE WHEN COALESCE(judge, '') NOT LIKE '{JUDGING}%' THEN grade END), 1.0
        ) AS top FROM judgments GROUP BY of_set
    ), means AS (
        SELECT query, entity, item_id, AVG(grade) AS grade FROM judgments
        {{where}} GROUP BY query, entity, item_id
    )
    SELECT query, entity, item_id, CASE WHEN top > 0 THEN grade / top ELSE 0.0 END
    FROM means JOIN tops ON of_set = {_OF_SET}
"""


def set_of(item_id: str) -> str:
    """The data set in an id's prefix: 'esci' for 'esci:B07', '' for an id without a prefix."""
    return item_id.partition(":")[0] if ":" in item_id else ""


def top_grades(db: sqlite_utils.Database, without: str = "") -> dict[str, float]:
    """Data set (see `set_of`) → the highest grade that any judge gave in it.

    Judges whose names begin with `without` are ignored.
    """
    rows = db.conn.execute(
        f"SELECT {_OF_SET} AS of_set, MAX(grade) AS top FROM judgments "
        "WHERE ?1 = '' OR substr(judge, 1, length(?1)) <> ?1 GROUP BY of_set HAVING top > 0",
        [without],
    )
    return dict(rows.fetchall())


def judged_gains(db: sqlite_utils.Database) -> dict[str, ItemGains]:
    """query → item → gain: the mean of its judges' grades divided by its data set's highest grade.

    Gains are at most 1; from RELEVANT on, an item is relevant.
    """
    return _gather(db.conn.execute(_GAINS.format(where="")))


def gains_of_query(db: sqlite_utils.Database, query: str) -> ItemGains:
    """item → gain for one normalised query; empty if it has no judgments."""
    rows = db.conn.execute(_GAINS.format(where="WHERE query = ?"), [query])
    return _gather(rows).get(query, {})


def _gather(rows: Iterable[tuple[str, str, str, float]]) -> dict[str, ItemGains]:
    gains: dict[str, ItemGains] = {}
    for query, entity, item, gain in rows:
        gains.setdefault(query, {})[entity, item] = gain
    return gains


def engaged_gains(pairs: Mapping[str, pa.Table]) -> dict[str, ItemGains]:
    """query → item → 1 for each pin and product engaged in the evaluation window.

    `pairs` are those of `data.catalogue.pairs.evaluation_pairs`; related-query clicks are ignored.
    """
    gains: dict[str, ItemGains] = {}
    for table in pairs.values():
        columns = (table.column(name).to_pylist() for name in ("query", "entity", "item_id"))
        for query, entity, item in zip(*columns, strict=True):
            if entity in ITEM_ENTITIES:
                gains.setdefault(query, {})[entity, item] = 1.0
    return gains


def data_notes(db: sqlite_utils.Database) -> list[str]:
    """Caveats about the data behind all figures; empty for real logs."""
    notes = []
    if get_meta(db, "synthetic"):
        notes.append("Synthetic data: a generated sample world, its log and its judges simulated.")
    derived = get_meta(db, "derived_from_labels")
    if derived:
        names = ", ".join(derived) if isinstance(derived, list) else str(derived)
        notes.append(f"Judgments and engagement derived from the labels of {names}: not clicks.")
    return notes
