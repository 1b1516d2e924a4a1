"""Feeds of shop systems: one shop, written as each system writes it, is the same products."""

from __future__ import annotations

import csv
import gzip
import json

import pytest
from importing import import_named, refusals, table
from shop_feeds import (
    HTML,
    Goods,
    ga4,
    google_table,
    google_xml,
    shop,
    shopify,
    woocommerce,
)

from omnisearch import pipeline
from omnisearch.data.importers.detect import found_feed
from omnisearch.data.importers.files import ImportOptions
from omnisearch.data.importers.formats import format_named
from omnisearch.data.text.markup import plain_text
from omnisearch.data.workspace.errors import InputError

COLUMNS = "id, title, description, brand, price, availability, colours, product_types, attributes"


def expected(thing: Goods) -> tuple:
    """The columns of a product that every system can tell."""
    colours = list(dict.fromkeys(colour for colour, *_ in thing.variants))
    parts = thing.category.split(" > ")
    text = plain_text(HTML.format(name=thing.title))
    start = (thing.key, thing.title, text, thing.brand, pytest.approx(thing.lowest))
    return (*start, thing.availability, sorted(colours), parts)


def found(workspace) -> dict[str, tuple]:
    rows = {}
    for *start, colours, types, attributes in table(workspace, "products", COLUMNS):
        listed = sorted(json.loads(colours)) if colours else None
        types = [each for each in json.loads(types) if each != "Things"]
        rows[start[0]] = (*start, listed, types), json.loads(attributes)
    return rows


WRITERS = {
    "products_export_1.csv": ("shopify", shopify),
    "feed.txt": ("google-merchant", google_table),
    "feed.xml": ("google-merchant", google_xml),
    "atom.xml": ("google-merchant", lambda path, goods: google_xml(path, goods, atom=True)),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_shop_is_read_from_the_feed_of_its_system(workspace, tmp_path, name):
    goods = shop(40)
    system, write = WRITERS[name]
    path = write(tmp_path / name, goods)
    [report] = pipeline.import_files(workspace, [path])
    assert (report.kind, report.refused, report.left_out) == ("products", 0, 0), report
    listed = [thing for thing in goods if thing.status == "active" or system != "shopify"]
    rows = found(workspace)
    assert report.taken == len(rows) == len(listed)
    for thing in listed:
        row, attributes = rows[thing.key]
        assert row == expected(thing)
        assert attributes["category"] == thing.category
        assert sorted(attributes["sizes"]) == sorted({size for _, size, *_ in thing.variants})
        if len(thing.variants) > 1:
            assert sorted(attributes["skus"]) == sorted(thing.codes())
        prices = [price for *_, price, _ in thing.variants]
        assert attributes.get("highest_price", thing.lowest) == pytest.approx(max(prices))
    [again] = pipeline.import_files(workspace, [path])
    assert again.changed == 0 and again.same_as is not None


def test_shopify_says_what_it_left_out(workspace, tmp_path):
    goods = shop(40)
    [report] = import_named(workspace, shopify(tmp_path / "p.csv", goods), "shopify")
    drafts = sum(thing.status == "draft" for thing in goods)
    archived = sum(thing.status == "archived" for thing in goods)
    left_out = f"{drafts} products that are draft, {archived} products that are archived"
    assert f"Left out on purpose: {left_out}." in report.notes
    rows = sum(len(thing.variants) + 1 for thing in goods)
    merged = len(goods) - drafts - archived
    assert f"{rows} rows of variants and pictures are {merged} products." in report.notes
    assert report.ignored == ("Image Position", "SEO Title", "Variant Grams")
    _, attributes = found(workspace)["thing-0"]
    assert attributes["fabric_care"] == ["wash", "iron"]
    assert attributes["tags"] == ["new", "gift"]
    assert attributes["regular_price"] == pytest.approx(2 * goods[0].lowest)


def test_shopify_stock_of_variants(workspace, tmp_path):
    columns = ["Handle", "Title", "Variant Price", "Variant Inventory Tracker"]
    columns += ["Variant Inventory Qty", "Variant Inventory Policy", "Option1 Value", "Published"]
    rows = [
        ("sold", "A", "5", "shopify", "0", "deny", "x", "TRUE"),
        ("sold", "", "6", "shopify", "-2", "deny", "y", ""),
        ("later", "B", "5", "shopify", "0", "continue", "x", "true"),
        ("there", "C", "5", "shopify", "0", "deny", "x", "true"),
        ("free", "D", "5", "", "", "deny", "x", "true"),
        ("unknown", "E", "5", "shopify", "", "deny", "x", "true"),
        ("hidden", "F", "5", "", "", "deny", "x", "FALSE"),
        ("saved in Germany", "I", "5", "", "", "deny", "x", "FALSCH"),
        ("", "G", "5", "", "", "deny", "x", "true"),
        ("bad", "H", "5 pieces", "", "", "deny", "x", "true"),
        ("bad", "", "7", "", "", "deny", "y", ""),
        ("there", "", "4", "shopify", "3", "deny", "z", ""),  # far from the others of its handle
    ]
    with (tmp_path / "p.csv").open("w", newline="") as file:
        csv.writer(file).writerows([columns, *rows])
    [report] = import_named(workspace, tmp_path / "p.csv", "shopify")
    assert table(workspace, "products", "id, price, availability") == [
        ("bad", 7.0, "in_stock"),
        ("free", 5.0, "in_stock"),
        ("later", 5.0, "backorder"),
        ("sold", 5.0, "out_of_stock"),
        ("there", 4.0, "in_stock"),
        ("unknown", 5.0, None),
    ]
    assert refusals(report) == [
        (10, "handle", "is missing"),
        (11, "price", "is not a price such as 19.99 USD"),
    ]
    assert "Left out on purpose: 2 products that are not published." in report.notes


def test_the_newer_columns_of_shopify_are_known(workspace, tmp_path):
    columns = "Title,URL handle,Description,Vendor,Status,SKU,Barcode,Option1 name,Option1 value"
    columns += ",Price,Compare-at price,Inventory tracker,Inventory quantity"
    columns += ",Continue selling when out of stock,Product image URL\n"
    row = (
        "Mug,mug,<p>A mug</p>,Acme,Active,'007,'0123,Size,L,9.50,,shopify,2,DENY,https://x/1.jpg\n"
    )
    (tmp_path / "p.csv").write_text(columns + row)
    [report] = pipeline.import_files(workspace, [tmp_path / "p.csv"])
    assert report.ignored == ()
    assert table(workspace, "products", "id, sku, gtin, price, availability, image") == [
        ("mug", "007", "0123", 9.5, "in_stock", "https://x/1.jpg")
    ]


def test_further_pictures_are_kept(workspace, tmp_path):
    at = "https://x/{}.jpg".format
    (tmp_path / "p.csv").write_text(
        "Handle,Title,Variant SKU,Variant Price,Image Src\n"
        f"mug,Mug,1,9,{at(1)}\nmug,,2,9,{at(2)}\nmug,,,,{at(1)}\nmug,,,,{at(3)}\n"
        f"cup,Cup,3,9,{at(4)}\nbowl,Bowl,4,9,\n"
        + "".join(f"set,Set,5,9,{at(n)}\n" for n in range(40))
    )
    import_named(workspace, tmp_path / "p.csv", "shopify")
    found = {key: rest for key, *rest in table(workspace, "products", "id, image, more_images")}
    assert found["mug"] == [at(1), f'["{at(2)}","{at(3)}"]']
    assert found["cup"] == [at(4), None] and found["bowl"] == [None, None]
    assert json.loads(found["set"][1]) == [at(n) for n in range(1, 21)]
    # A comma within an address is no end of it, and a feed without them has no further pictures.
    odd = "https://x/a,b.jpg"
    (tmp_path / "g.csv").write_text(
        "id,item group id,title,price,availability,image link,additional image link\n"
        f'1,mug,Mug,9 EUR,in stock,{at(1)},"{odd}, {at(2)}"\n2,mug,Mug,9 EUR,in stock,{at(5)},\n'
        f"3,set,Set,9 EUR,in stock,{at(1)},\n"
    )
    import_named(workspace, tmp_path / "g.csv", "google-merchant")
    (tmp_path / "w.csv").write_text(f'ID,Type,Name,Images\n7,simple,Mug,"{at(1)}, {at(2)}"\n')
    import_named(workspace, tmp_path / "w.csv", "woocommerce")
    found = {key: rest for key, *rest in table(workspace, "products", "id, image, more_images")}
    assert found["mug"] == [at(1), f'["{odd}","{at(2)}","{at(5)}"]']
    assert found["set"] == [at(1), None]
    assert found["7"] == [at(1), f'["{at(2)}"]']


def test_a_folder_of_exports_is_imported_whatever_their_names(workspace, tmp_path):
    folder = tmp_path / "exports"
    folder.mkdir()
    goods = shop(3)
    shopify(folder / "export_2031-05-01.csv", goods)
    google_table(folder / "feed.tsv", shop(5)[3:])
    (folder / "boards.jsonl").write_text('{"id": "b", "title": "Things"}\n')
    (folder / "notes.csv").write_text("who,what\nme,this\n")
    (folder / "logo.png").write_bytes(b"\x89PNG")
    reports = pipeline.import_files(workspace, [folder])
    assert [report.kind for report in reports] == ["products", "products", "boards"]
    assert "not imported: logo.png, notes.csv." in reports[0].notes[-1]
    for name in ("boards.jsonl", "export_2031-05-01.csv", "feed.tsv"):
        (folder / name).unlink()
    with pytest.raises(InputError, match="and no export of a shop system"):
        pipeline.import_files(workspace, [folder])


def test_an_export_in_an_older_encoding_is_read_in_it(workspace, tmp_path):
    path = shopify(tmp_path / "p.csv", shop(3))
    path.write_bytes(path.read_text("utf-8-sig").replace("Soft", "Süß").encode("latin-1"))
    [report] = import_named(workspace, path, "shopify")
    assert (report.taken, report.refused, report.left_out) == (3, 0, 0)
    assert any("read as Windows-1252 (" in note and "Süß" in note for note in report.notes)
    path.write_text(path.read_bytes().decode("latin-1"), encoding="utf-8", newline="")
    [report] = import_named(workspace, path, "shopify")
    assert (report.taken, report.changed) == (3, 0)


def test_woocommerce_variations_are_part_of_their_product(workspace, tmp_path):
    goods = shop(40)
    path = woocommerce(tmp_path / "wc-product-export.csv", goods)
    [report] = pipeline.import_files(workspace, [path])
    assert (report.refused, report.left_out) == (0, 0)
    rows = found(workspace)
    listed = [thing for thing in goods if thing.status == "active"]
    assert report.taken == len(rows) == len(listed)
    for thing in listed:
        row, attributes = rows[str(1000 * (goods.index(thing) + 1))]
        want = expected(thing)
        assert row[1] == thing.title and row[2] == f"Nice\nand soft\n{want[2]}"
        assert row[3:7] == want[3:7]
        assert row[7] == list(dict.fromkeys(["Home & Garden", *want[7]]))
        assert attributes["category"] == thing.category
        if len(thing.variants) > 1:
            assert sorted(attributes["skus"]) == sorted(thing.codes())
    assert any("variations are merged" in note for note in report.notes)


def test_woocommerce_names_what_it_cannot_place(workspace, tmp_path):
    columns = "ID,Type,SKU,Name,Published,Visibility in catalog,In stock?,Regular price,Parent\n"
    text = '1,simple,a,Sink,1,visible,1,"1.299,00",\n2,variation,b,x,1,,1,5,id:9\n'
    text += (
        '3,variation,c,y,1,,1,5,\n4,simple,d,Mop,1,hidden,1,"5,50",\n,simple,,Z,1,visible,1,5,\n'
    )
    (tmp_path / "w.csv").write_text(columns + text + "5,simple,e,Tap,1,search,backorder,soon,\n")
    [report] = pipeline.import_files(workspace, [tmp_path / "w.csv"])
    assert refusals(report) == [
        (3, "parent", "names a product that is not in the file"),
        (4, "parent", "is missing, of a variation"),
        (6, "id", "is missing"),
        (7, "price", "is not a price such as 19.99 USD"),
    ]
    assert table(workspace, "products", "id, price, availability") == [
        ("1", 1299.0, "in_stock"),
        ("5", None, "backorder"),
    ]
    assert "Prices: the decimal sign is a comma." in report.notes
    assert "Left out on purpose: 1 product that is hidden from search." in report.notes


def event(name: str, at: int, *items: str, **more: str) -> dict:
    return {"name": name, "at": 1_700_000_000 + at, "items": items, **more}


def test_ga4_events_teach_search_if_they_belong_to_a_query(workspace, tmp_path):
    pipeline.import_files(workspace, [google_table(tmp_path / "feed.txt", shop(6))])
    path = ga4(
        tmp_path / "events.jsonl",
        [
            event("purchase", 90, "thing-1"),  # lines need not be in order
            event("view_search_results", 0, "thing-1", "thing-2-0", "(not set)", term="Red Lamp"),
            event("select_item", 10, "thing-1"),
            event("add_to_cart", 20, "thing-2-0", session="8"),  # another session
            event("add_to_cart", 30, "thing-4", term="sofa", user=""),
            event("view_item", 40, "thing-1"),
            event("select_item", 50, "gone", term="mug"),
            event("view_item_list", 60),
        ],
    )
    [report] = pipeline.import_files(workspace, [path])
    assert refusals(report) == [(7, "item_id", "names a product that does not exist")]
    columns = "time - 1700000000, action, query, item_id, position, session, language"
    assert sorted(table(workspace, "engagements", columns), key=str) == [
        (0, "impression", "red lamp", "thing-1", 1, "u1.7", "en-us"),
        (0, "impression", "red lamp", "thing-2", 2, "u1.7", "en-us"),
        (10, "click", "red lamp", "thing-1", None, "u1.7", "en-us"),
        (30, "add_to_cart", "sofa", "thing-4", None, "7", "en-us"),
        (90, "checkout", "red lamp", "thing-1", None, "u1.7", "en-us"),
    ]
    [note] = report.notes
    for part in ("1 event view_item", "1 event without items"):
        assert part in note
    assert "1 item of an event without a query" in note


def test_ga4_without_usable_times_or_queries(workspace, tmp_path):
    pipeline.import_files(workspace, [google_table(tmp_path / "feed.txt", shop(2))])
    lines = [
        {"event_name": "add_to_cart", "event_timestamp": moment, "items": [{"item_id": "thing-1"}]}
        for moment in ("x", None, 4_000_000_000_000_000, 1_700_000_000_000_000)
    ]
    lines[2]["search_term"] = "lamp"
    path = tmp_path / "events.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines) + "{\n")
    [report] = import_named(workspace, path, "ga4")
    assert refusals(report) == [
        (1, "event_timestamp", "is missing, or no time in microseconds"),
        (2, "event_timestamp", "is missing, or no time in microseconds"),
        (3, "time", "is more than a day in the future"),
        (5, None, "is not valid JSON"),
    ]
    assert report.notes == ("Left out on purpose: 1 item of an event without a query.",)


BOMB = """<?xml version="1.0"?><!DOCTYPE rss [<!ENTITY a "aaaaaaaaaa">
<!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>
<rss><channel><item><id>&b;</id></item></channel></rss>"""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (BOMB, "document type"),
        ('<!DOCTYPE rss SYSTEM "file:///etc/passwd"><rss/>', "document type"),
        ("<rss><channel><item><id>1</id>", "not well-formed"),
        ("<rss><channel><item><id>1</item></channel></rss>", "not well-formed"),
        ("<rss><item><id>&unknown;</id></item></rss>", "not well-formed"),
        ('<?xml version="1.0" encoding="klingon"?><rss/>', "not well-formed"),
    ],
)
def test_xml_that_is_refused_as_a_whole(workspace, tmp_path, text, said):
    (tmp_path / "feed.xml").write_text(text)
    with pytest.raises(InputError, match=said):
        import_named(workspace, tmp_path / "feed.xml", "google-merchant")
    assert not workspace.catalogue.exists() or table(workspace, "products") == []


def test_xml_in_other_encodings_and_gzipped(workspace, tmp_path):
    text = '<?xml version="1.0" encoding="{}"?><rss><channel><item><id>1</id><title>Süß</title>'
    text += "<g:price xmlns:g='x'>5 USD</g:price></item></channel></rss>"
    for name, code in (("a.xml", "iso-8859-1"), ("b.xml", "utf-16"), ("c.xml.gz", "utf-8")):
        content = text.format(code).encode(code)
        (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
        [report] = pipeline.import_files(workspace, [tmp_path / name], format="google-merchant")
        assert report.taken == 1
        assert table(workspace, "products", "id, title, price") == [("1", "Süß", 5.0)]


def test_feeds_are_known_by_their_columns(tmp_path):
    goods = shop(3)
    for name, path in (
        ("shopify", shopify(tmp_path / "products.csv", goods)),
        ("google-merchant", google_table(tmp_path / "a.tsv", goods)),
        ("google-merchant", google_xml(tmp_path / "a.xml", goods)),
        ("woocommerce", woocommerce(tmp_path / "b.csv", goods)),
        ("ga4", ga4(tmp_path / "c.jsonl", [event("select_item", 1, "x")])),
    ):
        feed = found_feed(path)
        assert feed is not None and feed.name == name
    plain = tmp_path / "products.jsonl"
    plain.write_text('{"id": "1", "title": "x", "image": "y", "price": 5}\n')
    assert found_feed(plain) is None


def test_how_a_feed_is_read_can_be_said(workspace, tmp_path):
    path = shopify(tmp_path / "products.csv", shop(3))
    with pytest.raises(InputError, match="no column 'id'"):
        pipeline.import_files(workspace, [path], format="csv")
    [report] = pipeline.import_files(workspace, [path], format="csv", mapping={"id": "Handle"})
    assert report.notes == () or "products" not in report.notes[0]
    [report] = pipeline.import_files(
        workspace, [path], format="shopify", constants={"currency": "eur", "country": "de"}
    )
    assert set(table(workspace, "products", "currency, country, language")) >= {("EUR", "DE", None)}
    with pytest.raises(InputError, match="columns of shopify are known"):
        pipeline.import_files(workspace, [path], format="shopify", mapping={"id": "Handle"})
    with pytest.raises(InputError, match="no column 'event_name', which ga4 has"):
        pipeline.import_files(workspace, [path], format="ga4")
    with pytest.raises(InputError, match="no column 'Handle' or 'URL handle'"):
        pipeline.import_files(
            workspace, [google_table(tmp_path / "f.txt", shop(2))], format="shopify"
        )
    assert format_named("google").name == "google-merchant"


def test_strict_holds_for_feeds(workspace, tmp_path):
    path = shopify(tmp_path / "p.csv", shop(3), money="{} pieces")
    with pytest.raises(InputError, match="nothing of this file was imported"):
        format_named("shopify").read(workspace, path, None, ImportOptions(strict=True))
    assert table(workspace, "products") == []
