"""Where nothing fits a query, nothing is shown, and the answer says so and what was tried."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from omnisearch.engine.filters import Filters
from omnisearch.engine.rules.file import read_rules
from omnisearch.engine.rules.published import Rules
from omnisearch.engine.search import SearchEngine
from omnisearch.engine.systems import SYSTEMS

FLOOR = 0.6
NOISE = "zzzxqv"


@pytest.fixture
def floored(make_engine: Any) -> SearchEngine:
    engine: SearchEngine = make_engine()
    engine.swap(
        replace(
            engine.snapshot,
            generation=replace(engine.snapshot.generation, floor=FLOOR, related_floor=FLOOR),
        )
    )
    return engine


@pytest.mark.parametrize("system", ["full", "l1", "rrf", "embedding"])
def test_noise_finds_nothing_and_the_answer_says_why(
    make_engine: Any, floored: SearchEngine, system: str
) -> None:
    assert make_engine().search(NOISE, system=system).total > 0
    found = floored.search(NOISE, system=system, page=1)
    assert (found.hits, found.total, found.nothing_fits) == ([], 0, True)
    assert "Nothing in the catalogue fits this query." in found.notes
    assert [line.split(":")[0] for line in found.tried] == [
        "Its words",
        "Its spelling",
        "Its meaning",
        "Related searches",
    ]
    assert found.related == [] and floored.rank(NOISE, system) == []


@pytest.mark.parametrize("query", ["boho", f"{NOISE} lamp", "lampp", "boho-bedroom"])
def test_a_query_with_a_word_of_an_item_is_as_before(
    make_engine: Any, floored: SearchEngine, query: str
) -> None:
    for system in SYSTEMS:
        found, plain = (e.search(query, system=system) for e in (floored, make_engine()))
        assert found.hits == plain.hits and not found.nothing_fits and found.tried == []


def test_what_is_near_by_meaning_alone_is_shown(make_engine: Any) -> None:
    """As a query in another language: no word of it is in the catalogue."""
    engine: SearchEngine = make_engine()
    best = engine.search(NOISE, system="embedding").hits[0].score
    for floor, shown in ((best - 1e-4, True), (best + 1e-4, False)):
        generation = replace(engine.snapshot.generation, floor=floor)
        engine.swap(replace(engine.snapshot, generation=generation))
        assert bool(engine.search(NOISE).hits) == shown


def test_related_queries_below_their_floor_are_left_out_of_every_answer(make_engine: Any) -> None:
    engine: SearchEngine = make_engine()
    every = engine.search("boho").related
    assert len(every) > 2
    least = every[1].score
    generation = replace(engine.snapshot.generation, related_floor=least)
    engine.swap(replace(engine.snapshot, generation=generation))
    found = engine.search("boho")
    assert found.related == [each for each in every if each.score >= least] and found.hits


def test_filters_decide_what_is_shown_and_not_what_fits(floored: SearchEngine) -> None:
    found = floored.search("boho", filters=Filters(brand="Nobody"))
    assert found.total == 0 and not found.nothing_fits
    assert floored.search(NOISE, filters=Filters(entity="pin")).nothing_fits


def test_pins_are_shown_where_nothing_fits(floored: SearchEngine) -> None:
    text = f"version = 1\n[[pin]]\nquery = '{NOISE}'\nitem = 'product/product7'\nplace = 3\n"
    rules, _ = read_rules(text.encode())
    floored.swap(replace(floored.snapshot, rules=Rules(1, tuple(rules))))
    found = floored.search(NOISE)
    assert [hit.id for hit in found.hits] == ["product7"] and found.nothing_fits


def test_without_a_vector_nothing_is_judged(floored: SearchEngine) -> None:
    query = floored.snapshot.query(NOISE)
    found = floored.at(floored.snapshot).search(query)
    assert found.degraded and not found.nothing_fits
    assert not floored.search(NOISE, system="token").nothing_fits
