"""Items similar to one item: its neighbours in the learned space."""

from __future__ import annotations

import time

import numpy as np

from omnisearch.data.catalogue.schema import ITEM_ENTITIES
from omnisearch.data.workspace.errors import InputError, OmniError
from omnisearch.engine.config import EngineConfig
from omnisearch.engine.hits import hits_of
from omnisearch.engine.index import Items
from omnisearch.engine.response import Hit
from omnisearch.engine.snapshot import Snapshot


class NoSuchItem(OmniError):
    """The generation has no item with this id. Exit status 2."""

    exit_code = 2


def similar_items(
    snapshot: Snapshot, entity: str, key: str, k: int, config: EngineConfig
) -> list[Hit]:
    """The k items of the same type nearest to an item, excluding itself; scores are cosines.

    Empty if the item has no vector in the learned space. Items that the shop's rules hide for all
    queries are left out.

    Raises:
        InputError: an unknown entity type.
        NoSuchItem: no item has this id, or it was deleted.
    """
    if entity not in ITEM_ENTITIES:
        raise InputError(
            f"Unknown entity type {entity!r}.",
            where="entity",
            how=f"Use {' or '.join(ITEM_ENTITIES)}.",
        )
    row = snapshot.generation.tables[entity].row_of.get(key)
    if row is None:
        raise NoSuchItem(
            f"There is no {entity} {key!r} in generation {snapshot.generation.number}.", where="id"
        )
    space = snapshot.generation.spaces.get((entity, "learned"))
    if space is None or not space.present[row]:
        return []
    vector = space.take(np.array([row]))[0]
    hidden = snapshot.ruling.for_all(time.time()).hidden.get(entity) if snapshot.ruling else None
    allowed = None if hidden is None else ~hidden
    rows, scores = space.search(vector, k + 1, max(config.ef, k + 1), allowed)
    others = np.flatnonzero(rows != row)[:k]
    codes = np.full(len(others), ITEM_ENTITIES.index(entity), np.uint8)
    return hits_of(snapshot, Items(codes, rows[others]), scores[others])
