"""How many items match: the whole way from files, over several segments, against a plain loop."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from omnisearch import pipeline
from omnisearch.cli.search import show
from omnisearch.data.catalogue.schema import open_catalogue
from omnisearch.data.workspace import Workspace
from omnisearch.encoders.no_encoder import NoEncoder
from omnisearch.engine.filters import Filters
from omnisearch.engine.rules.file import read_rules
from omnisearch.engine.rules.published import Rules
from omnisearch.engine.search import SearchEngine
from omnisearch.indexer import increment
from omnisearch.indexer.update import update

WORDS = ("sofa", "lamp", "oak", "brass", "linen", "rustic")
BRANDS = ("Old Forge", "A|B", "back\\slash", "\\|", "x = 3 > 2", "café")
HIDE = r"""version = 1
[[hide]]
all = true
filter = "colour=red"
[[hide]]
query = "oak"
filter = 'brand=A\|B'
"""


def product(number: int, seed: int) -> dict[str, Any]:
    rng = np.random.default_rng((seed, number))
    return {
        "id": f"p{number:03}",
        "title": " ".join(rng.choice(WORDS, rng.integers(1, 5))),
        "brand": str(rng.choice(BRANDS)),
        "price": int(rng.integers(1, 60)),
        "language": str(rng.choice(["en", "en-us", "de"])),
        "availability": str(rng.choice(["in stock", "out of stock"])),
        "colour": [str(each) for each in rng.choice(["red", "blue", "a|b"], 2)],
        "category": " > ".join(["Home", *rng.choice(["Bed|Bath", "Sofas", "Big > Lamps"], 1)]),
    }


@pytest.fixture(scope="module")
def shops(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The products that there are in the end, and an engine over them for each token index."""
    folder = tmp_path_factory.mktemp("shop")
    workspace = Workspace.create(folder / "shop")

    def publish(numbers: range, seed: int, gone: tuple[str, ...] = ()) -> None:
        rows = [product(number, seed) for number in numbers]
        file = folder / f"products-{seed}.jsonl"
        file.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
        pipeline.import_files(workspace, [file], kind="products")
        db = open_catalogue(workspace.catalogue)
        for key in gone:
            db.conn.execute("DELETE FROM products WHERE id = ?", [key])
        db.conn.commit()
        update(workspace, db, NoEncoder())
        db.conn.close()
        there.update({row["id"]: row for row in rows})
        for key in gone:
            del there[key]

    there: dict[str, dict[str, Any]] = {}
    publish(range(150), 0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(increment, "_SMALL", 0)  # so few items would be one segment
        publish(range(120, 160), 1, ("p000", "p001"))
        publish(range(155, 163), 2, ("p002", "p121", "p150"))
    engines = [SearchEngine.open(workspace, token_backend=each) for each in BACKENDS]
    assert len(engines[0].snapshot.generation.segments) == 3
    return list(there.values()), engines


BACKENDS = ("tantivy", "rank-bm25")
QUERY = st.lists(st.sampled_from((*WORDS, "unheard")), min_size=1, max_size=3, unique=True)
FILTER = st.sampled_from(("colour=blue", "price<30", r"brand=A\|B|café", "language=en"))
IS = {
    "colour=blue": lambda item: "blue" in item["colour"],
    "price<30": lambda item: item["price"] < 30,
    r"brand=A\|B|café": lambda item: item["brand"] in ("A|B", "café"),
    "language=en": lambda item: item["language"] in ("en", "en-us"),
}


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    QUERY,
    st.lists(FILTER, max_size=2, unique=True),
    st.sampled_from(("hide", "sink", "show")),
    st.booleans(),
)
def test_what_matches_has_all_words_and_may_be_shown(
    shops: Any, query: list[str], where: list[str], stock: str, with_rules: bool
) -> None:
    items, engines = shops
    rules, faults = read_rules(HIDE.encode())
    assert not faults
    matching = {
        item["id"]
        for item in items
        if set(query) <= set(item["title"].split())
        and all(IS[text](item) for text in where)
        and not (stock == "hide" and item["availability"] == "out of stock")
        and not (with_rules and "red" in item["colour"])
        and not (with_rules and query == ["oak"] and item["brand"] == "A|B")
    }
    filters = Filters(where=tuple(where), out_of_stock=stock)
    for engine in engines:
        published = Rules(1, tuple(rules)) if with_rules else None
        engine.swap(replace(engine.snapshot, rules=published))
        found = engine.search(" ".join(query), 200, filters=filters)
        assert found.matching == len(matching)
        assert matching <= {hit.id for hit in found.hits}
        ordered = engine.search(" ".join(query), 200, filters=filters, sort="price")
        assert ordered.matching == len(matching)
        if matching:
            assert {hit.id for hit in ordered.hits} == matching
            assert ordered.total == len(matching)
        assert engine.search(" ".join(query), 2, 3, filters).matching == len(matching)
        engine.swap(replace(engine.snapshot, rules=None))  # other tests have the engine, too


FACETS = ("brand", "colour", "price", "category", "language", "availability")


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(QUERY, st.lists(FILTER, max_size=2, unique=True), st.sampled_from(("hide", "show")))
def test_a_value_counts_what_its_filter_then_finds(
    shops: Any, query: list[str], where: list[str], stock: str
) -> None:
    engine, text = shops[1][0], " ".join(query)
    engine.swap(replace(engine.snapshot, rules=None))

    def matching(*where: str) -> int:
        return engine.search(text, 1, filters=Filters(where=where, out_of_stock=stock)).matching

    filters = Filters(where=tuple(where), out_of_stock=stock)
    for facet in engine.search(text, facets=FACETS, filters=filters).facets:
        others = [each for each in where if not each.startswith(facet.name)]
        if not matching(*others):
            continue  # what was found is counted
        assert sum(each.count for each in facet.values) > 0
        for each in facet.values:
            assert matching(*others, each.filter) == each.count, each


def test_what_is_only_near_does_not_match(shops: Any) -> None:
    for engine in shops[1]:
        found = engine.search("oak unheard", 200)
        assert found.matching == 0 < found.total
        assert engine.search("qqqzzz").matching == 0
        assert engine.search("?!").matching == 0
        assert engine.search("oak without sofa").matching == engine.search("oak").matching


def test_without_a_match_facets_count_what_was_found(shops: Any) -> None:
    engine = shops[1][0]
    found = engine.search("oak unheard", 200, facets=("language",))
    assert found.facets and sum(each.count for each in found.facets[0].values) >= found.total


def test_the_command_line_tells_it(shops: Any, capsys: pytest.CaptureFixture[str]) -> None:
    items, (engine, _) = shops
    engine.swap(replace(engine.snapshot, rules=None))
    have = sum("oak" in item["title"].split() for item in items)
    show(engine.search("oak"))
    show(engine.search("oak unheard"))
    told = " ".join(capsys.readouterr().out.split())
    assert f"{have} items have all words of the query; {have} results of generation" in told
    assert "No item has all words of the query; " in told


def test_a_number_need_not_stand_beside_the_querys_words(workspace: Workspace) -> None:
    db = open_catalogue(workspace.catalogue, create=True)
    titles = ("Table oak 80 cm", "Table 80 cm", "Table 90 cm", "RTX 4090", "4090 mAh for RTX 4080")
    db["products"].insert_all(
        {"id": f"p{number}", "title": title} for number, title in enumerate(titles)
    )
    db.conn.commit()
    update(workspace, db, NoEncoder())
    db.conn.close()
    engine = SearchEngine.open(workspace)
    matching = {query: engine.search(query).matching for query in ("table 80 cm", "rtx 4090")}
    assert matching == {"table 80 cm": 2, "rtx 4090": 2}
    assert [hit.id for hit in engine.search("table 80 cm").hits[:2]] == ["p1", "p0"]
    assert engine.search("rtx 4090").hits[0].id == "p3"
    engine.close()


def test_an_item_matches_by_its_code(workspace: Workspace) -> None:
    db = open_catalogue(workspace.catalogue, create=True)
    for key, sku in (("A-10007", "WH-1000XM4"), ("A-10008", None)):
        db["products"].insert({"id": key, "title": "Garden chair", "sku": sku}, alter=False)
    db.conn.commit()
    update(workspace, db, NoEncoder())
    db.conn.close()
    engine = SearchEngine.open(workspace)
    for query in ("A-10007", "a10007", "wh1000 xm4"):
        answer = engine.search(query)
        assert (answer.matching, answer.hits[0].id) == (1, "A-10007")
    assert engine.search("garden chair").matching == 2
    engine.close()
