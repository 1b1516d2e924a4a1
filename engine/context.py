"""What a search asks while it runs: may a source still begin, and where its result is put."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from omnisearch.engine.index import SourceResult


class SearchContext(Protocol):
    """A request's share in its search; the service brings one with a deadline.

    Attributes:
        results: source → what it returned so far; another thread may read it meanwhile.
        left_out: the sources and stages that the answer does without.
        retrieved: whether all sources are done, so that what is left is quick.
    """

    results: dict[str, SourceResult]
    left_out: list[str]
    retrieved: bool

    def may_begin(self, name: str) -> bool:
        """Whether a source or stage may begin; remembers it as left out where not."""
        ...


@dataclass
class NoDeadline:
    """A `SearchContext` in which everything may begin."""

    results: dict[str, SourceResult] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    retrieved: bool = False

    def may_begin(self, name: str) -> bool:
        return True
