"""From a shop's exports to its served search by the commands of docs/guide/shop.md, no training."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest
from server_process import Server
from typer.testing import CliRunner

from omnisearch.cli.main import app
from omnisearch.data.catalogue.schema import open_catalogue
from omnisearch.pipeline import encoder
from tests.data.importers.shop_feeds import Goods, ga4, google_xml, shop, shopify, woocommerce

RULES = """version = 1
[[pin]]
query = "cosy"
item = "product/{pinned}"
place = 1
[[synonyms]]
words = ["sofa", "settee"]
[[hide]]
all = true
item = "product/gone"
"""


def run(*words: object, status: int = 0) -> str:
    done = CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "200"})
    assert done.exit_code == status, done.output
    return done.output


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("products_export_1.csv", shopify),
        pytest.param("feed.xml", google_xml, marks=pytest.mark.slow),
        pytest.param("wc-product-export.csv", woocommerce, marks=pytest.mark.slow),
    ],
)
def test_from_exports_to_a_served_shop(
    name: str,
    write: Callable[[Path, list[Goods]], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(encoder, "installed", lambda package: False)
    goods = shop(60)
    goods[0].variants[0] = (*goods[0].variants[0][:2], -1.0, 3)  # no price
    products = write(tmp_path / name, goods)
    live = {g.key: g for g in goods if g.status == "active" or write is google_xml}
    now, codes = int(time.time()) - 86_400, [g.codes()[0] for g in live.values()]
    searched = {"name": "view_search_results", "term": "lamp for reading", "items": codes[:2]}
    events = [
        {**searched, "name": kind, "at": now + user, "user": f"u{user}"}
        for user in range(4)
        for kind in ("view_search_results", "select_item")
    ]
    events.append({"name": "page_view", "at": now})
    log, rules = ga4(tmp_path / "events.jsonl", events), tmp_path / "rules.toml"
    where = ("--workspace", tmp_path / "workspace")

    said = run("import", products, *where)
    assert "left out" in said.lower()
    assert "1 event page_view" in run("import", log, *where)
    run("index", "build", *where)
    db = open_catalogue(tmp_path / "workspace/catalogue.db")
    key_of = {title: key for key, title in db.execute("SELECT id, title FROM products")}
    db.conn.close()
    pinned = next(iter(key_of.values()))
    rules.write_text(RULES.format(pinned=pinned))
    assert "There is no product 'gone'" in run("rules", "check", rules, *where)
    run("rules", "apply", rules, *where)

    with Server(tmp_path / "workspace") as server:
        sofas = [g for g in live.values() if "Sofa" in g.title and g.title in key_of]
        assert {g.availability for g in sofas} == {"in_stock", "out_of_stock"}
        found = server.json("/v1/search?q=sofa&k=100&facets=brand,price,category&out_of_stock=show")
        assert {hit["title"] for hit in found["hits"]} == {g.title for g in sofas}
        facets = {facet["name"]: facet for facet in found["facets"]}
        assert _counts(facets["brand"]) == Counter(g.brand for g in sofas)
        # What a facet says is what its filter finds.
        for facet in facets.values():
            for value in facet["values"]:
                path = f"/v1/search?q=sofa&k=100&out_of_stock=show&filter={quote(value['filter'])}"
                assert len(server.json(path)["hits"]) == value["count"], value
        cheap = server.json(
            "/v1/search?q=sofa&k=100&filter=price%3C500&sort=price&out_of_stock=show"
        )["hits"]
        prices = [hit["price"] for hit in cheap]
        assert prices == sorted(prices) and all(price < 500 for price in prices)
        stocked = server.json("/v1/search?q=sofa&k=100&filter=in_stock")["hits"]
        assert {hit["title"] for hit in stocked} == {
            g.title for g in sofas if g.availability == "in_stock"
        }
        settees = server.json("/v1/search?q=settee&k=100")["hits"]
        assert {hit["title"] for hit in settees} == {g.title for g in sofas}
        assert server.json("/v1/search?q=cosy&k=5")["hits"][0]["id"] == pinned
        texts = [each["text"] for each in server.json("/v1/suggest?q=lam")["suggestions"]]
        assert "lamp for reading" in texts
        assert server.json("/v1/search?q=zzzxqv&k=5")["hits"] == []


def _counts(facet: dict) -> Counter:
    return Counter({value["value"]: value["count"] for value in facet["values"]})
