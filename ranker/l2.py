"""L2: two heads over all features, engagement and relevance, mixed by a weight.

The engagement head is linear, over all candidates of a query: those that were never shown count as
not engaged. Much that is good was never shown, and a model that could bend would learn what was.
For the same reason the relevance head has a linear model, and one more, a small network, that sees
the judged candidates alone: which of them are better, whatever was judged. Of what nobody judges it
knows nothing, so its share is small (docs/results/ranking.md).

The raw scores of models are on different scales, so each is divided by its standard deviation
within a query, measured in training (the spread). The mixing weight then means the same for every
model. The spread is a constant of the model: a candidate's score does not depend on the other
candidates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from omnisearch.data.workspace.reading import check_shape
from omnisearch.ranker.features import feature_names
from omnisearch.ranker.l1 import Linear, spread
from omnisearch.ranker.lists import Lists
from omnisearch.ranker.network import Network, NetworkOptions
from omnisearch.ranker.starter import starter

NETWORK_SHARE = 0.2  # of a head's score


@dataclass(frozen=True)
class Head:
    """The models of one kind of label, and their scales.

    Attributes:
        linear: of all candidates. network: of the judged ones, or None.
        spreads: standard deviation within a query, in training, of the scores of each (1 if all
            are equal).
    """

    linear: Linear
    network: Network | None
    spreads: tuple[float, float]

    @classmethod
    def fit(cls, lists: Lists, judged: Lists | None, options: NetworkOptions) -> Head:
        """Train on lists of all candidates, of at least one query, and of the judged ones."""
        linear = Linear.fit(
            [lists], feature_names(), options.prior / len(lists.sizes), starter(options.word_weight)
        )
        scale = _spread(lists, linear.score(lists.X))
        if judged is None or not len(judged.sizes):
            return cls(linear, None, (scale, 1.0))
        network = Network.fit(judged, options)
        return cls(linear, network, (scale, _spread(judged, network.score(judged.X))))

    def score(self, X: np.ndarray) -> np.ndarray:
        """(n,) float32 scores in spreads, of feature rows (n, F) float32."""
        scores = self.linear.score(X) / np.float32(self.spreads[0])
        if self.network is None:
            return scores
        share = np.float32(NETWORK_SHARE)
        return (1 - share) * scores + share * self.network.score(X) / np.float32(self.spreads[1])

    def to_json(self) -> dict[str, Any]:
        network = {} if self.network is None else self.network.to_json()
        return {
            "linear": self.linear.to_json(),
            "network": network,
            "spreads": list(self.spreads),
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Head:
        """Raises KeyError, TypeError or ValueError for input that `to_json` did not write."""
        check_shape(values, {"linear": dict, "network": dict, "spreads": [float]})
        first, second = map(float, values["spreads"])
        if not (1e-6 < first < 1e12 and 1e-6 < second < 1e12):
            raise ValueError(f"the spreads are {first} and {second}")
        linear = Linear.from_json(values["linear"])
        if linear.names != feature_names():
            raise ValueError("the features of the linear model differ")
        network = Network.from_json(values["network"]) if values["network"] else None
        return cls(linear, network, (first, second))


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
    return spread(scores.astype(np.float64), lists.sizes)
