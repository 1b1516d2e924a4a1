"""The share of new items among those that users were shown.

The log of searches does not keep what was shown: this is of the impressions that the site reports
with the request id of the search. An item is new if the catalogue says that it was created within
NEW_DAYS before the search.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import closing

import orjson

from omnisearch.data.catalogue.schema import ITEM_ENTITIES, open_catalogue, table_of
from omnisearch.data.catalogue.splits import DAY
from omnisearch.data.workspace import Workspace

NEW_DAYS = 30
NEW = f"new items shown, {NEW_DAYS} days"
Item = tuple[str, str]  # entity, id


def created_of(workspace: Workspace, items: Iterable[Item]) -> dict[Item, int]:
    """Item → when it was created, in seconds since 1970; of those of which the catalogue knows."""
    ids: dict[str, set[str]] = {entity: set() for entity in ITEM_ENTITIES}
    for entity, key in items:
        if entity in ids:
            ids[entity].add(key)
    found: dict[Item, int] = {}
    db = open_catalogue(workspace.catalogue)
    with closing(db.conn):
        for entity, keys in ids.items():
            rows = db.conn.execute(
                f"SELECT id, created_at FROM {table_of(entity)} WHERE created_at IS NOT NULL "
                "AND id IN (SELECT value FROM json_each(?))",
                [orjson.dumps(sorted(keys)).decode()],
            )
            found |= {(entity, key): created for key, created in rows}
    return found


def new_among(shown: Iterable[Item], created: Mapping[Item, int], began: int) -> tuple[int, int]:
    """How many of the items are new to a search that began then (milliseconds), and of how many it
    is known: an item that was shown before it was created has another date than it had."""
    ages = [began / 1000 - created[item] for item in shown if item in created]
    known = [age for age in ages if age >= 0]
    return sum(age <= NEW_DAYS * DAY for age in known), len(known)
