"""The seam below the engine: an index elsewhere answers by the same calls, in one round trip."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from omnisearch.engine.index import Items, SourceRequest, SourceResult
from omnisearch.engine.local_index import LocalIndex
from omnisearch.engine.search import SearchEngine


class Remote(LocalIndex):
    """A local index behind a wire: all requests of a search travel together."""

    trips = 0

    def search(self, requests: Iterable[SourceRequest]) -> Iterator[SourceResult]:
        sent = list(requests)
        self.trips += 1
        return iter([*super().search(sent)])


def test_a_search_is_one_round_trip_and_finds_the_same(engine: SearchEngine) -> None:
    snapshot = replace(engine.snapshot)
    remote = vars(snapshot)["index"] = Remote(snapshot.generation)
    for number, system in enumerate(("full", "token", "rrf"), 1):
        here = engine.search("boho bedroom", system=system)
        there = engine.at(snapshot).search("boho bedroom", system=system)
        assert there.hits == here.hits and there.related == here.related
        related = 2 if system != "token" else 1  # the related queries follow
        assert remote.trips == related, number
        remote.trips = 0


def test_columns_and_cosines_are_those_of_the_items_asked_for(engine: SearchEngine) -> None:
    index, tables = engine.snapshot.index, engine.snapshot.generation.tables
    items = Items(np.array([0, 0, 1], np.uint8), np.array([3, 9, 4]))
    query = engine.snapshot.query("boho bedroom")
    query = query.with_vector(engine.cache.vector(engine.snapshot.encoder, query.text)[0])
    found = index.columns(query, items, ["price", "is_ad", "no such column"])
    assert found.keys() == {"price", "is_ad"}
    np.testing.assert_array_equal(found["price"][2], tables["product"].price[4])
    spaces = engine.snapshot.generation.spaces
    cosines = index.cosines(query, items, "learned")
    expected = [spaces["pin", "learned"].vectors[row] @ query.vector for row in (3, 9)]
    np.testing.assert_allclose(cosines[:2], expected, rtol=1e-6)
    pinsage = index.cosines(query, items, "pinsage")
    assert not np.isnan(pinsage[:2]).any() and np.isnan(pinsage[2])


def test_a_query_is_analysed_once_in_a_search(engine: SearchEngine, monkeypatch: Any) -> None:
    from omnisearch.engine import query as module

    calls: list[str] = []
    for name in ("query_tokens", "query_words"):
        real = getattr(module, name)
        noted = lambda text, *rest, real=real: calls.append(text) or real(text, *rest)  # noqa: E731
        monkeypatch.setattr(module, name, noted)
    monkeypatch.setattr(module, "words", lambda text: calls.append(text) or text.split())
    engine.search("vintage mirror without lamp", k=10, explain=True)
    assert sorted(map(str.strip, calls)) == [
        "lamp",
        "vintage mirror",
        "vintage mirror",
        "vintage mirror without lamp",
    ]
    engine.search("vintage mirror without lamp", page=2)
    assert len(calls) == 4
