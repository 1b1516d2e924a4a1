"""What a shop's rules hide is replaced by what comes next, in a cluster as in files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from test_cluster_search import Engines, same

from omnisearch.data.workspace import Workspace
from omnisearch.engine.config import EngineConfig, default_depths
from omnisearch.engine.filters import Filters
from omnisearch.engine.rules.file import read_rules
from omnisearch.engine.rules.published import Rules
from omnisearch.engine.search import SearchEngine
from omnisearch.indexer.cluster import segment
from omnisearch.indexer.cluster.nodes import Nodes, Unreachable

# Graph searches find all; rules hide more than twice the depth of a source.
SHALLOW = EngineConfig(ef=2_000, depths=dict.fromkeys(default_depths(), 20))
MANY = 120, 60  # of 400 pins and 100 products
QUERIES = ("kitchen rug", "blue lamp", "wooden chair")


@pytest.fixture(scope="module")
def plain(clustered: Workspace) -> Engines:
    """One over files, and one over a cluster that has the same build."""
    here, there = (SearchEngine.open(clustered, SHALLOW, number=number) for number in (1, 2))
    return here, there


@pytest.fixture
def hiding(plain: Engines) -> Any:
    """A function: both engines with rules that hide, for each query, the first so many pins and
    products."""

    def hides(pins: int, products: int) -> Engines:
        text = "version = 1\n"
        for query in QUERIES:
            vector, _ = plain[0].cache.vector(plain[0].snapshot.encoder, query)
            for entity, most in (("pin", pins), ("product", products)):
                generation = plain[0].snapshot.generation
                rows, _ = generation.spaces[entity, "learned"].exact(vector, most)
                ids = generation.tables[entity].ids
                listed = ", ".join(f"'{entity}/{ids[row]}'" for row in rows.tolist())
                text += f"[[hide]]\nquery = '{query}'\nitem = [{listed}]\n"
        rules, faults = read_rules(text.encode())
        assert faults == []
        return with_rules(plain[0], rules), with_rules(plain[1], rules)

    return hides


def with_rules(engine: SearchEngine, rules: Sequence[Any]) -> SearchEngine:
    snapshot = replace(engine.snapshot, rules=Rules(1, tuple(rules)))
    _ = snapshot.ads_of_items  # fetches vectors
    return SearchEngine(engine.workspace, snapshot, engine.cache, engine.config)


def nodes_of(engine: SearchEngine) -> Nodes:
    collections = engine.snapshot.generation.segments[0].collections
    assert collections is not None
    return collections.nodes


@pytest.mark.parametrize(
    ("named", "most_trips"),
    [(2_000, 3), (150, 3), (0, 20)],
    ids=["those that are shown are named", "those that are hidden", "none"],
)
def test_many_of_the_first_results_are_hidden(
    hiding: Any, monkeypatch: pytest.MonkeyPatch, named: int, most_trips: int
) -> None:
    monkeypatch.setattr(segment, "_NAMED", named)
    monkeypatch.setattr(segment, "_NAMED_SHARE", 0.0)
    engines: Engines = hiding(*MANY)
    trips, together = list[str](), nodes_of(engines[1]).together

    def counted(method: str, requests: Any) -> list[Any]:
        trips.append(method)
        return together(method, requests)

    monkeypatch.setattr(nodes_of(engines[1]), "together", counted)
    for query in QUERIES:
        for filters in (Filters(), Filters(language="en"), Filters(entity="pin")):
            for system in ("token", "embedding", "full"):
                trips.clear()
                here, there = (
                    each.search(query, 300, filters=filters, system=system) for each in engines
                )
                same(here, there)
                assert len(there.hits) >= 20 or system == "token"
                assert len(trips) <= most_trips


def test_few_of_the_first_results_are_hidden(hiding: Any) -> None:
    engines = hiding(6, 4)
    for query in QUERIES:
        same(*(each.search(query, 300, facets=["auto"]) for each in engines))


def test_what_is_found_already_is_shown_if_no_node_answers_again(
    hiding: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = hiding(*MANY)[1]
    together, trips = nodes_of(engine).together, list[str]()

    def once(method: str, requests: Any) -> list[Any]:
        trips.append(method)
        if len(trips) > 1:
            raise Unreachable("No node of the cluster answered.")
        return together(method, requests)

    monkeypatch.setattr(nodes_of(engine), "together", once)
    found = engine.search(QUERIES[0], 300)
    assert "learned_pins" in found.degraded
    hidden = {item for rule in engine.snapshot.rules.rules[:2] for item in rule.item}
    assert found.hits and not hidden & {(hit.entity, hit.id) for hit in found.hits}
