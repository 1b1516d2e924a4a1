"""Lists of labelled rows and the rankers' own nDCG."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from ranking_samples import ranking_data

from omnisearch.ranker.features import feature_names
from omnisearch.ranker.lists import Lists, RankingData, informative_lists, ndcg

nan = np.nan


def lists_of(labels: list[list[float]]) -> Lists:
    y = np.concatenate(labels).astype(np.float32)
    sizes = np.array([len(part) for part in labels])
    return Lists(np.zeros((len(y), 1)), y, np.ones(len(y)), sizes, np.arange(len(labels)))


def plain_ndcg(gains: list[float], scores: list[float], k: int) -> float:
    """nDCG as its definition has it, one query."""

    def dcg(values: list[float]) -> float:
        return sum(gain / np.log2(place + 2) for place, gain in enumerate(values[:k]))

    order = sorted(range(len(gains)), key=lambda i: -scores[i])
    return dcg([gains[i] for i in order]) / dcg(sorted(gains, reverse=True))


@settings(max_examples=50)
@given(
    st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=15), min_size=1, max_size=4),
    st.integers(1, 12),
    st.integers(0, 99),
)
def test_ndcg_equals_its_definition(labels: list[list[float]], k: int, seed: int) -> None:
    labels = [[*part, 1.0] for part in labels]
    lists = lists_of(labels)
    scores = np.random.default_rng(seed).permutation(len(lists.y)).astype(float)
    parts = np.split(scores, np.cumsum(lists.sizes)[:-1])
    expected = [plain_ndcg(gains, list(part), k) for gains, part in zip(labels, parts, strict=True)]
    np.testing.assert_allclose(ndcg(lists, scores, k), expected, rtol=1e-6)


def test_unknown_scores_come_last_and_ties_profit_from_no_row_order() -> None:
    lists = lists_of([[1.0, 0.0]])
    assert ndcg(lists, np.array([nan, -5.0]), 1) == [0]
    first = lists_of([[1.0] + [0.0] * 19] * 200)
    mean = ndcg(first, np.zeros(4000), 10).mean()
    assert 0.1 < mean < 0.35  # a random order gives about 0.23; the row order would give 1


def test_rows_in_any_order_give_the_same_lists() -> None:
    data = ranking_data(6, 10)
    order = np.random.default_rng(0).permutation(len(data))
    mixed = RankingData(
        data.X[order], data.groups[order], data.engagement[order], data.relevance[order]
    )
    ours, theirs = informative_lists(data, "engagement"), informative_lists(mixed, "engagement")
    np.testing.assert_array_equal(ours.queries, theirs.queries)
    np.testing.assert_array_equal(ours.sizes, theirs.sizes)
    for start, size in zip(ours.starts, ours.sizes, strict=True):
        part = slice(start, start + size)
        a = sorted(zip(ours.y[part], ours.X[part, 1], strict=True))
        assert a == sorted(zip(theirs.y[part], theirs.X[part, 1], strict=True))


def test_queries_without_a_difference_and_rows_without_a_label_are_left_out() -> None:
    data = RankingData(
        X=np.zeros((7, len(feature_names())), np.float32),
        groups=np.array([0, 0, 1, 1, 2, 2, 2]),
        engagement=np.array([1, 1, nan, 2, 0, nan, 3], np.float32),
        relevance=np.full(7, nan, np.float32),
    )
    lists = informative_lists(data, "engagement")
    assert lists.queries.tolist() == [2] and lists.y.tolist() == [0, 3]
    assert len(informative_lists(data, "relevance").sizes) == 0
