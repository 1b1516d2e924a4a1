"""L2: two heads over all features, engagement and relevance, mixed by a weight.

Each head is a LambdaMART model (LightGBM). A head's raw score has no unit, so each is divided
by its usual spread within a query, measured in training: 1.0 is then one standard deviation
between candidates of one query for either head, and the mixing weight means the same everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass

import lightgbm
import numpy as np

from ranker.features import FEATURES
from ranker.lists import Lists

MAX_LEVELS = 31  # LightGBM's label_gain table; more distinct gains are rounded to this many


@dataclass(frozen=True)
class TreeOptions:
    """Sizes of a head. The defaults keep 200 rows through two heads under 1.5 ms."""

    trees: int = 100
    leaves: int = 15
    learning_rate: float = 0.1
    min_rows: int = 50
    l2: float = 5.0
    seed: int = 7
    threads: int = 1


@dataclass(frozen=True)
class Head:
    """One LambdaMART model.

    Attributes:
        booster: LightGBM model over FEATURES.
        spread: standard deviation of raw scores within a query, in training (1 if they are equal).
    """

    booster: lightgbm.Booster
    spread: float

    @classmethod
    def fit(cls, lists: Lists, options: TreeOptions = TreeOptions()) -> Head:
        """Train on lists of at least one query whose labels differ. The same input gives the
        same model, bit by bit, on one machine."""
        label, gains = _levels(lists.y)
        parameters = {
            "objective": "lambdarank",
            "label_gain": gains.tolist(),
            "lambdarank_truncation_level": 20,
            "learning_rate": options.learning_rate,
            "num_leaves": options.leaves,
            "min_data_in_leaf": options.min_rows,
            "lambda_l2": options.l2,
            "feature_fraction": 0.8,
            "bagging_fraction": 0.8,
            "bagging_freq": 1,
            "bagging_by_query": True,
            "seed": options.seed,
            "deterministic": True,
            "force_row_wise": True,
            "num_threads": options.threads,
            "verbosity": -1,
        }
        rows = lightgbm.Dataset(
            lists.X,
            label=label,
            weight=lists.weights,
            group=lists.sizes,
            feature_name=list(FEATURES),
            params={"verbosity": -1},
        )
        booster = lightgbm.train(parameters, rows, num_boost_round=options.trees)
        head = cls(booster, 1.0)
        return cls(booster, _spread(lists, head.score(lists.X)))

    def score(self, X: np.ndarray) -> np.ndarray:
        """(n,) float64: raw score over `spread`; rows of features (n, F) float32."""
        raw = self.booster.predict(X, raw_score=True, num_threads=1, validate_features=False)
        return np.asarray(raw) / self.spread

    def importance(self) -> dict[str, float]:
        """Each feature's share of the total gain of the splits, highest first."""
        gain = self.booster.feature_importance("gain")
        share = gain / max(gain.sum(), 1e-12)
        order = np.argsort(-share, kind="stable")
        return {FEATURES[column]: float(share[column]) for column in order}


@dataclass(frozen=True)
class L2:
    """The two heads; one of them is None where there was nothing to learn it from."""

    engagement: Head | None
    relevance: Head | None

    def score(self, X: np.ndarray, relevance_weight: float = 0.5) -> np.ndarray:
        """(n,) float64, (1 - w) * engagement + w * relevance, both in spreads (see above).

        With one head alone the weight has no effect: that head decides.
        """
        if self.engagement is None or self.relevance is None:
            return (self.engagement or self.relevance).score(X)  # type: ignore[union-attr]
        w = min(max(relevance_weight, 0.0), 1.0)
        return (1 - w) * self.engagement.score(X) + w * self.relevance.score(X)

    def scores(self, X: np.ndarray) -> dict[str, np.ndarray]:
        """Each head's scores by name, for `explain`."""
        heads = {"engagement": self.engagement, "relevance": self.relevance}
        return {name: head.score(X) for name, head in heads.items() if head is not None}


def _levels(y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gains as integer levels and the gain of each level, as LightGBM wants them."""
    gains = np.unique(y)
    if len(gains) > MAX_LEVELS:
        gains = np.unique(np.quantile(gains, np.linspace(0, 1, MAX_LEVELS)))
    middles = (gains[1:] + gains[:-1]) / 2
    return np.searchsorted(middles, y).astype(np.int32), gains.astype(np.float64)


def _spread(lists: Lists, scores: np.ndarray) -> float:
    mean = np.add.reduceat(scores, lists.starts) / lists.sizes
    spread = float(np.sqrt(np.mean((scores - np.repeat(mean, lists.sizes)) ** 2)))
    return spread if spread > 1e-9 else 1.0
