"""What the log says was shown: which items at which places of which searches, and what was chosen.

A search is a query of a session. Its rows are the items that the log shows on its page, by their
impressions with a position.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np

from omnisearch.data.catalogue.schema import ITEM_ENTITIES

if TYPE_CHECKING:
    import sqlite_utils

PLACES = 20  # later places count as the last of these
GROUPS = 50  # of sessions, for standard errors
Row = tuple[str, str, str, str, int, int]  # session, query, entity, item id, position, chosen


@dataclass(frozen=True, eq=False)
class Shown:
    """Searches with their pages: s searches, m rows of items, p (query, item) pairs.

    Attributes:
        queries: the texts, normalised. pairs: (query number, entity, item id) → number of the pair.
        query, group: int64 (s,) of each search; a session's searches are of one of GROUPS.
        search, pair, place: int64 (m,) of each row; place 0 is the first.
        chosen: bool (m,) whether the item had one of the actions.
    """

    queries: list[str]
    pairs: dict[tuple[int, str, str], int]
    query: np.ndarray
    group: np.ndarray
    search: np.ndarray
    pair: np.ndarray
    place: np.ndarray
    chosen: np.ndarray


def shown_in(
    db: sqlite_utils.Database, window: tuple[int, int], actions: Sequence[str]
) -> Iterable[Row]:
    """The rows of the log in a window [from, until): an item of a search each, at the first place
    it was shown at. Rows without a session or a position are left out."""
    entities, chosen = (", ".join("?" * len(names)) for names in (ITEM_ENTITIES, actions))
    query = f"""
        SELECT session, query, entity, item_id,
            MIN(CASE WHEN action = 'impression' THEN position END) AS place,
            MAX(action IN ({chosen}))
        FROM engagements
        WHERE time >= ? AND time < ? AND session IS NOT NULL AND entity IN ({entities})
            AND COALESCE(surface, 'search') = 'search' AND count > 0
        GROUP BY session, query, entity, item_id HAVING place > 0
    """
    yield from db.conn.execute(query, (*actions, *window, *ITEM_ENTITIES))


def shown_of(rows: Iterable[Row]) -> Shown:
    """The searches of rows of `shown_in`."""
    queries: dict[str, int] = {}
    pairs: dict[tuple[int, str, str], int] = {}
    searches: dict[tuple[str, int], int] = {}
    group: list[int] = []
    found = []
    for session, query, entity, key, position, chosen in rows:
        of_query = queries.setdefault(query, len(queries))
        search = searches.setdefault((session, of_query), len(searches))
        if search == len(group):
            digest = blake2b(session.encode(), digest_size=4).digest()
            group.append(int.from_bytes(digest, "big") % GROUPS)
        pair = pairs.setdefault((of_query, entity, key), len(pairs))
        found.append((search, pair, min(position, PLACES) - 1, chosen))
    columns = np.array(found, np.int64).reshape(-1, 4).T
    return Shown(
        queries=list(queries),
        pairs=pairs,
        query=np.array([query for _, query in searches], np.int64),
        group=np.array(group, np.int64),
        search=columns[0],
        pair=columns[1],
        place=columns[2],
        chosen=columns[3].astype(bool),
    )
