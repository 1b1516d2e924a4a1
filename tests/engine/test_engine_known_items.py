"""Who types an item's name or code finds it first, whatever the rankers have learned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from omnisearch.data.text.keys import name_key
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
@pytest.mark.parametrize("ranked", [True, False])
def test_a_name_in_another_form_finds_its_item_first(
    engine: SearchEngine, system: str, ranked: bool
) -> None:
    """In the plural, in another order or misspelt."""
    engine = against(engine) if ranked else engine
    for number in range(0, 80, 7):
        title = engine.search(f"pin{number}", k=1).hits[0].title or ""
        style, thing, idea, at = title.split()
        for typed in (f"{style} {thing}s {idea} {at}", f"{thing}, {style} ideas {at}"):
            (hit,) = engine.search(typed, k=1, system=system).hits
            assert (hit.id, hit.title) == (f"pin{number}", title), typed
    assert engine.search("boho bedrom idea 0", k=1, system=system).hits[0].id == "pin0"


def test_the_name_as_it_is_typed_comes_before_other_forms(engine: SearchEngine) -> None:
    engine = against(engine)
    table = engine.snapshot.generation.tables["pin"]
    names = table.full_name.copy()
    names[table.row_of["pin8"]] = name_key("Bedroom: boho ideas 0")
    tables = engine.snapshot.generation.tables | {"pin": replace(table, full_name=names)}
    generation = replace(engine.snapshot.generation, tables=tables)
    engine.swap(replace(engine.snapshot, generation=generation))
    found = [hit.id for hit in engine.search("bedroom boho ideas 0", k=2).hits]
    assert found == ["pin8", "pin0"]


@pytest.mark.parametrize("system", ["l1", "full"])
def test_an_id_finds_its_item_first(engine: SearchEngine, system: str) -> None:
    for typed in ("pin17", "PIN-17", "pin 17", "product 3"):
        (hit,) = against(engine).search(typed, k=1, system=system).hits
        assert hit.id == typed.lower().replace("-", "").replace(" ", "")


@pytest.mark.parametrize(("namesakes", "first"), [(1, True), (3, True), (4, False)])
def test_a_short_name_of_many_items_is_a_kind_of_thing(
    engine: SearchEngine, namesakes: int, first: bool
) -> None:
    engine = against(engine)
    table = engine.snapshot.generation.tables["pin"]
    chosen = [table.row_of[f"pin{number}"] for number in (0, 40, 80, 48)[:namesakes]]  # bedrooms
    names = table.full_name.copy()
    names[chosen] = name_key("boho bedroom")
    tables = engine.snapshot.generation.tables | {"pin": replace(table, full_name=names)}
    engine.swap(
        replace(engine.snapshot, generation=replace(engine.snapshot.generation, tables=tables))
    )
    found = [hit.id for hit in engine.search("Boho  BEDROOM", k=namesakes).hits]
    assert (set(found) == {table.ids[row] for row in chosen}) == first


def test_the_first_results_of_each_source_pass_l1(make_engine: Any) -> None:
    engine = against(make_engine(l1_keep=1))
    found = [(entity, key) for entity, key, _ in engine.rank("boho bedroom", "full", 300)]
    for system in ("token", "embedding"):
        first = [(entity, key) for entity, key, _ in engine.rank("boho bedroom", system, 10)]
        assert set(first) <= set(found), system
