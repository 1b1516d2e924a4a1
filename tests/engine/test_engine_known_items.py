"""Who types an item's name or code finds it first, whatever the rankers have learned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from omnisearch.engine.search import SearchEngine
from omnisearch.ranker.features import feature_names, l1_names
from omnisearch.ranker.l1 import Linear
from omnisearch.ranker.l2 import L2, Head
from omnisearch.ranker.training import Rankers


def contrary(names: Sequence[str]) -> Linear:
    """A model that likes what shares no words with the query."""
    weights = [
        -9.0 if name.startswith(("name", "text", "bm25", "learned")) else 0 for name in names
    ]
    zeros = np.zeros(len(names), np.float32)
    return Linear(tuple(names), np.array(weights, np.float32), zeros, zeros)


def against(engine: SearchEngine) -> SearchEngine:
    l2 = L2(Head(contrary(feature_names()), None, (1.0, 1.0)), None)
    engine.swap(replace(engine.snapshot, rankers=Rankers(contrary(l1_names()), l2)))
    return engine


@pytest.mark.parametrize("system", ["l1", "full"])
@pytest.mark.parametrize("ranked", [True, False])
def test_a_name_finds_its_item_first(engine: SearchEngine, system: str, ranked: bool) -> None:
    engine = against(engine) if ranked else engine
    for number in range(0, 80, 7):
        title = engine.search(f"product{number}", k=1, system="token").hits[0].title or ""
        for typed in (title, title.upper(), f"  {title.replace(' ', ' - ')}!"):
            (hit,) = engine.search(typed, k=1, system=system).hits
            assert (hit.id, hit.title) == (f"product{number}", title), typed


@pytest.mark.parametrize("system", ["l1", "full"])
def test_an_id_finds_its_item_first(engine: SearchEngine, system: str) -> None:
    for typed in ("pin17", "PIN-17", "pin 17", "product 3"):
        (hit,) = against(engine).search(typed, k=1, system=system).hits
        assert hit.id == typed.lower().replace("-", "").replace(" ", "")


def test_a_query_of_two_words_names_no_item(engine: SearchEngine) -> None:
    query = engine.snapshot.query
    assert query("boho bedroom").name == 0 != query("boho bedroom idea").name
    assert query("沙发床").name == 0 != query("北欧风格沙发床").name


def test_the_first_results_of_each_source_pass_l1(make_engine: Any) -> None:
    engine = against(make_engine(l1_keep=1))
    found = [(entity, key) for entity, key, _ in engine.rank("boho bedroom", "full", 300)]
    for system in ("token", "embedding"):
        first = [(entity, key) for entity, key, _ in engine.rank("boho bedroom", system, 10)]
        assert set(first) <= set(found), system
