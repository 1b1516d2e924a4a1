"""What a build puts into a cluster, against the catalogue, the signals and tantivy."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import numpy as np
import pytest
from qdrant_nodes import asked

from omnisearch.data.catalogue.schema import ITEM_ENTITIES, open_catalogue
from omnisearch.data.text.keys import key_of, term_keys
from omnisearch.data.text.tokens import query_tokens
from omnisearch.data.workspace import Workspace
from omnisearch.indexer.cluster.names import WORDS, code_fields, number_fields, signed
from omnisearch.indexer.generation import Generation
from omnisearch.indexer.parts.token_index import Statistics, idf, stems_of, weights_of

TABLES = {"pin": "pins", "product": "products"}


@pytest.fixture(scope="module")
def client(clustered: Workspace, node: list[str]) -> Any:
    with asked(node, "clustered") as nodes:
        yield nodes.clients[0]


@pytest.fixture(scope="module")
def local(trained: Workspace) -> Generation:
    """The same items, in files."""
    return Generation.open(trained)


def points(client: Any, entity: str, vectors: Any = False) -> dict[int, Any]:
    found, after = client.scroll(f"clustered_2_{entity}", limit=10_000, with_vectors=vectors)
    assert after is None
    return {each.id: each for each in found}


@pytest.mark.parametrize("entity", ["pin", "product", "query"])
def test_each_item_has_a_point_with_its_vectors(
    entity: str, client: Any, trained: Workspace, local: Generation
) -> None:
    there = points(client, entity, vectors=True)
    assert sorted(there) == list(range(len(local.tables[entity])))
    files = list(trained.signals.glob(f"*/*/{entity}-*.npy"))
    names = {path.stem.partition("-")[2]: path for path in files}
    names.pop("hashes", None)
    assert "learned" in names and ("pinsage" in names) == (entity == "pin")
    for name, path in names.items():
        for place, vector in enumerate(np.load(path)):
            given = there[place].vector.get(name)
            assert (given is None) == (not vector.any())
            assert given is None or np.array_equal(np.array(given, np.float32), vector)


@pytest.mark.parametrize("entity", ITEM_ENTITIES)
def test_payloads_are_what_the_catalogue_says(
    entity: str, client: Any, trained: Workspace, local: Generation
) -> None:
    there = points(client, entity)
    db = open_catalogue(trained.catalogue)
    with closing(db.conn):
        cursor = db.conn.execute(f"SELECT * FROM {TABLES[entity]} ORDER BY id")
        names = [column[0] for column in cursor.description]
        items = [dict(zip(names, row, strict=True)) for row in cursor]
        boards: dict[str, set[str]] = {}
        for board, item in db.conn.execute(
            "SELECT board_id, item_id FROM board_items WHERE entity = ?", [entity]
        ):
            boards.setdefault(item, set()).add(board)
    attributes = local.tables[entity].attributes
    codes, numbers = code_fields(attributes), number_fields(attributes)
    for place, item in enumerate(items):
        payload = there[place].payload
        language = item["language"] and item["language"].lower()
        inside = [] if not language else [language.partition("-")[0], language]
        assert payload.get("language", []) == list(dict.fromkeys(inside))
        for name in ("country", "brand"):
            assert payload.get(name) == (item.get(name) and item[name].casefold())
        price = item.get("price")
        assert payload.get("price") == (price if price is None else pytest.approx(price, rel=1e-7))
        assert payload["is_ad"] == (item["campaign"] is not None)
        keys = {signed(key_of(board)) for board in boards.get(item["id"], ())}
        assert set(payload.get("boards", [])) == keys
        for name in {"language", "price"} & attributes.keys():
            values = [attributes[name].values[code] for code in payload.get(codes[name], [])]
            assert values == ([] if item[name] is None else [f"{item[name]}".removesuffix(".0")])
            if name in numbers:
                given = payload.get(numbers[name], [])
                assert given == ([] if item[name] is None else [item[name]])
    assert any(each.payload.get("price") for each in there.values()) == (entity == "product")


def test_words_score_as_in_tantivy(client: Any, trained: Workspace, local: Generation) -> None:
    from qdrant_client import models

    db = open_catalogue(trained.catalogue)
    with closing(db.conn):
        texts = [row[0] for row in db.conn.execute("SELECT text FROM queries ORDER BY id")]
    tried = 0
    for entity in ITEM_ENTITIES:
        index: Any = local.tokens[entity]
        among = Statistics(len(local.tables[entity]), index.frequency)
        for text in texts:
            terms = query_tokens(text)
            weights = weights_of(terms, among)
            if not weights or stems_of(terms, weights):
                continue  # of a word and its stem an index takes the better one
            tried += 1
            rows, scores = index.search(terms, 20)
            values = [
                weight * idf(among.rows, among.frequency(term)) for term, weight in weights.items()
            ]
            keys = term_keys(weights).tolist()
            found = client.query_points(
                f"clustered_2_{entity}",
                query=models.SparseVector(indices=keys, values=values),
                using=WORDS,
                limit=20,
            ).points
            assert [each.score for each in found] == pytest.approx(scores.tolist(), rel=1e-5)
            by_place = {each.id: each.score for each in found}
            clear = [at for at, score in enumerate(scores) if score > scores[-1] * 1.0001]
            assert {int(rows[at]) for at in clear} <= by_place.keys()
    assert tried >= 20


def test_searches_filter_by_payload(client: Any, local: Generation) -> None:
    from qdrant_client import models

    table = local.tables["product"]
    price = float(np.nanmedian(table.price))
    within = models.FieldCondition(key="price", range=models.Range(lte=price))
    found = client.count("clustered_2_product", count_filter=models.Filter(must=[within]))
    assert found.count == int((table.price <= np.float32(price)).sum()) > 0
    english = models.FieldCondition(key="language", match=models.MatchValue(value="en"))
    found = client.count("clustered_2_pin", count_filter=models.Filter(must=[english]))
    assert found.count == int(local.tables["pin"].language.mask_within("en").sum()) > 0
