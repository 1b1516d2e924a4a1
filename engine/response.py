"""The response of a search."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from omnisearch.engine.facets import Facet


@dataclass(frozen=True)
class Hit:
    """One result.

    Attributes:
        rank: its position in the feed; 1 is the first of the first page.
        title: the item's title, or its caption or description if it has none.
        link: the item's page on the web; None where that is not safe to follow.
        score: what the system orders by; not comparable between systems.
        is_ad: whether it is an ad: a campaign advertises it here, or the item is nothing else.
        campaign: of an ad, the campaign: its id, or the item's own `campaign`.
        highlights: the ranges [start, end) of the title's words that the query has, in Unicode code
            points; empty where no query was given.
        explain: the score of every stage and source, if requested (see
            `omnisearch.engine.explain`).
    """

    rank: int
    entity: str
    id: str
    score: float
    title: str
    image: str | None
    link: str | None
    price: float | None
    currency: str | None
    brand: str | None
    is_ad: bool
    explain: dict[str, Any] | None = None
    highlights: list[list[int]] = field(default_factory=list)
    campaign: str | None = None


@dataclass(frozen=True)
class Related:
    """A related query and its cosine with the query."""

    query: str
    score: float


@dataclass(frozen=True)
class Response:
    """One page of results.

    Attributes:
        query: the query as typed: normalised, and cut if it was too long.
        searched: the query as searched: the spelling of words that no item has is corrected.
        language: the code of the query's language, such as 'de'; None if it is not known.
        language_source: 'caller', 'log' or 'detected'; None if the language is not known.
        hits: the page; empty beyond the end.
        related: queries near this one, best first.
        generation: number of the generation that answered.
        total: the number of results on all pages. A search by meaning always has some, also of
            what is only near the query: `matching` says how many items it is about.
        matching: how many items have all words of the query, in any form, and meet the filters;
            each item counts, also those beyond the last page. Facets count these.
        cached: whether the query's embedding was cached; None if none was needed.
        stages: milliseconds of each stage.
        notes: notes to the user about this answer.
        facets: those asked for, in that order.
        degraded: sources and stages that were left out to meet a deadline.
        nothing_fits: no item has a word of the query, and none is nearer to it than to noise: there
            are no hits, but those that a rule pins.
        tried: what was tried where nothing fits, in sentences.
        rules: the names of the shop's rules that act on this query, if `explain` was requested.
    """

    query: str
    searched: str
    hits: list[Hit]
    related: list[Related]
    generation: int
    took_ms: float
    total: int
    matching: int
    page: int = 1
    system: str = "full"
    cached: bool | None = None
    stages: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    degraded: list[str] = field(default_factory=list)
    language: str | None = None
    language_source: str | None = None
    rules: list[str] = field(default_factory=list)
    nothing_fits: bool = False
    tried: list[str] = field(default_factory=list)
    facets: list[Facet] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Plain dicts, lists, strings and numbers."""
        return asdict(self)
