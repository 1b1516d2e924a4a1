"""The ads of one search, in the order of their auction."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Placed:
    """The ads that may take places of a feed, the best first.

    Attributes:
        order: int64 (a,), positions in the search's candidates. campaigns: the ids, (a,).
        bids: float64 (a,). rates, relevance: float32 (a,), what the models predict; NaN where there
            is no such model.
    """

    order: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    campaigns: list[str] = field(default_factory=list)
    bids: np.ndarray = field(default_factory=lambda: np.zeros(0))
    rates: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    relevance: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))

    def first(self, count: int) -> Placed:
        """The first so many."""
        return Placed(
            self.order[:count],
            self.campaigns[:count],
            self.bids[:count],
            self.rates[:count],
            self.relevance[:count],
        )

    def by_candidate(self) -> dict[int, str]:
        """Candidate → the campaign that advertises it."""
        return dict(zip(self.order.tolist(), self.campaigns, strict=True))

    def explained(self, candidate: int) -> dict[str, Any] | None:
        """How a candidate came to its place as an ad; None if it is none."""
        found = np.flatnonzero(self.order == candidate)
        if not len(found):
            return None
        at = int(found[0])
        rate, relevance = (
            None if np.isnan(values[at]) else float(values[at])
            for values in (self.rates, self.relevance)
        )
        bid = float(self.bids[at])
        said = {"campaign": self.campaigns[at], "bid": bid, "rate": rate, "relevance": relevance}
        return {**said, "place": at + 1}


NO_ADS = Placed()
