"""The linear ranker."""

from __future__ import annotations

import numpy as np
import pytest
from ranking_samples import ranking_data

from omnisearch.ranker.features import feature_names, l1_names
from omnisearch.ranker.l1 import Linear
from omnisearch.ranker.lists import Lists, informative_lists, ndcg


def one_feature_lists(weight: float, queries: int = 4000, n: int = 4) -> Lists:
    """Choices drawn from softmax(weight * learned): the model that L1 assumes."""
    rng = np.random.default_rng(0)
    X = np.full((queries, n, len(feature_names())), np.nan, np.float32)
    X[..., 1] = rng.normal(0, 1, (queries, n))
    noise = rng.gumbel(0, 1, (queries, n))
    chosen = np.argmax(weight * X[..., 1] + noise, axis=1)
    y = (np.arange(n) == chosen[:, None]).astype(np.float32)
    sizes = np.full(queries, n)
    ones = np.ones(queries * n, np.float32)
    return Lists(X.reshape(queries * n, -1), y.reshape(-1), ones, sizes, np.arange(queries))


def test_it_recovers_the_weight_that_the_choices_were_drawn_with() -> None:
    fitted = Linear.fit([one_feature_lists(1.7)], ("learned", "bm25"), l2=0)
    assert fitted.weights[0] == pytest.approx(1.7, rel=0.05)
    assert fitted.weights[1] == 0  # never known, so nothing to learn


def test_few_queries_lean_to_the_model_given() -> None:
    lists, names = one_feature_lists(1.7), ("learned", "text_share", "bm25")
    arrays = np.array([[6, 2.4], [0, 1], [0, 0]], np.float32)
    prior = Linear(("learned", "text_share"), *arrays)
    loose, tight = (Linear.fit([lists], names, l2, prior) for l2 in (1e-6, 1e6))
    assert loose.weights[0] == pytest.approx(1.7, rel=0.05)
    np.testing.assert_allclose(tight.weights, [6, 2.4, 0], rtol=1e-3)
    assert tight.flags[1] == pytest.approx(1)


def test_what_no_row_has_keeps_its_share_of_the_scores() -> None:
    """A log without queries that exclude anything must not teach that exclusions matter less."""
    lists, names = one_feature_lists(12.0), ("learned", "excluded")
    prior = Linear(names, *np.array([[2, -1.4], [0, 0], [0, 0]], np.float32))
    fitted = Linear.fit([lists], names, 1e-6, prior)
    assert fitted.weights[0] > 10
    assert fitted.weights[1] / fitted.weights[0] == pytest.approx(-0.7, rel=0.05)
    smaller = Linear.fit([one_feature_lists(0.5)], names, 1e-6, prior)
    assert smaller.weights[1] == pytest.approx(-1.4)


def test_it_orders_unseen_queries_better_than_any_single_feature() -> None:
    fitted = Linear.fit([informative_lists(ranking_data(150), "engagement")], l1_names())
    unseen = informative_lists(ranking_data(60, seed=1), "engagement")
    single = max(ndcg(unseen, unseen.X[:, column]).mean() for column in range(len(feature_names())))
    assert ndcg(unseen, fitted.score(unseen.X)).mean() > single + 0.02


def test_unknown_values_score_as_the_training_mean_and_lose_their_flag() -> None:
    linear = Linear(
        ("learned", "bm25"),
        weights=np.array([2, 0.5], np.float32),
        flags=np.array([0, 3], np.float32),
        fill=np.array([0.25, 4], np.float32),
    )
    X = np.full((3, len(feature_names())), np.nan, np.float32)
    X[:, 1] = [0.5, np.nan, 1]
    X[2, 3] = 10
    np.testing.assert_allclose(linear.score(X), [1 + 2, 0.5 + 2, 2 + 5 + 3])


def test_a_row_that_counts_for_little_moves_the_model_little() -> None:
    lists = one_feature_lists(1.0)
    contrary = lists.X.copy()
    contrary[lists.y == 0, 1] += 5  # the candidates not chosen look much better
    light = np.where(lists.y == 0, 0.001, 1).astype(np.float32)
    full, spared = (
        Linear.fit([Lists(contrary, lists.y, w, lists.sizes, lists.queries)], ("learned",))
        for w in (lists.weights, light)
    )
    assert full.weights[0] < -5 * abs(spared.weights[0])


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"features": ["colour"], "weights": [1], "flags": [0], "fill": [0]},
        {"features": ["bm25"], "weights": [1, 2], "flags": [0], "fill": [0]},
        {"features": ["bm25"], "weights": [float("nan")], "flags": [0], "fill": [0]},
        {"features": ["bm25"], "weights": "x", "flags": [0], "fill": [0]},
    ],
)
def test_damaged_json_is_refused(values: dict) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        Linear.from_json(values)
