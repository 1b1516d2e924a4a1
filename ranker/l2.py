"""L2: two heads over all features, engagement and relevance, mixed by a weight.

The raw scores of the two heads are on different scales, so each is divided by its standard
deviation within a query, measured in training (the spread). The mixing weight then means the same
for every model. The spread is a constant of the model: a candidate's score does not depend on the
other candidates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from omnisearch.data.workspace.reading import check_shape
from omnisearch.ranker.lists import Lists
from omnisearch.ranker.network import Network, NetworkOptions


@dataclass(frozen=True)
class Head:
    """One model and its scale.

    Attributes:
        spread: standard deviation of the raw scores within a query, in training (1 if all equal).
    """

    network: Network
    spread: float

    @classmethod
    def fit(cls, lists: Lists, options: NetworkOptions) -> Head:
        """Train on lists of at least one query whose labels differ."""
        network = Network.fit(lists, options)
        return cls(network, _spread(lists, network.score(lists.X)))

    def score(self, X: np.ndarray) -> np.ndarray:
        """(n,) float32 scores in spreads, of feature rows (n, F) float32."""
        return self.network.score(X) / np.float32(self.spread)

    def to_json(self) -> dict[str, Any]:
        return {"spread": self.spread, "network": self.network.to_json()}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Head:
        """Raises KeyError, TypeError or ValueError for input that `to_json` did not write."""
        check_shape(values, {"spread": float, "network": dict})
        spread = float(values["spread"])
        if not 1e-6 < spread < 1e12:
            raise ValueError(f"the spread is {spread}")
        return cls(Network.from_json(values["network"]), spread)


@dataclass(frozen=True)
class L2:
    """The two heads; one of them is None if training had no labels for it."""

    engagement: Head | None
    relevance: Head | None

    def score(self, X: np.ndarray, relevance_weight: float = 0.5) -> np.ndarray:
        """(n,) float32, (1 - w) * engagement + w * relevance, both in spreads.

        If there is only one head, its scores are returned whatever the weight.
        """
        if self.engagement is None or self.relevance is None:
            return (self.engagement or self.relevance).score(X)  # type: ignore[union-attr]
        w = np.float32(min(max(relevance_weight, 0.0), 1.0))
        return (1 - w) * self.engagement.score(X) + w * self.relevance.score(X)

    def scores(self, X: np.ndarray) -> dict[str, np.ndarray]:
        """Each head's scores by name, for `explain`."""
        heads = {"engagement": self.engagement, "relevance": self.relevance}
        return {name: head.score(X) for name, head in heads.items() if head is not None}


def _spread(lists: Lists, scores: np.ndarray) -> float:
    scores = scores.astype(np.float64)
    mean = np.add.reduceat(scores, lists.starts) / lists.sizes
    spread = float(np.sqrt(np.mean((scores - np.repeat(mean, lists.sizes)) ** 2)))
    return spread if spread > 1e-6 else 1.0
