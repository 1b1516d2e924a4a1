"""The sources that candidates come from.

A source that the indexes hold is a line in SOURCES. One that computes its own results is a file
here (or in another package) with a function `search`, and a line in SOURCES.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from omnisearch.data.catalogue.spaces import LEARNED, spaces_of
from omnisearch.data.workspace.registry import Registry
from omnisearch.engine.index import TOKENS, SourceResult
from omnisearch.engine.query import Query

if TYPE_CHECKING:
    from omnisearch.engine.snapshot import Snapshot

# Given a snapshot, a query, a depth and the allowed rows (bool (n,), None for all).
Search = Callable[["Snapshot", Query, int, "np.ndarray | None"], SourceResult]


@dataclass(frozen=True)
class Source:
    """One source.

    Attributes:
        name: its name in settings and explanations; its candidates' columns begin with it.
        entity: 'pin', 'product' or 'query'.
        space: what its scores are: TOKENS (BM25), a vector space (cosines), or another name.
        depth: candidates read from it unless the settings say otherwise.
        search: how it is searched; None where the indexes hold it.
    """

    name: str
    entity: str
    space: str
    depth: int = 150
    search: Search | None = None

    @property
    def needs_vector(self) -> bool:
        """Whether it is searched by the query's embedding."""
        return self.search is None and self.space != TOKENS

    @property
    def signal(self) -> str:
        """What its scores are to rankers: 'bm25', 'learned', 'compat', or what `space` says.

        Scores of one signal compare, also those of pins with those of products.
        """
        if self.space == TOKENS:
            return "bm25"
        return "compat" if self.space in spaces_of(self.entity)[:1] else self.space


SOURCES = Registry(
    "sources",
    (
        Source("token_pins", "pin", TOKENS),
        Source("token_products", "product", TOKENS),
        Source("learned_pins", "pin", LEARNED),
        Source("learned_products", "product", LEARNED),
        Source("pinsage_pins", "pin", "pinsage", depth=100),
        Source("itemsage_products", "product", "itemsage", depth=100),
    ),
)
RELATED = Source("related_queries", "query", LEARNED, depth=32)  # shown beside the feed


def sources_of(names: tuple[str, ...] | None) -> list[Source]:
    """The sources of these names, or all."""
    return list(SOURCES.values()) if names is None else [SOURCES.named(name) for name in names]
