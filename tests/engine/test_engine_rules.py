"""Rules act on what a search returns: in every system, within filters, in their time."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from engine_fakes import FakeEncoder

from omnisearch.data.text.tokens import Use
from omnisearch.engine.filters import Filters
from omnisearch.engine.rules.file import read_rules
from omnisearch.engine.rules.published import Rules
from omnisearch.engine.search import SearchEngine
from omnisearch.engine.similar import similar_items
from omnisearch.engine.systems import SYSTEMS

QUERY = "boho bedroom"
Item = tuple[str, str]


def items(response: Any) -> list[Item]:
    return [(hit.entity, hit.id) for hit in response.hits]


def with_rules(engine: SearchEngine, text: str) -> SearchEngine:
    rules, faults = read_rules(f"version = 1\n{text}".encode())
    assert faults == []
    engine.swap(replace(engine.snapshot, rules=Rules(1, tuple(rules))))
    return engine


def feed(engine: SearchEngine, query: str = QUERY, **options: Any) -> list[Item]:
    return items(engine.search(query, k=10_000, **options))


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_pin_keeps_its_place_over_pages(make_engine: Any, system: str) -> None:
    plain = feed(make_engine(), system=system)
    pinned = [("product", "product77"), ("pin", "pin40"), ("product", "product3")]
    text = "".join(
        f"[[pin]]\nquery = 'Boho  BEDROOM'\nitem = '{entity}/{key}'\nplace = {place}\n"
        for (entity, key), place in zip(pinned, (3, 8, 999), strict=True)
    )
    engine = with_rules(make_engine(), text)
    found = feed(engine, system=system)
    assert (found[2], found[7], found[-1]) == tuple(pinned)
    assert len(found) == len(set(found)) == len({*plain, *pinned})
    for k in (1, 7):
        pages = [items(engine.search(QUERY, k=k, page=p, system=system)) for p in range(1, 11)]
        assert [item for page in pages for item in page] == found[: 10 * k]
    assert engine.rank(QUERY, system, 10) == [
        (hit.entity, hit.id, hit.score) for hit in engine.search(QUERY, k=10, system=system).hits
    ]
    if system != "full":  # in which pins count for the bounds of the blend
        assert [item for item in found if item not in pinned] == [
            item for item in plain if item not in pinned
        ]
    assert feed(engine, "modern sink", system=system) == feed(
        make_engine(), "modern sink", system=system
    )


def test_pins_count_for_the_bounds_of_the_blend(make_engine: Any) -> None:
    ads = [f"pin{number}" for number in (7, 17, 27)]
    text = "".join(
        f"[[pin]]\nquery = '{QUERY}'\nitem = 'pin/{key}'\nplace = {place}\n"
        for place, key in enumerate(ads, 1)
    )
    hits = with_rules(make_engine(ad_share=0.3, min_share=0.2), text).search(QUERY, k=100).hits
    assert [hit.id for hit in hits[:3]] == ads
    for place in range(4, 100):
        first = hits[:place]
        assert sum(hit.is_ad for hit in first) <= max(3, -(-place * 3 // 10))
        assert sum(hit.entity == "product" for hit in first) >= place // 5 - 1


def test_a_filter_excludes_what_is_pinned(make_engine: Any) -> None:
    text = f"[[pin]]\nquery = '{QUERY}'\nitem = 'product/product77'\nplace = 1\n"
    engine = with_rules(make_engine(), text)
    assert feed(engine)[0] == ("product", "product77")
    for filters in (Filters(entity="pin"), Filters(brand="Old Forge"), Filters(price_max=30)):
        assert feed(engine, filters=filters) == feed(make_engine(), filters=filters)
    assert feed(engine, filters=Filters(brand="ästhetik"))[0] == ("product", "product77")


@pytest.mark.parametrize("system", SYSTEMS)
def test_hidden_items_are_nowhere(make_engine: Any, system: str) -> None:
    plain = feed(make_engine(), system=system)
    gone = {item for item in plain[::3]}
    listed = ", ".join(f"'{entity}/{key}'" for entity, key in sorted(gone))
    text = f"[[hide]]\nwords = 'bedroom'\nitem = [{listed}]\n"
    text += f"[[pin]]\nall = true\nitem = '{'/'.join(plain[0])}'\nplace = 1\n"
    engine = with_rules(make_engine(), text)
    assert gone.isdisjoint(feed(engine, system=system))
    assert feed(engine, "boho sofa", system=system)[0] == plain[0]


def test_what_is_hidden_does_not_take_the_place_of_others(make_engine: Any) -> None:
    """Sources that return ten items return ten others if theirs are hidden."""
    depths = {name: 10 for name in ("token_products", "learned_products", "itemsage_products")}
    text = "[[hide]]\nall = true\nfilter = ['entity=product', 'brand=Old Forge']\n"
    whole = make_engine(depths=depths).search("boho sofa", k=100, system="token").hits
    assert {hit.brand for hit in whole if hit.entity == "product"} == {"Old Forge"}
    engine = with_rules(make_engine(depths=depths), text)
    hits = engine.search("boho sofa", k=100, system="token").hits
    brands = [hit.brand for hit in hits if hit.entity == "product"]
    assert len(brands) == 8 and set(brands) == {"Ästhetik"}  # all that have these words
    assert all(
        hit.brand == "Ästhetik"
        for hit in similar_items(engine.snapshot, "product", "product1", 20, engine.config)
    )


@pytest.mark.parametrize("system", ["token", "rrf", "l1"])
def test_a_boost_moves_up_by_places_and_a_burial_down(make_engine: Any, system: str) -> None:
    plain = feed(make_engine(), system=system)
    up, down = plain[12], plain[3]
    text = f"[[boost]]\nprefix = 'boho bed'\nitem = '{'/'.join(up)}'\nplaces = 5\n"
    text += f"[[bury]]\nquery = '{QUERY}'\nitem = '{'/'.join(down)}'\nplaces = 30\n"
    found = feed(with_rules(make_engine(), text), system=system)
    others = [item for item in plain if item not in (up, down)]
    assert [item for item in found if item not in (up, down)] == others
    assert found.index(up) == 12 - 5 - 1 and found.index(down) == 33


def test_a_boosted_brand_brings_in_nothing_that_was_not_found(make_engine: Any) -> None:
    text = "[[boost]]\nall = true\nfilter = 'brand=Old Forge'\nplaces = 200\n"
    plain, found = feed(make_engine()), with_rules(make_engine(), text).search(QUERY, k=10_000)
    assert set(items(found)) == set(plain)
    brands = [hit.brand for hit in found.hits if hit.entity == "product"]
    assert brands == sorted(brands, key=lambda brand: brand != "Old Forge")


def test_synonyms_count_less_than_what_was_typed(make_engine: Any) -> None:
    text = "[[synonyms]]\nwords = ['sofa', 'settee', 'mirror']\n"
    engine = with_rules(make_engine(), text)
    typed = make_engine().snapshot.query("boho sofa")
    query = engine.snapshot.query("boho sofas")
    assert query.text == "boho sofas" and query.rules == ("synonyms of line 2",)
    assert query.terms["mirror"] == Use(0.5, "sofa") and query.terms["sofa"] == Use()
    assert query.wanted.shape == (len(typed.wanted), typed.wanted.shape[1] + 2)
    hits = engine.search("boho sofa", k=200, system="token").hits
    best = {
        thing: max(h.score for h in hits if f"{thing}" in h.title) for thing in ("sofa", "mirror")
    }
    assert best["sofa"] > best["mirror"]
    assert not any(
        "mirror" in hit.title for hit in make_engine().search("sofa", k=200, system="token").hits
    )


def test_a_word_that_no_item_has_finds_its_synonym_and_is_not_respelled(make_engine: Any) -> None:
    assert make_engine().snapshot.query("lampp").text == "lamp"
    text = "[[synonyms]]\nfrom = 'lampp'\nto = 'mirror'\n"
    engine = with_rules(make_engine(), text)
    response = engine.search("lampp", k=500, system="token", explain=True)
    assert response.searched == "lampp" and response.rules == ["synonyms of line 2"]
    assert {hit.title.split()[1 if hit.entity == "pin" else 0] for hit in response.hits} == {
        "mirror"
    }
    one_way = engine.search("mirror", k=5, explain=True)
    assert one_way.rules == [] and one_way.searched == "mirror"


def test_synonyms_of_several_words_and_of_a_language(make_engine: Any) -> None:
    text = "[[synonyms]]\nfrom = 'night room'\nto = 'bedroom'\n"
    text += "[[synonyms]]\nfrom = 'rug'\nto = 'garden'\nlanguage = 'de'\n"
    engine = with_rules(make_engine(), text)
    snapshot = engine.snapshot
    assert "bedroom" in snapshot.query("boho night room").terms
    assert "bedroom" not in snapshot.query("room night").terms
    assert "garden" in snapshot.query("rug", "de-AT").terms
    assert "garden" not in snapshot.query("rug", "en").terms
    excluded = snapshot.query("lamp without night room")
    assert "bedroom" not in excluded.terms and excluded.rules == ()


def test_rules_act_in_their_time(make_engine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (
        "[[pin]]\nall = true\nitem = 'product/product77'\nplace = 1\n"
        "start = 2030-01-01T00:00:00Z\nend = 2030-02-01T00:00:00Z\n"
        "[[hide]]\nall = true\nitem = 'product/product77'\nstart = 2030-01-20T00:00:00Z\n"
    )
    engine = with_rules(make_engine(), text)
    year = 1893456000.0  # 2030
    for day, first in ((-1, False), (0, True), (15, True), (25, False), (40, False), (3, True)):
        monkeypatch.setattr(time, "time", lambda day=day: year + 86_400 * day)
        assert (feed(engine)[0] == ("product", "product77")) == first, day
        if day >= 19:
            assert ("product", "product77") not in feed(engine)


def test_rules_that_name_what_is_not_there_do_nothing(make_engine: Any) -> None:
    text = (
        "[[pin]]\nall = true\nitem = 'product/nothing'\nplace = 1\n"
        "[[hide]]\nall = true\nitem = ['pin/nothing', 'pin/zzz']\n"
        "[[boost]]\nall = true\nfilter = 'brand=Nobody'\nplaces = 3\n"
    )
    engine = with_rules(make_engine(), text)
    assert feed(engine) == feed(make_engine())
    missing = engine.snapshot.ruling.missing
    assert [(rule.line, what) for rule, what in missing] == [
        (2, "there is no product 'nothing'"),
        (6, "there is no pin 'nothing'"),
        (6, "there is no pin 'zzz'"),
    ]


def test_explain_says_which_rule_acted(make_engine: Any) -> None:
    text = (
        f"[[pin]]\nname = 'spring'\nquery = '{QUERY}'\nitem = 'product/product77'\nplace = 2\n"
        "[[bury]]\nall = true\nfilter = 'brand=Old Forge'\nplaces = 3\n"
    )
    engine = with_rules(make_engine(), text)
    response = engine.search(QUERY, k=100, explain=True)
    assert response.rules == ["pin “spring”", "bury of line 7"]
    assert response.hits[1].explain["rules"] == ["pin “spring”"]
    for hit in response.hits:
        assert ("bury of line 7" in hit.explain["rules"]) == (hit.brand == "Old Forge")
    assert engine.search(QUERY).rules == [] and response.hits[1].score == pytest.approx(
        response.hits[1].explain["l1"]
    )


def test_two_pins_to_one_place_and_the_same_item_twice(make_engine: Any) -> None:
    text = "".join(
        f"[[pin]]\n{when}\nitem = 'product/product{number}'\nplace = 1\n"
        for when, number in (
            ("all = true", 70),
            ("words = 'bedroom'", 71),
            (f"query = '{QUERY}'", 72),
            ("prefix = 'boho'", 72),
        )
    )
    found = feed(with_rules(make_engine(), text))
    assert found[:3] == [("product", f"product{number}") for number in (72, 71, 70)]
    assert len(found) == len(set(found))


def test_a_generation_without_embeddings_has_rules_too(make_engine: Any) -> None:
    engine = make_engine()
    snapshot = engine.snapshot
    assert isinstance(snapshot.encoder, FakeEncoder)
    text = "[[pin]]\nall = true\nitem = 'product/product77'\nplace = 2\n"
    query = with_rules(engine, text).snapshot.query(QUERY)
    late = engine.at(engine.snapshot).search(query.with_vector(None), k=5)
    assert items(late)[1] == ("product", "product77")
    assert late.hits[1].score == 0 and np.isfinite([hit.score for hit in late.hits]).all()
