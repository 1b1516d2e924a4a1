"""Groups of features, and what they are computed from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from omnisearch.data.text.normalise import words

Columns = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class QueryInfo:
    """The properties of the query that features need.

    Attributes:
        words: how many words it has.
        now: the time of the search, seconds since 1970 (the catalogue's last event for training).
    """

    words: int
    now: int

    @classmethod
    def of(cls, text: str, now: int) -> QueryInfo:
        return cls(len(words(text)), now)


@dataclass(frozen=True)
class Feature:
    """One number per candidate.

    Attributes:
        doc: one line of Markdown for the table in docs/reference/ranking.md.
        l1: whether L1 sees it; L2 sees every feature.
    """

    name: str
    doc: str
    l1: bool = False


@dataclass(frozen=True, eq=False)
class FeatureGroup:
    """Features that are computed together.

    Attributes:
        reads: the columns of the candidates that `compute` is given.
        compute: returns the values of each feature by name, numbers or bools (n,), NaN if unknown.
            It gets exactly the columns of `reads`, with a row for each of a query's n candidates; a
            column that the engine does not have is float32 NaN (n,).
    """

    name: str
    features: tuple[Feature, ...]
    reads: tuple[str, ...]
    compute: Callable[[Columns, QueryInfo], Mapping[str, Any]]
