"""Ads of campaigns: which run, how they are found, gated, ordered and placed, and nothing else."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnisearch.data.catalogue.campaigns import Campaign
from omnisearch.engine.ads.models import POSITION, AdModels
from omnisearch.engine.ads.running import AdsOfItems
from omnisearch.engine.blend import Shares, blend, most_ads
from omnisearch.engine.filters import Filters
from omnisearch.engine.rules.file import read_rules
from omnisearch.engine.rules.published import Rules
from omnisearch.engine.search import SearchEngine
from omnisearch.ranker.calibrated import Calibrated
from omnisearch.ranker.features import feature_names

QUERY = "boho sofa"
SOFAS = [f"product{n}" for n in range(80) if n % 5 == 0 and n % 8 == 2]  # boho sofas
ALL = tuple(("product", f"product{n}") for n in range(80)) + tuple(
    ("pin", f"pin{n}") for n in range(120)
)


def advertised(engine: SearchEngine, *campaigns: Campaign, models: Any = None) -> SearchEngine:
    snapshot = replace(engine.snapshot, campaigns=campaigns, ad_models=models)
    engine.swap(snapshot)
    return engine


def constant(rate: float, extra: tuple[str, ...] = (), **weights: float) -> Calibrated:
    """A model of some features, between 0 and 1; `rate` alone without any."""
    names = (*feature_names(), *extra)
    given = np.array([weights.get(name, 0.0) for name in names], np.float32)
    zeros = np.zeros(len(names), np.float32)
    points = np.array([0, 1], np.float32)
    return Calibrated(names, given, zeros, zeros, rate, points, points)


def of_campaigns(engine: SearchEngine, query: str = QUERY, **options: Any) -> list[tuple[str, str]]:
    """(id, campaign) of the ads of campaigns; c1 and c2 are the items' own."""
    hits = engine.search(query, k=200, **options).hits
    return [(hit.id, hit.campaign) for hit in hits if hit.campaign not in (None, "c1", "c2")]


# Which campaigns run.


def test_a_campaign_runs_from_its_start_and_before_its_end_in_its_places(make_engine: Any) -> None:
    generation = make_engine().snapshot.generation
    campaign = Campaign("a", 1.0, (("pin", "pin1"),), 100, 200, ("US",), ("de",))
    ads = AdsOfItems([campaign], generation)
    assert [ads.running(now, "us", "de-AT") is not None for now in (99, 100, 199, 200, 150)] == [
        False,
        True,
        True,
        False,
        True,
    ]
    for country, language in ((None, "de"), ("US", None), ("FR", "de"), ("US", "en")):
        assert ads.running(150, country, language) is None


def test_the_highest_bid_has_an_item_of_several_campaigns(make_engine: Any) -> None:
    item = (("product", "product7"),)
    low, high, over = (
        Campaign("low", 1.0, item),
        Campaign("high", 2.0, item),
        Campaign("over", 9.0, item, end=100),
    )
    ads = AdsOfItems([low, high, over], make_engine().snapshot.generation)
    running = ads.running(150, None, None)
    assert running is not None and running.campaigns == ["high"] and running.bids.tolist() == [2.0]
    earlier = ads.running(50, None, None)
    assert earlier is not None and earlier.campaigns == ["over"]


def test_items_that_the_index_lacks_are_counted_and_do_no_harm(make_engine: Any) -> None:
    campaign = Campaign("a", 1.0, (("pin", "none"), ("pin", "pin3"), ("product", "zzz")))
    ads = AdsOfItems([campaign], make_engine().snapshot.generation)
    assert ads.missing == {"a": 2}
    running = ads.running(0, None, None)
    assert running is not None and len(running.items) == 1


# What a search shows.


def test_without_campaigns_that_run_answers_are_the_same(make_engine: Any) -> None:
    plain = make_engine().search(QUERY, k=100)
    past = Campaign("past", 5.0, ALL, end=int(time.time()) - 10)
    for engine in (
        advertised(make_engine(), past),
        advertised(make_engine(campaigns=False), Campaign("a", 1.0, ALL)),
    ):
        found = engine.search(QUERY, k=100)
        assert found.hits == plain.hits and found.total == plain.total


def test_ads_are_labelled_once_and_leave_the_other_results_as_they_were(make_engine: Any) -> None:
    plain = make_engine(min_share=0.0).search(QUERY, k=200)
    sofas = tuple(("product", key) for key in SOFAS)
    engine = advertised(make_engine(min_share=0.0), Campaign("a", 1.0, sofas))
    hits = engine.search(QUERY, k=200).hits
    sold = [hit for hit in hits if hit.campaign == "a"]
    assert sold and all(hit.is_ad for hit in sold) and hits[0].campaign == "a"
    keys = [(hit.entity, hit.id) for hit in hits]
    assert len(set(keys)) == len(keys)
    shown = {(hit.entity, hit.id) for hit in sold}
    ours = [key for key, hit in zip(keys, hits, strict=True) if not hit.is_ad]
    before = [(hit.entity, hit.id) for hit in plain.hits if not hit.is_ad]
    assert ours == [key for key in before if key not in shown]
    for place in range(1, len(hits) + 1):
        assert sum(hit.is_ad for hit in hits[:place]) <= math.ceil(place * 0.3)


def test_pages_neither_repeat_nor_lose_results(make_engine: Any) -> None:
    engine = advertised(make_engine(), Campaign("a", 1.0, ALL))
    whole = engine.search(QUERY, k=200)
    pages = [hit for page in range(1, 60) for hit in engine.search(QUERY, k=7, page=page).hits]
    assert [(hit.id, hit.campaign) for hit in pages] == [(h.id, h.campaign) for h in whole.hits][
        : len(pages)
    ]
    assert whole.total == engine.search(QUERY, k=5).total


def test_bids_order_ads_and_rates_weigh_them(make_engine: Any) -> None:
    query, cheap, dear = "modern sofa", ("product", "product26"), ("product", "product66")
    campaigns = (Campaign("cheap", 1.0, (cheap,)), Campaign("dear", 2.0, (dear,)))

    def order(models: AdModels | None) -> list[str]:
        engine = advertised(make_engine(), *campaigns, models=models)
        return [name for _, name in of_campaigns(engine, query)]

    assert order(None) == ["dear", "cheap"]
    # At prices of 260 and 660 the rates are 0.23 and 0.10: 1 x 0.23 is more than 2 x 0.10.
    falls = constant(1.0, (POSITION,), log_price=-0.9 / np.log1p(660))
    assert order(AdModels(falls, None, {})) == ["cheap", "dear"]


def test_the_gate_keeps_what_is_probably_irrelevant_from_any_bid(make_engine: Any) -> None:
    campaign = Campaign("a", 1000.0, ALL)
    for relevance, shows in ((0.49, False), (0.51, True)):
        models = AdModels(None, constant(relevance), {})
        assert bool(of_campaigns(advertised(make_engine(), campaign, models=models))) is shows
    models = AdModels(None, constant(0.2), {})
    assert of_campaigns(advertised(make_engine(ad_relevance=0.1), campaign, models=models))


def test_without_models_an_ad_is_as_good_as_the_first_results(make_engine: Any) -> None:
    """Whatever is bid for everything, only what L1 has among its first ten is an ad."""
    for query in (QUERY, "boho lamp", "wooden chair"):
        engine = advertised(make_engine(ad_share=1.0), Campaign("a", 1000.0, ALL))
        first = engine.search(query, k=200, system="l1").hits
        tenth = sorted((hit.score for hit in first), reverse=True)[9]
        good = {hit.id for hit in first if hit.score >= tenth}
        ads = {key for key, _ in of_campaigns(engine, query)}
        assert ads and ads <= good and len(good) < len(first)


def test_what_is_far_from_the_query_is_not_retrieved(make_engine: Any) -> None:
    lamps = tuple(("product", f"product{n}") for n in range(80) if n % 8 == 3 and n % 5 == 1)
    engine = advertised(make_engine(), Campaign("a", 9.0, lamps))
    hits = engine.search("nordic garden", k=200, explain=True).hits
    for hit in hits:
        if hit.campaign == "a":
            sources = {n: s for n, s in hit.explain["sources"].items() if n.startswith("ads_")}
            assert all(said["score"] > 0 for said in sources.values()) and sources


def test_filters_and_rules_hold_for_ads(make_engine: Any) -> None:
    engine = advertised(make_engine(), Campaign("a", 1.0, ALL))
    assert not of_campaigns(engine, filters=Filters(ads=False))
    for filters in (Filters(entity="pin"), Filters(price_max=300), Filters(country="US")):
        allowed = {
            hit.id for hit in make_engine(l1_keep=1000).search(QUERY, k=1000, filters=filters).hits
        }
        assert {key for key, _ in of_campaigns(engine, filters=filters)} <= allowed
    only = engine.search(QUERY, k=50, filters=Filters(ads=True)).hits
    assert all(hit.is_ad for hit in only) and {"a"} < {hit.campaign for hit in only}
    sold = of_campaigns(engine)[0][0]
    kind = "pin" if sold.startswith("pin") else "product"
    text = f'version = 1\n[[hide]]\nall = true\nitem = "{kind}/{sold}"\n'
    ruled = replace(engine.snapshot, rules=Rules(1, tuple(read_rules(text.encode())[0])))
    assert sold not in dict(
        of_campaigns(SearchEngine(engine.workspace, ruled, engine.cache, engine.config))
    )


@pytest.mark.parametrize("options", [{"system": "token"}, {"system": "l1"}, {"sort": "price"}])
def test_other_orders_have_no_ads_of_campaigns(make_engine: Any, options: Any) -> None:
    assert not of_campaigns(advertised(make_engine(), Campaign("a", 1.0, ALL)), **options)


def test_what_is_measured_has_no_ads_of_campaigns(make_engine: Any) -> None:
    plain = make_engine().rank(QUERY, k=100)
    assert advertised(make_engine(), Campaign("a", 1.0, ALL)).rank(QUERY, k=100) == plain


def test_explain_says_how_an_ad_came_to_its_place(make_engine: Any) -> None:
    models = AdModels(constant(0.25, (POSITION,)), constant(0.75), {})
    engine = advertised(make_engine(), Campaign("a", 2.0, ALL), models=models)
    hits = engine.search(QUERY, k=50, explain=True).hits
    said = [hit.explain["ad"] for hit in hits if hit.campaign == "a"]
    assert said[0] == {"campaign": "a", "bid": 2.0, "rate": 0.25, "relevance": 0.75, "place": 1}
    assert [each["place"] for each in said] == list(range(1, len(said) + 1))
    assert all("ad" not in hit.explain for hit in hits if hit.campaign != "a")


# The blend.


@given(
    items=st.lists(st.tuples(st.integers(0, 1), st.booleans()), max_size=30),
    sold=st.lists(st.integers(0, 1), max_size=8),
    share=st.sampled_from((0.0, 0.1, 0.3, 0.5, 1.0)),
    least=st.sampled_from((0.0, 0.2, 0.5)),
)
def test_ads_are_placed_within_the_bounds(
    items: list[tuple[int, bool]], sold: list[int], share: float, least: float
) -> None:
    count = most_ads(len(items), len(sold), share)
    assert count <= math.ceil((len(items) + count) * share - 1e-9) or count == 0
    entity = np.array([item[0] for item in items] + sold, np.uint8)
    ads = np.array([item[1] for item in items] + [True] * len(sold), bool)
    placed = list(range(len(items), len(items) + count))
    order = np.arange(len(items))
    feed, _ = blend(order, entity, ads, Shares(share, least), 99, None, placed)
    assert sorted(feed.tolist()) == [*range(len(items)), *placed]
    assert [at for at in feed.tolist() if at >= len(items)] == placed  # in the auction's order
    for place in range(1, len(feed) + 1):
        head, tail = feed[:place], feed[place:]
        if ads[head[-1]] and ads[head].sum() > math.ceil(place * share - 1e-9):
            assert ads[tail].all()  # above the share only where nothing else is left
        shorter, _ = blend(order, entity, ads, Shares(share, least), place, None, placed)
        assert shorter.tolist() == head.tolist()
