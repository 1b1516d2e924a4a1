"""The network of an L2 head: a linear model, and what it cannot say."""

from __future__ import annotations

import numpy as np
import pytest

from omnisearch.ranker.features import feature_names
from omnisearch.ranker.lists import Lists, RankingData, informative_lists, ndcg
from omnisearch.ranker.network import CLIP, Network, NetworkOptions

LEARNED, COMPAT = feature_names().index("learned"), feature_names().index("compat")


def either_or(queries: int, seed: int = 0, n: int = 20) -> Lists:
    """The good candidates have both cosines high or both low: no linear order finds them."""
    rng = np.random.default_rng(seed)
    X = np.full((queries * n, len(feature_names())), np.nan, np.float32)
    X[:, [LEARNED, COMPAT]] = rng.normal(0, 1, (queries * n, 2))
    y = (X[:, LEARNED] * X[:, COMPAT] > 0.5).astype(np.float32)
    data = RankingData(X, np.repeat(np.arange(queries), n), y, np.full(len(y), np.nan))
    return informative_lists(data, "engagement")


def test_the_correction_learns_what_no_linear_model_can() -> None:
    network = Network.fit(either_or(300), NetworkOptions(members=1))
    unseen = either_or(50, seed=1)
    assert ndcg(unseen, network.linear.score(unseen.X)).mean() < 0.5
    assert ndcg(unseen, network.score(unseen.X)).mean() > 0.9


def test_members_are_averaged() -> None:
    lists, unseen = either_or(40), either_or(3, seed=1).X
    alone = [
        Network.fit(lists, NetworkOptions(members=1, seed=7 + i)).score(unseen) for i in (0, 1)
    ]
    both = Network.fit(lists, NetworkOptions(members=2, seed=7)).score(unseen)
    np.testing.assert_allclose(both, np.mean(alone, axis=0), rtol=1e-3, atol=1e-5)


def test_the_correction_grows_with_the_number_of_queries() -> None:
    def bend(queries: int) -> float:
        network, unseen = Network.fit(either_or(queries)), either_or(20, seed=1)
        return float(np.std(network.score(unseen.X) - network.linear.score(unseen.X)))

    assert bend(3) < 0.1 * bend(300)


def test_an_odd_value_moves_the_correction_no_further_than_a_high_one() -> None:
    network = Network.fit(either_or(100), NetworkOptions(members=1))
    high = network.mean[LEARNED] + 2 * CLIP * network.std[LEARNED]
    X = np.full((2, len(feature_names())), np.nan, np.float32)
    X[:, LEARNED] = [high, 1e3 * high]
    correction = network.score(X) - network.linear.score(X)
    assert abs(correction[0]) > 0.01
    assert correction[1] == pytest.approx(correction[0], rel=1e-2, abs=1e-2)


@pytest.mark.parametrize("name", ["mean", "std", "W", "b", "v", "linear"])
def test_damaged_json_is_refused(name: str) -> None:
    values = Network.fit(either_or(5), NetworkOptions(members=1, hidden=3)).to_json()
    with pytest.raises(KeyError):
        Network.from_json({key: value for key, value in values.items() if key != name})
    if name != "linear":
        shorter, odd = values[name][:-1], [*values[name][:-1], float("nan")]
        for wrong in (shorter, odd, "text"):
            with pytest.raises((TypeError, ValueError)):
                Network.from_json(values | {name: wrong})
