"""Files through the importer, the index and the engine: HTML, codes, and numbers."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from engine_catalogue import UNTIL, index
from engine_fakes import FakeEncoder

from omnisearch.data.catalogue.items import read_items
from omnisearch.data.catalogue.schema import open_catalogue
from omnisearch.data.importers.files import import_file
from omnisearch.data.text.markup import plain_text
from omnisearch.data.workspace import Workspace
from omnisearch.engine.config import EngineConfig
from omnisearch.engine.query_embeddings.cache import QueryCache
from omnisearch.engine.search import SearchEngine
from omnisearch.engine.snapshot import Snapshot

PRODUCTS = [
    {"id": "shop:A-17", "title": "Black &amp;amp; Decker drill", "sku": "BD 550/X"}
    | {"gtin": "0036000291452"},
    {"id": "b2", "title": "Guitar amp 20W", "mpn": "wh-1000xm4", "gtin": "4006381333931"},
    {"id": "b3", "title": "Cerv&eacute;lo R3 bike", "sku": "lampshade"},
    {"id": "b4", "title": "Lampshade red", "sku": "RTX-4090"},
    {"id": "b5", "title": "Headphones WH 1000 XM3", "mpn": "WH1000XM3"},
    {"id": "b6", "title": "Headphones XM4, 1000 hours, WH", "brand": "O&#39;Neill &reg;"},
    {"id": "b7", "title": "Rug"}
    | {"description": '<p class="red">Wool<br>rug</p><style>p {color: red}</style>'},
    {"id": "4090", "title": "Plain lamp &lt;b&gt;new&lt;/b&gt;"},
]


@pytest.fixture
def shop(tmp_path: Path) -> SearchEngine:
    workspace = Workspace.create(tmp_path / "shop")
    file = tmp_path / "products.jsonl"
    file.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in PRODUCTS))
    import_file(workspace, file)
    db = open_catalogue(workspace.catalogue)
    snapshot = Snapshot(index(workspace, db), FakeEncoder(), None, UNTIL)
    return SearchEngine(workspace, snapshot, QueryCache(tmp_path / "cache.db"), EngineConfig())


@pytest.mark.parametrize(
    ("query", "item"),
    [
        ("bd550x", "shop:A-17"),
        ("BD-550-X", "shop:A-17"),
        ("shop:a-17", "shop:A-17"),
        ("A17", "shop:A-17"),
        ("036000291452", "shop:A-17"),  # the UPC of the EAN with a zero before it
        ("36000 29145 2", "shop:A-17"),
        ("00036000291452", "shop:A-17"),
        ("4006381-333931", "b2"),
        ("WH1000XM4", "b2"),
        ("wh 1000 xm4", "b2"),
        ("wh-1000-xm3", "b5"),
        ("lampshade", "b3"),  # a code, above the title
        ("rtx4090", "b4"),
        ("4090", "4090"),
        ("B6", "b6"),
    ],
)
def test_a_code_finds_its_item_first(shop: SearchEngine, query: str, item: str) -> None:
    found = shop.search(query, system="token")
    assert found.hits[0].id == item
    assert found.searched == found.query  # and is not respelled


def test_a_code_is_a_word_too(shop: SearchEngine) -> None:
    assert shop.search("amp wh1000xm4", system="token").hits[0].id == "b2"


@pytest.mark.parametrize(
    ("query", "items"),
    [
        ("cervelo", ["b3"]),
        ("amp", ["b2"]),
        ("red", ["b4"]),
        ("decker", ["shop:A-17"]),
        ("quot", []),
        ("strong", []),
        ("new lamp", ["4090"]),
    ],
)
def test_html_of_a_file_is_no_word(shop: SearchEngine, query: str, items: list[str]) -> None:
    assert [hit.id for hit in shop.search(query, system="token").hits] == items


def test_what_the_catalogue_keeps_is_plain(shop: SearchEngine) -> None:
    db = open_catalogue(shop.workspace.catalogue)
    items = {item["id"]: item for batch in read_items(db, "product") for item in batch}
    db.conn.close()
    assert items["shop:A-17"]["title"] == "Black & Decker drill"
    assert items["b3"]["title"] == "Cervélo R3 bike"
    assert items["b6"]["brand"] == "O'Neill ®"
    assert items["b7"]["description"] == "Wool rug"
    assert items["4090"]["title"] == "Plain lamp new"
    assert items["b5"]["mpn"] == "WH1000XM3"


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("27&quot; monitor", '27" monitor'),
        ("Hoodie &#8211; blue", "Hoodie – blue"),
        ("&amp;amp;amp;#233;", "é"),
        ("R&D; AT&T &nosuch; & &copy", "R&D; AT&T &nosuch; & &copy"),
        ("size <10> for 5 < 6 and a<b && c>d, <3", "size <10> for 5 < 6 and a<b && c>d, <3"),
        ("<P CLASS='a>b'>One</P><p>two</p>", "One two"),
        ("H<sub>2</sub>O and <strong>bold</strong>er", "H2O and bolder"),
        ("a<!-- b --> c<script type=x>d < e</script> f", "a c f"),
        ("&nbsp;one&nbsp;&nbsp;two\n\n three", "one two\nthree"),
        ("one  two\n\nthree", "one  two\n\nthree"),  # without HTML nothing changes
        ("", ""),
    ],
)
def test_plain_text(text: str, plain: str) -> None:
    assert plain_text(text) == plain
    assert plain_text(plain) == plain
