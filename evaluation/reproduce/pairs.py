"""The held-out pairs that a table's columns are measured on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import sqlite_utils

from omnisearch.data.catalogue.schema import get_meta
from omnisearch.evaluation.evaluate import held_out_pairs, judged_sets
from omnisearch.evaluation.judged import RELEVANT, ItemGains, judged_gains

Pair = tuple[str, str]  # query, id of the item or text of the related query


@dataclass(frozen=True)
class Column:
    """One column: pairs whose entity is ranked among all entities of its type."""

    entity: str
    pairs: list[Pair]

    @property
    def queries(self) -> list[str]:
        """The query of each pair."""
        return [query for query, _ in self.pairs]


def all_columns(
    db: sqlite_utils.Database, week: Mapping[str, list[Pair]] | None = None
) -> dict[str, Column]:
    """Name → column, for all columns that have held-out pairs.

    'pin/save' and the like are the pairs of the evaluation window (§4.2), 'pin/engaged' those of
    all actions: more pairs, narrower intervals. 'pin/relevance' are pairs of a query and an item
    judged relevant, 'pin/relevance FR' those of queries from one country. 'pin/save, no text' are
    those of pins without a title or a description (§4.3.2). No encoder is trained on judgments;
    if engagement was derived from labels, only test queries are measured.

    Args:
        week: '<entity>/<action>' → pairs in place of those of the log's evaluation window.
    """
    columns: dict[str, Column] = {}
    for name, pairs in (_logged(db) if week is None else week).items():
        entity = name.partition("/")[0]
        columns[name] = Column(entity, list(pairs))
        columns.setdefault(f"{entity}/engaged", Column(entity, [])).pairs.extend(
            columns[name].pairs
        )
    country = dict(db.conn.execute("SELECT id, country FROM queries"))
    for entity, key, query in _relevant(db):
        for name in (f"{entity}/relevance", f"{entity}/relevance {country.get(query)}"):
            columns.setdefault(name, Column(entity, [])).pairs.append((query, key))
    rows = db.conn.execute(
        "SELECT id FROM pins WHERE COALESCE(title, '') = '' OR COALESCE(description, '') = ''"
    )
    bare = {key for (key,) in rows}
    for name, column in list(columns.items()):
        pairs_of_bare = [pair for pair in column.pairs if pair[1] in bare]
        if column.entity == "pin" and pairs_of_bare:
            columns[f"{name}, no text"] = Column("pin", pairs_of_bare)
    return columns


def _logged(db: sqlite_utils.Database) -> dict[str, list[Pair]]:
    return {
        name: list(zip(table["query"].to_pylist(), table["item_id"].to_pylist(), strict=True))
        for name, table in held_out_pairs(db).items()
    }


def _relevant(db: sqlite_utils.Database) -> Iterable[tuple[str, str, str]]:
    """(entity, item, query) of all relevant pairs."""
    sets: list[dict[str, ItemGains]] = [judged_gains(db)]
    if get_meta(db, "derived_from_labels"):
        sets = list(judged_sets(db).values())
    for gains in sets:
        for query, of_item in sorted(gains.items()):
            for (entity, key), gain in sorted(of_item.items()):
                if gain >= RELEVANT:
                    yield entity, key, query
