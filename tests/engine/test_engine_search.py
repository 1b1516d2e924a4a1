"""Searching: pages, filters, systems, explanations, and what users type."""

from __future__ import annotations

import threading
from itertools import product
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from omnisearch.data.workspace.errors import InputError
from omnisearch.engine.attributes import Attributes
from omnisearch.engine.filters import Filters, allowed_rows
from omnisearch.engine.hits import hits_of
from omnisearch.engine.index import Items
from omnisearch.engine.search import SearchEngine
from omnisearch.engine.sources import SOURCES
from omnisearch.engine.systems import SYSTEMS


def items(response: Any) -> list[tuple[str, str]]:
    return [(hit.entity, hit.id) for hit in response.hits]


def test_the_right_things_come_first(engine: SearchEngine) -> None:
    response = engine.search("boho bedroom", k=4)
    assert response.query == "boho bedroom" and response.generation == 1
    assert [hit.rank for hit in response.hits] == [1, 2, 3, 4]
    assert {hit.id for hit in response.hits[:2]} == {"pin40", "pin80"}
    scores = [hit.score for hit in response.hits]
    assert scores == sorted(scores, reverse=True)
    hit = next(hit for hit in response.hits if hit.id == "pin40")
    assert (hit.title, hit.image) == ("boho bedroom idea 40", "pictures/40.svg")
    assert hit.link == "https://example.org/40" and not hit.is_ad


@pytest.mark.parametrize(
    ("link", "given"),
    [
        ("https://example.org/p?q=1", True),
        ("/p/7", True),
        ("javascript:alert(1)", False),
        ("JavaScript:alert(1)", False),
        ("java\tscript:alert(1)", False),
        ("\x01javascript:alert(1)", False),
        (" data:text/html,<script>", False),
        ("", False),
        (None, False),
    ],
)
def test_a_link_is_handed_out_where_it_is_safe(link: str | None, given: bool) -> None:
    """Catalogues imported earlier hold any link, so the results are looked at, too."""
    fields = {"id": "a", "title": "a lamp", "link": link, "is_ad": False}
    snapshot: Any = SimpleNamespace(index=SimpleNamespace(display=lambda items: [fields]))
    items = Items(np.zeros(1, np.uint8), np.zeros(1, np.int32))
    (hit,) = hits_of(snapshot, items, np.zeros(1, np.float32))
    assert hit.link == (link if given else None)


def test_related_queries_stand_beside_the_results(engine: SearchEngine) -> None:
    related = engine.search("boho bedroom").related
    assert 0 < len(related) <= 8
    texts = [entry.query for entry in related]
    assert "boho bedroom" not in texts and "bedroom boho" not in texts
    assert all("boho" in text or "bedroom" in text for text in texts[:4])
    assert [entry.score for entry in related] == sorted((e.score for e in related), reverse=True)


@pytest.mark.parametrize("system", SYSTEMS)
def test_pages_are_slices_of_one_feed(engine: SearchEngine, system: str) -> None:
    whole = engine.search("boho bedroom sofa", k=10_000, system=system)
    assert len(whole.hits) == whole.total
    for k in (1, 7, 20):
        paged: list[tuple[str, str]] = []
        for page in range(1, whole.total // k + 3):
            response = engine.search("boho bedroom sofa", k=k, page=page, system=system)
            assert response.total == whole.total
            assert [h.rank for h in response.hits] == list(
                range((page - 1) * k + 1, min(page * k, whole.total) + 1)
            )
            paged += items(response)
        assert paged == items(whole)
    assert len(set(items(whole))) == len(whole.hits)


def test_a_page_beyond_the_end_is_empty(engine: SearchEngine) -> None:
    response = engine.search("boho", k=20, page=1000)
    assert response.hits == [] and response.total > 0


def test_depths_do_not_follow_from_k(engine: SearchEngine) -> None:
    spaces = engine.snapshot.generation.spaces
    for space in spaces.values():
        space.asked.clear()
    engine.search("boho", k=1)
    first = {key: list(space.asked) for key, space in spaces.items()}
    for space in spaces.values():
        space.asked.clear()
    engine.search("boho", k=200, page=3)
    assert first == {key: list(space.asked) for key, space in spaces.items()}
    assert first["pin", "learned"] == [(150, 150)]


@pytest.mark.parametrize("system", SYSTEMS)
def test_rank_gives_the_order_of_search(engine: SearchEngine, system: str) -> None:
    ranked = engine.rank("vintage sink", system, 25)
    response = engine.search("vintage sink", k=25, system=system)
    assert [(entity, key) for entity, key, _ in ranked] == items(response)
    assert [score for *_, score in ranked] == [hit.score for hit in response.hits]


def test_each_system_is_what_its_name_says(engine: SearchEngine) -> None:
    query = "rustic kitchen"
    for system, source in (("token", "token"), ("embedding", "learned"), ("compat", None)):
        for hit in engine.search(query, k=50, system=system, explain=True).hits:
            assert hit.explain is not None
            names = set(hit.explain["sources"])
            assert len(names) == 1
            if source:
                assert next(iter(names)).startswith(source)
    assert {h.entity for h in engine.search(query, k=50, system="pinsage").hits} == {"pin"}
    assert {h.entity for h in engine.search(query, k=50, system="itemsage").hits} == {"product"}
    token = [key for _, key, _ in engine.rank(query, "token", 10)]
    dense = [key for _, key, _ in engine.rank(query, "embedding", 10)]
    fused = [key for _, key, _ in engine.rank(query, "rrf", 10)]
    assert token != dense and set(fused) & set(token) and set(fused) & set(dense)


def test_no_query_is_encoded_for_tokens_alone(engine: SearchEngine) -> None:
    response = engine.search("boho", system="token")
    assert response.cached is None and engine.snapshot.encoder.encoded == 0
    assert engine.search("boho").cached is False
    assert engine.search("BOHO ").cached is True
    assert engine.snapshot.encoder.encoded == 1


def test_explain_shows_every_source_and_the_exact_cosines(engine: SearchEngine) -> None:
    generation = engine.snapshot.generation
    vector = engine.snapshot.encoder.queries(["nordic lamp"])[0]
    response = engine.search("nordic lamp", k=200, explain=True)
    tokens_missing = compat_missing = 0
    for hit in response.hits:
        explain = hit.explain
        assert explain is not None and explain["sources"]
        row = generation.tables[hit.entity].row_of[hit.id]
        learned = generation.spaces[hit.entity, "learned"].vectors[row]
        assert explain["learned"] == pytest.approx(float(learned @ vector), abs=1e-5)
        older = generation.spaces[hit.entity, {"pin": "pinsage", "product": "itemsage"}[hit.entity]]
        if older.vectors[row].any():
            assert explain["compat"] == pytest.approx(float(older.vectors[row] @ vector), abs=1e-5)
        else:
            compat_missing += 1
            assert explain["compat"] is None
        token = explain["sources"].get(
            {"pin": "token_pins", "product": "token_products"}[hit.entity]
        )
        if token is None:
            tokens_missing += 1
            assert explain["bm25"] is None
        else:
            assert explain["bm25"] == token["score"] > 0
    assert tokens_missing and compat_missing


def test_explain_is_plain_json(engine: SearchEngine) -> None:
    import orjson

    response = engine.search("nordic lamp", explain=True)
    assert orjson.loads(orjson.dumps(response.to_json()))["hits"][0]["explain"]["sources"]


FILTERS = {
    "entity": ["pin", "product", None],
    "language": ["EN", None],
    "country": ["us", None],
    "price": [(100, 400), (None, 300), None],
    "brand": ["old forge", "ästhetik", None],
    "board": ["board 1", None],
    "ads": [True, False, None],
}


def _fits(row: dict[str, Any], entity: str, wanted: dict[str, Any], boards: set[str]) -> bool:
    price = row.get("price")
    low, high = wanted["price"] or (None, None)
    return (
        wanted["entity"] in (None, entity)
        and (not wanted["language"] or (row["language"] or "") == "en")
        and (not wanted["country"] or (row["country"] or "") == "US")
        and (low is None or (price is not None and price >= low))
        and (high is None or (price is not None and price <= high))
        and (not wanted["brand"] or (row.get("brand") or "").casefold() == wanted["brand"])
        and (not wanted["board"] or row["id"] in boards)
        and (wanted["ads"] is None or bool(row["campaign"]) == wanted["ads"])
    )


def test_every_combination_of_filters_equals_a_plain_loop(engine: SearchEngine) -> None:
    from omnisearch.data.catalogue.schema import open_catalogue

    db = open_catalogue(engine.workspace.catalogue)
    rows = [("pin", row) for row in db.query("SELECT * FROM pins")]
    rows += [("product", row) for row in db.query("SELECT * FROM products")]
    boards = {row["item_id"] for row in db["board_items"].rows}
    tables = engine.snapshot.generation.tables
    combinations = 0
    for values in product(*FILTERS.values()):
        wanted = dict(zip(FILTERS, values, strict=True))
        low, high = wanted["price"] or (None, None)
        named = {key: value for key, value in wanted.items() if key != "price"}
        filters = Filters(**named, price_min=low, price_max=high)
        expected = {row["id"] for entity, row in rows if _fits(row, entity, wanted, boards)}
        found: set[str] = set()
        for entity in ("pin", "product"):
            mask = allowed_rows(filters, entity, tables[entity], Attributes(tables))
            chosen = np.ones(len(tables[entity]), bool) if mask is None else mask
            found.update(tables[entity].ids[row] for row in np.flatnonzero(chosen))
        assert found == expected, wanted
        combinations += 1
    assert combinations == 3 * 2 * 2 * 3 * 3 * 2 * 3


@pytest.mark.parametrize(
    "filters",
    [
        Filters(entity="product"),
        Filters(language="de"),
        Filters(price_min=50, price_max=500, brand="Old Forge"),
        Filters(board="board 1"),
        Filters(ads=True),
        Filters(ads=False, country="US"),
        Filters(entity="pin", language="en", ads=False),
    ],
)
def test_filters_act_inside_the_retrieval_and_pages_stay_full(
    make_engine: Any, filters: Filters
) -> None:
    engine = make_engine(
        depths={name: 30 if name.startswith("learned") else 10 for name in SOURCES},
    )
    allowed = {}
    for entity in ("pin", "product"):
        table = engine.snapshot.generation.tables[entity]
        mask = allowed_rows(filters, entity, table, engine.snapshot.index.attributes)
        allowed[entity] = np.ones(len(table), bool) if mask is None else mask
    response = engine.search("garden mirror", k=30, filters=filters)
    most = sum(min(30, int(mask.sum())) for mask in allowed.values())
    assert len(response.hits) == min(30, most)
    for hit in response.hits:
        table = engine.snapshot.generation.tables[hit.entity]
        assert allowed[hit.entity][table.row_of[hit.id]]


def test_a_filter_that_nothing_meets_gives_no_hit(engine: SearchEngine) -> None:
    for filters in (Filters(brand="nobody"), Filters(entity="pin", price_min=1), Filters(board="")):
        response = engine.search("boho", filters=filters)
        assert (response.hits, response.total) == ([], 0)
        assert response.related


def test_the_feed_keeps_its_shares_but_not_against_a_filter(make_engine: Any) -> None:
    engine = make_engine(ad_share=0.1, min_share=0.25)
    hits = engine.search("sofa", k=40).hits
    for place in range(1, 41):
        head = hits[:place]
        assert sum(hit.is_ad for hit in head) <= -(-place // 10)
        for entity in ("pin", "product"):
            assert sum(hit.entity == entity for hit in head) >= int(place * 0.25)
    assert all(hit.is_ad for hit in engine.search("sofa", k=10, filters=Filters(ads=True)).hits)
    bounded = engine.search("sofa", k=40, explain=True).hits
    assert {hit.explain["blend"] for hit in bounded if hit.explain} == {"bound", "score"}


@pytest.mark.parametrize("query", ["", "  \n\t", "\x00", "\u200b\u200d"])
def test_an_empty_query_says_what_to_do(engine: SearchEngine, query: str) -> None:
    with pytest.raises(InputError, match="empty") as caught:
        engine.search(query)
    assert caught.value.how
    with pytest.raises(InputError):
        engine.rank(query)


@pytest.mark.parametrize(
    ("arguments", "where"),
    [
        ({"k": 0}, "k"),
        ({"k": -3}, "k"),
        ({"k": 2.5}, "k"),
        ({"page": 0}, "page"),
        ({"system": "magic"}, "system"),
    ],
)
def test_bad_arguments_are_named(
    engine: SearchEngine, arguments: dict[str, Any], where: str
) -> None:
    with pytest.raises(InputError) as caught:
        engine.search("boho", **arguments)
    assert caught.value.where == where


@pytest.mark.parametrize(
    "values",
    [
        {"entity": "board"},
        {"brand": 5},
        {"price_max": "cheap"},
        {"price_min": float("nan")},
        {"price_min": 5, "price_max": 4},
    ],
)
def test_bad_filters_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        Filters(**values)


def test_a_very_long_query_is_cut_and_the_answer_says_so(engine: SearchEngine) -> None:
    response = engine.search("boho bedroom " * 800, k=5)
    assert len(response.hits) == 5 and len(response.query) <= 512
    assert any("cut" in note for note in response.notes)
    assert not any("cut" in note for note in engine.search("boho bedroom").notes)
    one_word = engine.search("x" * 10_000)
    assert len(one_word.query) == 512 and any("512" in note for note in one_word.notes)


@pytest.mark.parametrize(
    "query",
    [
        "boho-Schlafzimmer",
        "диван",
        "沙发",
        "ソファ",
        "أريكة",
        "सोफ़ा",
        "โซฟา",
        "ספה",
        "🛋️",
        'title:"(boho AND',
        "\ud800boho",
    ],
)
def test_any_script_and_any_sign_gets_an_answer(engine: SearchEngine, query: str) -> None:
    for system in SYSTEMS:
        response = engine.search(query, k=5, system=system)
        assert response.system == system
        if system == "full":
            assert len(response.hits) == 5


def test_a_search_in_eight_threads_equals_one_alone(engine: SearchEngine) -> None:
    queries = ["boho sofa", "nordic lamp", "garden", "vintage mirror"]
    filters = [None, Filters(entity="pin"), Filters(price_max=300), Filters(ads=False)]
    expected = {(q, f): items(engine.search(q, filters=f)) for q, f in product(queries, filters)}
    wrong: list[Any] = []

    def work(shift: int) -> None:
        jobs = list(expected)
        for job in jobs[shift:] + jobs[:shift]:
            if items(engine.search(job[0], filters=job[1])) != expected[job]:
                wrong.append(job)

    threads = [threading.Thread(target=work, args=(shift,)) for shift in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_system_without_rankers_has_no_note_on_them(engine: SearchEngine) -> None:
    assert not engine.search("boho", system="embedding").notes


def test_stages_are_parts_of_the_time_taken(engine: SearchEngine) -> None:
    response = engine.search("boho bedroom")
    assert {"query", "retrieve", "blend", "related", "response"} <= set(response.stages)
    assert 0 < sum(response.stages.values()) <= response.took_ms


def test_settings_out_of_range_are_refused(make_engine: Any) -> None:
    with pytest.raises(InputError, match="min_share"):
        make_engine(min_share=0.7)
