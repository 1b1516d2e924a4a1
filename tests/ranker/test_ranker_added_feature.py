"""A feature of another package: it is learned from, and rankers that know it need it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ranking_samples import FAST, NOW, candidate_columns, ranking_data

from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import InputError, NotReady
from omnisearch.ranker.features import (
    FEATURES,
    Feature,
    FeatureGroup,
    QueryInfo,
    columns_read,
    feature_matrix,
    feature_names,
    l1_names,
)
from omnisearch.ranker.lists import RankingData, informative_lists, ndcg
from omnisearch.ranker.published import load_rankers, save_rankers
from omnisearch.ranker.training import train_rankers

QUERY = QueryInfo.of("sofa", NOW)
SHOP = FeatureGroup(
    "shop",
    (Feature("margin", "log(1 + the profit of a sale)", l1=True),),
    reads=("profit",),
    compute=lambda columns, query: {"margin": np.log1p(columns["profit"])},
)


@pytest.fixture
def shop() -> Iterator[None]:
    FEATURES.register(SHOP)
    yield
    FEATURES.remove(SHOP.name)


def profitable_data(queries: int, n: int = 30, seed: int = 0) -> RankingData:
    """The five candidates with the highest profit are engaged with, whatever else is known."""
    rng = np.random.default_rng(seed)
    profit = rng.random((queries, n)) * 50
    rows = [feature_matrix(candidate_columns(n, rng) | {"profit": row}, QUERY) for row in profit]
    best = profit >= np.sort(profit, axis=1)[:, -5:-4]
    return RankingData(
        X=np.concatenate(rows),
        groups=np.repeat(np.arange(queries), n),
        engagement=np.where(best, 3, 0).astype(np.float32).ravel(),
        relevance=np.full(queries * n, np.nan, np.float32),
    )


def test_an_added_feature_comes_last_and_reads_its_column(shop: None) -> None:
    assert feature_names()[-1] == "margin" and "margin" in l1_names()
    assert {"profit", "entity", "learned_rank"} <= columns_read()
    columns = candidate_columns(3, np.random.default_rng(0))
    X = feature_matrix(columns | {"profit": np.array([0.0, np.nan, 9.0])}, QUERY)
    np.testing.assert_allclose(X[:, -1], [0, np.nan, np.log(10)], rtol=1e-6)
    assert np.isnan(feature_matrix(columns, QUERY)[:, -1]).all()  # the engine has no such column
    np.testing.assert_array_equal(X[:, :-1], feature_matrix(columns, QUERY)[:, :-1])


def test_l2_learns_from_an_added_feature_and_the_report_names_it(shop: None) -> None:
    rankers = train_rankers(profitable_data(200), FAST)
    assert next(iter(rankers.report["importance"]["engagement"])) == "margin"
    assert rankers.report["ndcg@10"]["engagement"]["margin"] == pytest.approx(1)
    unseen = informative_lists(profitable_data(30, seed=1), "engagement")
    assert ndcg(unseen, rankers.l2.score(unseen.X)).mean() > 0.95
    assert ndcg(unseen, rankers.l1.score(unseen.X)).mean() > 0.95


def test_rankers_of_other_features_ask_for_training(shop: None, tmp_path: Path) -> None:
    place = Workspace.create(tmp_path / "workspace")
    save_rankers(place, train_rankers(profitable_data(10), FAST))
    assert load_rankers(place) is not None
    FEATURES.remove(SHOP.name)
    with pytest.raises(NotReady, match=r"other features .*\(not computed now: margin\)") as refused:
        load_rankers(place)
    assert refused.value.how == "Run `omnisearch rank train` again."
    save_rankers(place, train_rankers(ranking_data(10), FAST))
    FEATURES.register(SHOP)
    with pytest.raises(NotReady, match=r"other features .*\(new: margin\)"):
        load_rankers(place)


def test_two_features_of_one_name_are_refused(shop: None) -> None:
    FEATURES.register(replace(SHOP, name="another shop"))
    try:
        with pytest.raises(InputError, match="two features called 'margin'"):
            feature_names()
    finally:
        FEATURES.remove("another shop")
