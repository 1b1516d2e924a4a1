"""A source, a feature of it and a system of another package, through the whole engine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from engine_catalogue import UNTIL
from engine_fakes import FakeEncoder

from omnisearch.data.workspace.errors import InputError
from omnisearch.engine.config import EngineConfig
from omnisearch.engine.filters import Filters
from omnisearch.engine.index import SourceResult
from omnisearch.engine.query import Query
from omnisearch.engine.ranking_data import RankingOptions, collect
from omnisearch.engine.search import SearchEngine
from omnisearch.engine.snapshot import Snapshot
from omnisearch.engine.sources import SOURCES, Source
from omnisearch.engine.systems import SYSTEMS, System
from omnisearch.ranker.features import FEATURES, Feature, FeatureGroup
from omnisearch.ranker.training import train_rankers


def cheapest(
    snapshot: Snapshot, query: Query, depth: int, allowed: np.ndarray | None
) -> SourceResult:
    """The cheapest products there are, whatever was asked."""
    price = snapshot.generation.tables["product"].price
    known = ~np.isnan(price) if allowed is None else ~np.isnan(price) & allowed
    rows = np.flatnonzero(known)
    rows = rows[np.argsort(price[rows], kind="stable")][:depth]
    return SourceResult("product", rows, 1 / (1 + price[rows]))


CHEAPEST = Source("cheapest_products", "product", "bargain", depth=10, search=cheapest)
FEATURE = FeatureGroup(
    "bargain",
    (Feature("bargain_rank", "1 / its place among the cheapest, 0 where it is none"),),
    reads=("cheapest_products_rank",),
    compute=lambda columns, _: {
        "bargain_rank": np.nan_to_num(1 / columns["cheapest_products_rank"])
    },
)
SYSTEM = System("bargains", "Bargains", "the cheapest products", "score", ("cheapest_products",))


@pytest.fixture
def added() -> Iterator[None]:
    entries: Any = ((SOURCES, CHEAPEST), (FEATURES, FEATURE), (SYSTEMS, SYSTEM))
    for registry, entry in entries:
        registry.register(entry)
    yield
    for registry, entry in entries:
        registry.remove(entry.name)


def test_its_candidates_are_found_ranked_and_explained(added: None, make_engine: Any) -> None:
    engine = make_engine()
    shown = engine.search("boho bedroom", k=200, explain=True).hits
    explained = {hit.id: hit.explain["sources"] for hit in shown}
    prices = {hit.id: hit.price for hit in shown if hit.price is not None}
    cheap = sorted(prices, key=prices.__getitem__)[:10]
    for place, key in enumerate(cheap, 1):
        assert explained[key]["cheapest_products"]["rank"] == place
    assert sum("cheapest_products" in sources for sources in explained.values()) == 10


def test_its_depth_is_a_setting_and_filters_reach_it(added: None, make_engine: Any) -> None:
    assert EngineConfig().depths["cheapest_products"] == 10
    engine = make_engine(depths={"cheapest_products": 3})
    assert len(engine.search("rug", system="bargains").hits) == 3
    found = engine.search("rug", system="bargains", filters=Filters(price_min=300.0)).hits
    assert [hit.price for hit in found] == [310.0, 320.0, 330.0]
    assert not engine.search("rug", system="bargains", filters=Filters(entity="pin")).hits


def test_rankers_learn_from_it(added: None, logged: tuple[SearchEngine, Any]) -> None:
    engine, db = logged
    rankers = train_rankers(collect(engine, db, RankingOptions()))
    assert "bargain_rank" in rankers.report["importance"]["engagement"]
    snapshot = Snapshot(engine.snapshot.generation, FakeEncoder(), rankers, UNTIL)
    trained = SearchEngine(engine.workspace, snapshot, engine.cache, engine.config)
    hits = trained.search("boho sofa", k=20, explain=True).hits
    assert any("cheapest_products" in hit.explain["sources"] for hit in hits)
    assert all(hit.explain["l2"] is not None for hit in hits)


def test_its_system_is_named_and_two_of_one_name_are_refused(added: None, make_engine: Any) -> None:
    hits = make_engine().search("anything", k=3, system="bargains").hits
    assert [hit.price for hit in hits] == [10.0, 20.0, 30.0]
    with pytest.raises(InputError, match="two sources called 'cheapest_products'"):
        SOURCES.register(CHEAPEST)


def test_without_it_nothing_is_left_of_it(make_engine: Any) -> None:
    with pytest.raises(InputError, match=r"no 'bargains'.*full"):
        make_engine().search("anything", system="bargains")
