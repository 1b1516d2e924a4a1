"""What a search finds in a cluster is what it finds in files: the same engine over both."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qdrant_nodes import settle_in

from omnisearch import pipeline
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import InputError
from omnisearch.engine.cluster.index import ClusterIndex
from omnisearch.engine.config import EngineConfig, default_depths
from omnisearch.engine.filters import Filters
from omnisearch.engine.response import Response
from omnisearch.engine.search import SearchEngine
from omnisearch.engine.similar import similar_items
from omnisearch.engine.systems import SYSTEMS
from omnisearch.indexer.cluster.segment import RemoteSpace, RemoteTokens
from omnisearch.indexer.parts.spelling import Spelling

BROAD = EngineConfig(ef=2_000)  # graph searches then find all
Engines = tuple[SearchEngine, SearchEngine]


@pytest.fixture(scope="module")
def engines(clustered: Workspace) -> Engines:
    """One over files, and one over a cluster that has the same build."""
    found = tuple(SearchEngine.open(clustered, BROAD, number=number) for number in (1, 2))
    assert isinstance(found[1].snapshot.index, ClusterIndex)
    assert not isinstance(found[0].snapshot.index, ClusterIndex)
    return found  # type: ignore[return-value]


@pytest.fixture(scope="module")
def queries(engines: Engines) -> list[str]:
    ids = engines[0].snapshot.generation.tables["query"].ids
    chosen = np.random.default_rng(3).choice(len(ids), 25, replace=False)
    return [*(ids[at] for at in chosen), "zzqx", "blue lapm", "red lamp without shade"]


def told(response: Response) -> dict[str, Any]:
    """All that a response says, but what depends on the time and the generation."""
    values = {name: getattr(response, name) for name in response.__dataclass_fields__}
    for name in ("took_ms", "generation", "stages", "cached", "hits", "related"):
        del values[name]
    return values


def same(here: Response, there: Response, within: float = 1e-3) -> None:
    """Assert that two responses agree, scores up to rounding."""
    assert told(here) == told(there)
    assert [(h.entity, h.id, h.title, h.price) for h in here.hits] == [
        (h.entity, h.id, h.title, h.price) for h in there.hits
    ]
    assert [h.score for h in here.hits] == pytest.approx([h.score for h in there.hits], abs=within)
    assert [each.query for each in here.related] == [each.query for each in there.related]
    for a, b in zip(here.hits, there.hits, strict=True):
        assert (a.explain is None) == (b.explain is None)


@pytest.mark.parametrize("system", list(SYSTEMS))
def test_every_system_answers_alike(engines: Engines, queries: list[str], system: str) -> None:
    for query in queries:
        same(*(each.search(query, 20, system=system, explain=True) for each in engines))


def test_bm25_is_that_of_the_token_index(engines: Engines, queries: list[str]) -> None:
    """The scores of tantivy, stems and all."""
    for query in queries:
        here, there = (each.rank(query, "token", 100) for each in engines)
        assert [item[:2] for item in here] == [item[:2] for item in there]
        scores = [[score for *_, score in each] for each in (here, there)]
        assert scores[0] == pytest.approx(scores[1], abs=1e-4)


def misspelled(queries: Iterable[str], words: int = 1) -> list[str]:
    """Queries of several words, of each so many of the longest with two letters in the wrong
    order."""
    found = []
    for query in queries:
        wrong = sorted(query.split(), key=len)[-words:]
        if len(wrong[0]) >= 5 and len(wrong) < len(query.split()):
            for word in wrong:
                query = query.replace(word, f"{word[:2]}{word[3]}{word[2]}{word[4:]}")
            found.append(query)
    return found


def test_spelling_is_corrected_alike_in_one_trip(
    engines: Engines, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = (each.snapshot for each in engines)
    collections = there.generation.segments[0].collections
    assert collections is not None
    trips, near = list[str](), list[int]()
    together, beside = collections.nodes.together, Spelling._beside

    def counted(self: Spelling, found: list[list[str]], *more: Any) -> list[list[str]]:
        near.extend(map(len, found))
        return beside(self, found, *more)

    def sent(method: str, requests: Any) -> list[Any]:
        trips.append(method)
        return together(method, requests)

    monkeypatch.setattr(Spelling, "_beside", counted)
    monkeypatch.setattr(collections.nodes, "together", sent)
    typed, corrected, most = here.generation.tables["query"].ids[::2], 0, 0
    for query in (*misspelled(typed), *misspelled(typed, 2)):
        searched = here.query(query).text
        near.clear(), trips.clear()
        assert there.query(query).text == searched
        assert len(trips) <= bool(near)  # one for all words that are in question
        corrected, most = corrected + (searched != query), max([most, *near])
    assert corrected > 50 and most > 1


def test_the_words_of_a_query_are_corrected_as_each_alone(engines: Engines) -> None:
    """Beside the words that items have."""
    spelling, several = engines[0].snapshot.generation.spelling, 0
    typed = misspelled(engines[0].snapshot.generation.tables["query"].ids, 2)
    for query in (each for each in typed if each.replace(" ", "").isalpha()):
        wrong = [word for word in query.split() if not spelling._found(word)]
        others = " ".join(word for word in query.split() if word not in wrong)
        alone = {word: spelling.replaced(word, others) for word in wrong}
        assert spelling.respelled(query) == " ".join(
            alone.get(word, word) for word in query.split()
        )
        several += sum(word != other for word, other in alone.items()) > 1
    assert several > 10


def filters_of(engine: SearchEngine) -> list[Filters]:
    """A filter of each kind, and conditions on every attribute."""
    attributes = engine.snapshot.index.attributes
    found = [
        Filters(entity="product"),
        Filters(entity="pin", language="EN"),
        Filters(language="de"),
        Filters(country="us"),
        Filters(price_min=10, price_max=60.5),
        Filters(price_min=1e9),
        Filters(ads=True),
        Filters(ads=False, out_of_stock="hide"),
        Filters(board="b000041"),
        Filters(board="no such board"),
    ]
    for name in attributes.names:
        attribute = attributes.named(name)
        if attribute.kind == "number":
            least, most = attribute.range
            middle = (least + most) / 2
            found += [Filters(where=(f"{name}{op}{middle}",)) for op in ("<", ">=")]
            found.append(Filters(where=(f"{name}={least}..{middle}|{most}",)))
        else:
            first, last = attribute.values[0], attribute.values[-1]
            found.append(Filters(where=(f"{name}={first}|{last}",)))
    return found


def test_filters_facets_and_totals_are_the_same(engines: Engines, queries: list[str]) -> None:
    for number, filters in enumerate(filters_of(engines[0])):
        for query in queries[number % 5 :: 9]:
            same(*(each.search(query, 20, filters=filters, facets=["auto"]) for each in engines))


def test_a_filter_on_what_no_item_has_is_refused(engines: Engines) -> None:
    for engine in engines:
        with pytest.raises(InputError, match="No item has the brand"):
            engine.search("lamp", filters=Filters(where=("brand=nobody",)))


def test_pages_neither_repeat_nor_lose_results(engines: Engines, queries: list[str]) -> None:
    for query in queries[:6]:
        whole = [(hit.entity, hit.id) for hit in engines[0].search(query, 60).hits]
        paged = [engines[1].search(query, 20, page=page).hits for page in (1, 2, 3)]
        assert [(hit.entity, hit.id) for page in paged for hit in page] == whole


def test_other_orders_and_similar_items_are_the_same(engines: Engines, queries: list[str]) -> None:
    for query in queries[:8]:
        for sort in ("newest", "price", "-price"):
            same(*(each.search(query, 20, sort=sort) for each in engines))
    for key in engines[0].snapshot.generation.tables["product"].ids[:10]:
        here, there = (similar_items(e.snapshot, "product", key, 10, BROAD) for e in engines)
        assert [hit.id for hit in here] == [hit.id for hit in there]


@pytest.mark.parametrize("share", [0.0, 0.02, 0.3, 0.9])
def test_a_mask_of_any_size_is_kept_to(engines: Engines, share: float) -> None:
    """What reads a space or a token index by itself, without filters that a cluster knows."""
    here, there = (each.snapshot.generation.segments[0] for each in engines)
    space, tokens = there.spaces["pin", "learned"], there.tokens["pin"]
    assert isinstance(space, RemoteSpace) and isinstance(tokens, RemoteTokens)
    rng = np.random.default_rng(5)
    allowed = rng.random(len(there.tables["pin"])) < share
    query = engines[0].snapshot.query(there.tables["query"].ids[7])
    vector, _ = engines[0].cache.vector(engines[0].snapshot.encoder, query.text)
    places, cosines = space.search(vector, 30, 2_000, allowed)
    wanted = here.spaces["pin", "learned"].exact(vector, 30, allowed)
    assert places.tolist() == wanted[0].tolist()
    assert cosines == pytest.approx(wanted[1], abs=1e-6)
    assert space.cosines(places, vector) == pytest.approx(cosines, abs=1e-6)
    assert space.take(places) == pytest.approx(here.spaces["pin", "learned"].take(places), abs=1e-6)
    assert allowed[tokens.search(query.terms, 30, allowed)[0]].all()


def changed(workspace: Workspace, folder: Path) -> None:
    """Import a new product, a changed one and one that is deleted, and update the index."""
    table = SearchEngine.open(workspace).snapshot.generation.tables["product"]
    rows = [
        {"entity": "product", "id": "new1", "title": "quokka lantern of brass", "price": 12.5},
        {"entity": "product", "id": table.ids[3], "title": "quokka lantern of glass"},
        {"entity": "product", "id": table.ids[4], "deleted": True},
    ]
    path = folder / "products.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    for report in pipeline.import_files(workspace, [path]):
        assert not report.refused
    pipeline.update_index(workspace)


def test_many_of_the_first_results_were_deleted(
    clustered: Workspace, trained: Workspace, tmp_path: Path
) -> None:
    """More than twice as many as a source finds."""
    config = EngineConfig(ef=2_000, depths=dict.fromkeys(default_depths(), 15))
    engine = SearchEngine.open(trained)
    vector, _ = engine.cache.vector(engine.snapshot.encoder, "kitchen rug")
    generation = engine.snapshot.generation
    rows, _ = generation.spaces["product", "learned"].exact(vector, 50)
    gone = [generation.tables["product"].ids[row] for row in rows.tolist()]
    path = tmp_path / "deletions.jsonl"
    path.write_text("".join(json.dumps({"entity": "product", "id": key}) + "\n" for key in gone))
    engines = []
    for name, origin in (("local", trained), ("far", clustered)):
        workspace = Workspace(tmp_path / name)
        shutil.copytree(origin.root, workspace.root)
        pipeline.import_files(workspace, [path])
        pipeline.update_index(workspace)
        engines.append(SearchEngine.open(workspace, config))
    far = engines[1].snapshot.generation
    assert far.number == 3 and far.segments[0].number == 2  # the build in the cluster is the same
    for query in ("kitchen rug", "blue lamp"):
        for system in ("token", "embedding", "full"):
            here, there = (
                each.search(query, 15, system=system, filters=Filters(entity="product"))
                for each in engines
            )
            same(here, there)
            assert system == "token" or len(there.hits) == 15


def test_updates_come_on_top(
    clustered: Workspace, trained: Workspace, queries: list[str], tmp_path: Path
) -> None:
    engines = []
    for name, origin in (("local", trained), ("far", clustered)):
        workspace = Workspace(tmp_path / name)
        shutil.copytree(origin.root, workspace.root)
        changed(workspace, tmp_path)
        engines.append(SearchEngine.open(workspace, BROAD))
    far = engines[1].snapshot
    assert isinstance(far.index, ClusterIndex) and len(far.generation.segments) == 2
    for query in (*queries, "quokka lantern"):
        for system in ("token", "embedding", "full"):
            same(*(each.search(query, 20, system=system, facets=["auto"]) for each in engines))
    typed = misspelled(far.generation.tables["query"].ids[::5])
    searched = [[each.snapshot.query(query).text for query in typed] for each in engines]
    assert searched[0] == searched[1] != typed
    first, second = engines[1].search("quokka lantern", 2).hits
    assert {first.title, second.title} == {"quokka lantern of brass", "quokka lantern of glass"}


def test_a_comma_that_is_told_to_be_decimal_after_the_build(
    trained: Workspace, node: list[str], tmp_path: Path
) -> None:
    """Nodes were not given such values as numbers."""
    path, workspace = tmp_path / "products.jsonl", Workspace(tmp_path / "workspace")
    shutil.copytree(trained.root, workspace.root)

    def weigh(**weights: str) -> None:
        rows = (
            {"id": key, "title": "quokka lamp", "weight": each} for key, each in weights.items()
        )
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        pipeline.import_files(workspace, [path])

    weigh(q1="12,5", q2="30,5", q3="heavy", q4="7")
    settle_in(workspace, node, "commas")
    pipeline.build_index(workspace)
    weigh(q3="8,25")
    pipeline.update_index(workspace)
    engine = SearchEngine.open(workspace, BROAD)
    assert isinstance(engine.snapshot.index, ClusterIndex)
    for system in ("token", "full"):
        for condition, wanted in (
            ("weight<20", "134"),
            ("weight=12.5", "1"),
            ("weight>=12.5", "12"),
        ):
            found = engine.search("quokka", system=system, filters=Filters(where=(condition,)))
            assert sorted(hit.id for hit in found.hits) == [f"q{number}" for number in wanted]
