"""The context of one search: whether a source may still begin, and the results so far."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from omnisearch.engine.index import SourceResult

# Stages that a cluster may be too late for, as they are named in `left_out`: the correction of a
# query's words, whether anything fits it, and the exact cosines of what was found.
SPELLING, NOTHING_FITS, COSINES = "spelling", "nothing_fits", "cosines"


class SearchContext(Protocol):
    """The state of a request during its search; the service provides one with a deadline.

    Attributes:
        results: source → what it returned so far; another thread may read it meanwhile.
        left_out: the sources and stages that were skipped.
        retrieved: whether all sources are done, so that the rest is quick.
    """

    results: dict[str, SourceResult]
    left_out: list[str]
    retrieved: bool

    def may_begin(self, name: str) -> bool:
        """Whether a source or stage may begin; records it as left out if not."""
        ...


@dataclass
class NoDeadline:
    """A `SearchContext` in which everything may begin."""

    results: dict[str, SourceResult] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    retrieved: bool = False

    def may_begin(self, name: str) -> bool:
        return True
