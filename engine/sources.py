"""The seven sources that a query is asked of, and what each returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from omnisearch.engine.candidates import Found
from omnisearch.engine.config import EngineConfig
from omnisearch.engine.query_words import query_words

# Entity type → the space of its pre-existing embedding.
COMPAT_SPACES = {"pin": "pinsage", "product": "itemsage"}


@dataclass(frozen=True)
class Source:
    """One source.

    Attributes:
        name: its name in settings and explanations.
        entity: 'pin', 'product' or 'query'.
        kind: 'token' (BM25), 'learned' or 'compat' (cosines in the item's older space).
    """

    name: str
    entity: str
    kind: str

    @property
    def space(self) -> tuple[str, str]:
        """The key of its space in a generation."""
        return self.entity, COMPAT_SPACES[self.entity] if self.kind == "compat" else "learned"


SOURCES = (
    Source("token_pins", "pin", "token"),
    Source("token_products", "product", "token"),
    Source("learned_pins", "pin", "learned"),
    Source("learned_products", "product", "learned"),
    Source("pinsage_pins", "pin", "compat"),
    Source("itemsage_products", "product", "compat"),
)
RELATED = Source("related_queries", "query", "learned")
SOURCE_NAMES = {(source.entity, source.kind): source.name for source in SOURCES}


@dataclass(frozen=True)
class Asked:
    """A query as the sources and the rankers see it.

    Attributes:
        text: as it is searched (`Live.searched`).
        vector: of `text`, float32 (d,), unit length.
        typed: as it was asked; a log may know it so.
    """

    text: str
    vector: np.ndarray | None
    typed: str


def retrieve(
    generation: Any,
    source: Source,
    query: Asked,
    config: EngineConfig,
    allowed: np.ndarray | None,
) -> Found:
    """The source's best candidates among the allowed rows (None: all), at its fixed depth.

    Filters act here, inside the search, so that a filtered search is as deep as any other. Equal
    scores are ordered by row. A source that the generation does not have returns nothing.
    """
    depth = getattr(config, source.name)
    rows, scores = np.zeros(0, np.int64), np.zeros(0, np.float32)
    if depth and (allowed is None or allowed.any()):
        if source.kind == "token":
            index = generation.tokens.get(source.entity)
            if index is not None:
                wanted = query_words(generation.tables, query.text).wanted
                rows, scores = index.search(wanted, depth, allowed)
        else:
            space = generation.spaces.get(source.space)
            if space is not None:
                ef = max(config.ef, depth)
                rows, scores = space.search(query.vector, depth, ef, allowed)
    rows, scores = np.asarray(rows, np.int64), np.asarray(scores, np.float32)
    order = np.lexsort((rows, -scores))
    return Found(source.entity, source.kind, rows[order], scores[order])
