"""Hits: what a page shows of the items that were found."""

from __future__ import annotations

import numpy as np

from omnisearch.data.catalogue.schema import ITEM_ENTITIES
from omnisearch.engine.response import Hit
from omnisearch.engine.snapshot import Live
from omnisearch.indexer.parts.table import name_of


def hits_of(
    live: Live, codes: np.ndarray, rows: np.ndarray, scores: np.ndarray, first_rank: int = 1
) -> list[Hit]:
    """Hits in the order given.

    Args:
        codes: uint8 (n,) positions in ITEM_ENTITIES; rows: int64 (n,) rows of their tables.
        scores: float32 (n,).
        first_rank: the rank of the first.
    """
    hits: list[Hit | None] = [None] * len(codes)
    for code, entity in enumerate(ITEM_ENTITIES):
        where = np.flatnonzero(codes == code)
        if not len(where):
            continue
        table = live.generation.tables[entity]
        of_entity = rows[where].tolist()
        texts = table.display(of_entity)
        for at, row, text in zip(where.tolist(), of_entity, texts, strict=True):
            hits[at] = Hit(
                rank=first_rank + at,
                entity=entity,
                id=table.ids[row],
                score=float(scores[at]),
                title=name_of(text),
                image=text.get("image"),
                link=text.get("link"),
                price=text.get("price"),
                currency=text.get("currency"),
                brand=text.get("brand"),
                is_ad=bool(table.is_ad[row]),
            )
    return [hit for hit in hits if hit is not None]
