"""Searching with filters, facets, sorting, and what is out of stock."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from engine_catalogue import STYLES, THINGS, UNTIL, index
from engine_fakes import FakeEncoder

from omnisearch.data.catalogue.schema import open_catalogue, set_meta
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import InputError
from omnisearch.engine.config import EngineConfig
from omnisearch.engine.filters import Filters
from omnisearch.engine.query_embeddings.cache import QueryCache
from omnisearch.engine.search import SearchEngine
from omnisearch.engine.snapshot import Snapshot
from omnisearch.engine.sorting import MATCHES_SINK, NAMED_SINKS


def product(number: int) -> dict[str, Any]:
    style, thing = STYLES[number % 5], THINGS[number % 8]
    attributes = {
        "finish": ("matt", "gloss")[number % 2],
        "category": f"Home > {thing} > {style}",
        "rating": number % 6 if number % 3 else None,
    }
    return {
        "id": f"product{number:03}",
        "title": f"{style} {thing} {number}",
        "price": float(number % 40) if number % 7 else None,
        "created_at": UNTIL - 1000 * (number % 11) if number % 11 else None,
        "brand": ("Old Forge", "Ästhetik", None)[number % 3],
        "language": ("en", "en-us", "de")[number % 3],
        "availability": ("in_stock", "out_of_stock", "preorder", None)[number // 8 % 4],
        "attributes": orjson.dumps({k: v for k, v in attributes.items() if v is not None}).decode(),
    }


PRODUCTS = {item["id"]: item for item in map(product, range(200))}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Makes engines over 200 products and a pin, by settings."""
    workspace = Workspace.create(tmp_path_factory.mktemp("shop"))
    db = open_catalogue(workspace.catalogue, create=True)
    db["products"].insert_all(PRODUCTS.values())
    db["pins"].insert({"id": "pin0", "title": "boho sofa idea"})
    db["queries"].insert({"id": "boho", "text": "boho"})
    set_meta(db, "engaged_until", UNTIL)
    db.conn.commit()
    snapshot = Snapshot(index(workspace, db), FakeEncoder(), None, UNTIL)
    caches = Path(tmp_path_factory.mktemp("caches"))

    def make(**settings: Any) -> SearchEngine:
        cache = QueryCache(caches / f"{len(settings)}.db")
        return SearchEngine(workspace, snapshot, cache, EngineConfig(**settings))

    return make


def found(engine: SearchEngine, query: str, *where: str, **options: Any) -> list[str]:
    filters = Filters(where=where, out_of_stock=options.pop("out_of_stock", "show"))
    return [hit.id for hit in engine.search(query, 250, filters=filters, **options).hits]


def test_a_filtered_search_is_as_deep(shop: Any) -> None:
    """The few that meet a filter are found though 200 others are nearer."""
    engine = shop(depths={name: 5 for name in EngineConfig().depths})
    kept = found(engine, "boho bedroom", "finish=gloss", "category=Home > sink")
    wanted = {key for key, item in PRODUCTS.items() if "sink" in item["title"]}
    wanted &= {key for key, item in PRODUCTS.items() if "gloss" in item["attributes"]}
    assert len(kept) >= 5 and set(kept) <= wanted


def test_a_language_takes_its_regions(shop: Any) -> None:
    engine = shop()
    for filters in (Filters(language="en"), Filters(where=("language=en",))):
        hits = engine.search("boho", 250, filters=filters).hits
        assert {PRODUCTS[hit.id]["language"] for hit in hits} == {"en", "en-us"}
    assert {PRODUCTS[key]["language"] for key in found(engine, "boho", "language=en-us")} == {
        "en-us"
    }


def test_what_is_out_of_stock_is_hidden_or_sinks_or_stays(shop: Any) -> None:
    shown = found(shop(), "boho sofa", out_of_stock="show")
    sunk = found(shop(), "boho sofa", out_of_stock="sink")
    hidden = found(shop(), "boho sofa", out_of_stock="hide")
    out = {key for key, item in PRODUCTS.items() if item["availability"] == "out_of_stock"}
    assert out & set(shown[:10]) and not out & set(hidden)
    assert set(sunk) == set(shown)
    gone = [key in out for key in sunk]
    assert gone == sorted(gone) and sum(gone) == len(out & set(shown))
    for system in ("token", "l1", "full"):
        pages = [
            [hit.id for hit in shop().search("boho sofa", 7, page, system=system).hits]
            for page in range(1, 5)
        ]
        every = [hit.id for hit in shop().search("boho sofa", 28, system=system).hits]
        assert [key for page in pages for key in page] == every


def test_a_note_tells_why_the_item_whose_name_is_typed_is_not_first(shop: Any) -> None:
    out = [key for key, item in PRODUCTS.items() if item["availability"] == "out_of_stock"]
    there = next(key for key, item in PRODUCTS.items() if item["availability"] == "in_stock")
    for system in ("l1", "full"):
        answer = shop().search(PRODUCTS[out[0]]["title"], 250, system=system)
        assert NAMED_SINKS in answer.notes and answer.hits[0].id not in out
        assert NAMED_SINKS in shop().search(out[0], 5, system=system).notes  # its code
        for query, settings in (
            (PRODUCTS[there]["title"], {}),
            ("boho sofa", {}),
            (PRODUCTS[out[0]]["title"], {"out_of_stock": "show"}),
        ):
            assert NAMED_SINKS not in shop(**settings).search(query, 5, system=system).notes


def test_a_note_tells_that_all_that_match_come_last(shop: Any) -> None:
    """Product 11 is out of stock, and product 3 is not; each is the only one with its number."""
    out, there = (f"{STYLES[number % 5]} {number}" for number in (11, 3))
    for system in ("token", "full"):
        answer = shop().search(out, 250, system=system)
        assert answer.matching == 1 and MATCHES_SINK in answer.notes
        assert answer.hits[0].id != "product011"
        for query, settings in ((there, {}), ("boho sofa", {}), (out, {"out_of_stock": "show"})):
            assert MATCHES_SINK not in shop(**settings).search(query, 5, system=system).notes
    assert MATCHES_SINK not in shop().search(out, 5, sort="price").notes


def test_the_setting_says_it_where_the_request_does_not(shop: Any) -> None:
    out = {key for key, item in PRODUCTS.items() if item["availability"] == "out_of_stock"}
    hits = shop(out_of_stock="hide").search("boho", 250).hits
    assert hits and not out & {hit.id for hit in hits}
    with pytest.raises(InputError, match="out_of_stock must be one of hide, sink, show"):
        EngineConfig(out_of_stock="burn")


@pytest.mark.parametrize(
    ("sort", "value"),
    [
        ("price", lambda item: item["price"]),
        ("-price", lambda item: item["price"] and -item["price"]),
        ("newest", lambda item: item["created_at"] and -item["created_at"]),
        ("rating", lambda item: orjson.loads(item["attributes"]).get("rating")),
        ("-rating", lambda item: -r if (r := rating(item)) is not None else None),
    ],
)
def test_sorted_results_are_those_with_all_words_in_that_order(
    shop: Any, sort: str, value: Any
) -> None:
    """Of all items: the search by relevance reads five from each source here."""
    engine = shop(depths={name: 5 for name in EngineConfig().depths})
    options = {"filters": Filters("product", out_of_stock="show")}
    hits = engine.search("boho sofa", 250, sort=sort, **options).hits
    matching = {key for key, item in PRODUCTS.items() if {"boho", "sofa"} <= words_of(item)}
    assert {hit.id for hit in hits} == matching
    values = [value(PRODUCTS[hit.id]) for hit in hits]
    keys = [np.inf if each is None else each for each in values]
    assert keys == sorted(keys)
    pages = [
        hit.id
        for page in (1, 2, 3)
        for hit in engine.search("boho sofa", 2, page, sort=sort, **options).hits
    ]
    assert pages == [hit.id for hit in hits[:6]]


def test_without_an_item_that_has_all_words_what_was_found_is_sorted(shop: Any) -> None:
    engine, options = shop(), {"filters": Filters("product", out_of_stock="show")}
    plain = engine.search("boho couches", 250, **options).hits
    hits = engine.search("boho couches", 250, sort="price", **options).hits
    assert hits and {hit.id for hit in hits} == {hit.id for hit in plain}
    prices = [np.inf if hit.price is None else hit.price for hit in hits]
    assert prices == sorted(prices)


def words_of(item: dict[str, Any]) -> set[str]:
    return set(item["title"].lower().split())


def rating(item: dict[str, Any]) -> int | None:
    return orjson.loads(item["attributes"]).get("rating")


def test_sorting_by_what_is_no_number_says_what_is(shop: Any) -> None:
    with pytest.raises(InputError, match="newest, price, rating"):
        shop().search("boho", sort="brand")


def test_facets_count_what_has_all_words_and_what_was_found(shop: Any) -> None:
    engine = shop(depths=dict.fromkeys(EngineConfig().depths, 1), out_of_stock="show")
    names = ("finish", "brand", "category")
    response = engine.search("boho sofa", facets=names)
    assert [facet.name for facet in response.facets] == list(names)
    hits = {hit.id for hit in engine.search("boho sofa", 250).hits if hit.entity == "product"}
    matching = {key for key, item in PRODUCTS.items() if {"boho", "sofa"} <= words(item)} | hits
    assert len(matching) > len(hits)
    brands = Counter(PRODUCTS[key]["brand"] for key in matching)
    assert {v.value: v.count for v in response.facets[1].values} == {
        brand: count for brand, count in brands.items() if brand
    }


def words(item: dict[str, Any]) -> set[str]:
    return set(item["title"].split())


def test_a_facet_does_not_narrow_itself(shop: Any) -> None:
    engine = shop(out_of_stock="show")
    filters = Filters(where=("finish=matt",))
    [before] = engine.search("boho sofa", facets=("finish",)).facets
    finish, brand = engine.search("boho sofa", facets=("finish", "brand"), filters=filters).facets
    assert [(v.value, v.count) for v in finish.values] == [
        (v.value, v.count) for v in before.values
    ]
    assert [v.value for v in finish.values if v.chosen] == ["matt"]
    assert sum(v.count for v in brand.values) < sum(v.count for v in before.values)


def test_a_tree_is_counted_one_level_at_a_time(shop: Any) -> None:
    engine = shop(out_of_stock="show")

    def levels(*where: str) -> tuple[str, set[str]]:
        filters = Filters(where=where)
        [facet] = engine.search("boho", facets=("category",), filters=filters).facets
        return facet.parent, {each.value for each in facet.values}

    assert levels() == ("", {"Home"})
    assert levels("category=home") == ("Home", {f"Home > {thing}" for thing in THINGS})
    parent, below = levels("category=Home > sofa")
    assert parent == "Home > sofa" and "Home > sofa > boho" in below


def test_wrong_names_are_said_before_anything_is_searched(shop: Any) -> None:
    for options in (
        {"facets": ("finnish",)},
        {"filters": Filters(where=("finnish=matt",))},
    ):
        with pytest.raises(InputError, match="Did you mean finish"):
            shop().search("boho", **options)
