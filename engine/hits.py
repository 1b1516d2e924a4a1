"""Hits: the found items as a page shows them."""

from __future__ import annotations

import numpy as np

from omnisearch.data.catalogue.schema import ITEM_ENTITIES
from omnisearch.data.text.highlights import highlights
from omnisearch.data.text.links import safe_link
from omnisearch.engine.index import Items
from omnisearch.engine.query import Query
from omnisearch.engine.response import Hit
from omnisearch.engine.snapshot import Snapshot
from omnisearch.indexer.parts.table import name_of


def hits_of(
    snapshot: Snapshot,
    items: Items,
    scores: np.ndarray,
    first_rank: int = 1,
    query: Query | None = None,
) -> list[Hit]:
    """Hits of items in this order, with scores float32 (n,) and ranks from `first_rank`.

    Args:
        query: whose words are highlighted in the titles.
    """
    shown = snapshot.index.display(items)
    wanted = set() if query is None else set(query.wanted.ravel().tolist())
    language = None if query is None else query.inflected
    codes = items.entity.tolist()
    return [
        Hit(
            rank=first_rank + place,
            entity=ITEM_ENTITIES[code],
            id=fields["id"],
            score=score,
            title=name,
            image=fields.get("image"),
            link=_link(fields.get("link")),
            price=fields.get("price"),
            currency=fields.get("currency"),
            brand=fields.get("brand"),
            is_ad=fields["is_ad"],
            campaign=fields.get("campaign"),
            highlights=highlights(name, wanted, language) if wanted else [],
        )
        for place, (code, score, fields, name) in enumerate(
            zip(codes, scores.tolist(), shown, map(name_of, shown), strict=True)
        )
    ]


def _link(link: str | None) -> str | None:
    """The link of an item where it is safe to follow: a catalogue's texts are those of others."""
    return link if link and safe_link(link) else None
