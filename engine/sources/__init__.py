"""The retrieval sources of candidates.

A source that an index answers is a line in SOURCES. One that computes its own results is a file
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

# Takes a snapshot, a query, a depth and the allowed rows (bool (n,), None for all).
Search = Callable[["Snapshot", Query, int, "np.ndarray | None"], SourceResult]


@dataclass(frozen=True)
class Source:
    """One source.

    Attributes:
        name: its name in settings and explanations, and the prefix of its columns.
        entity: 'pin', 'product' or 'query'.
        space: the kind of its scores: TOKENS (BM25), a vector space (cosines), or another name.
        depth: candidates read from it unless the settings say otherwise.
        search: how it is searched; None if an index answers it.
        about: what it finds, as shown on pages: 'pins by their words'.
    """

    name: str
    entity: str
    space: str
    depth: int = 150
    search: Search | None = None
    about: str = ""

    @property
    def needs_vector(self) -> bool:
        """Whether it is searched with the query's embedding."""
        return self.search is None and self.space != TOKENS

    @property
    def signal(self) -> str:
        """The name of its scores for rankers: 'bm25', 'learned', 'compat', or its `space`.

        Scores of one signal are comparable, also between pins and products.
        """
        if self.space == TOKENS:
            return "bm25"
        return "compat" if self.space in spaces_of(self.entity)[:1] else self.space


SOURCES = Registry(
    "sources",
    (
        Source("token_pins", "pin", TOKENS, about="pins by their words"),
        Source("token_products", "product", TOKENS, about="products by their words"),
        Source("learned_pins", "pin", LEARNED, about="pins by meaning"),
        Source("learned_products", "product", LEARNED, about="products by meaning"),
        Source("pinsage_pins", "pin", "pinsage", depth=100, about="pins in the PinSage space"),
        Source(
            "itemsage_products",
            "product",
            "itemsage",
            depth=100,
            about="products in the ItemSage space",
        ),
    ),
)
# Of ads alone (`engine.ad_sources`): no system has them, and no ranker reads them.
AD_SOURCES = (
    Source("ads_token_pins", "pin", TOKENS, depth=10, about="advertised pins by their words"),
    Source("ads_token_products", "product", TOKENS, depth=10, about="advertised products by words"),
    Source("ads_learned_pins", "pin", LEARNED, depth=10, about="advertised pins by meaning"),
    Source(
        "ads_learned_products", "product", LEARNED, depth=10, about="advertised products by meaning"
    ),
)
# Shown beside the feed.
RELATED = Source("related_queries", "query", LEARNED, depth=32, about="related searches")


def sources_of(names: tuple[str, ...] | None) -> list[Source]:
    """The sources of these names, or all."""
    return list(SOURCES.values()) if names is None else [SOURCES.named(name) for name in names]
