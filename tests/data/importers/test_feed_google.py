"""A Google Merchant feed, as TSV with Google's headings and as CSV with underscores."""

from __future__ import annotations

import pytest
from importing import import_named, refusals, table

COLUMNS = ("id", "title", "description", "link", "image link", "price", "sale price", "brand")
COLUMNS += ("product type", "google product category", "color", "material", "size", "gtin")
LAMP = ("L-1", "Desk lamp", "Bends", "https://s/1", "https://s/1.jpg", "1,299.00 USD", "", "Lumo")
LAMP += ("Home > Lights > Desk", "594", "black/brass", "steel", "40 cm", "0001234567890")
RUG = ("R 2", "Rug", "", "https://s/2", "", "89,90 EUR", "74,50 eur", "")
RUG += ("", "Home & Garden > Decor > Rugs", "", "wool/jute", "", "")


def feed(path, *rows, columns=COLUMNS, delimiter="\t"):
    path.write_text("".join(delimiter.join(row) + "\n" for row in (columns, *rows)))
    return path


def test_a_feed_becomes_products(workspace, tmp_path):
    [report] = import_named(workspace, feed(tmp_path / "feed.tsv", LAMP, RUG), "google")
    assert (report.kind, report.taken, report.refused) == ("products", 2, 0)
    assert report.ignored == ()
    assert table(workspace, "products", "id, gtin, sku") == [
        ("L-1", "0001234567890", None),
        ("R 2", None, None),
    ]
    columns = "id, title, description, link, image, price, currency, brand, size"
    assert table(workspace, "products", columns) == [
        (*LAMP[:5], 1299.0, "USD", "Lumo", "40 cm"),
        ("R 2", "Rug", None, "https://s/2", None, 74.5, "EUR", None, None),
    ]
    assert table(workspace, "products", "colours, materials, product_types") == [
        (None, '["wool","jute"]', '["Home & Garden","Decor","Rugs"]'),
        ('["black","brass"]', '["steel"]', '["Home","Lights","Desk"]'),
    ]


def test_a_column_that_is_absent_changes_nothing(workspace, tmp_path):
    import_named(workspace, feed(tmp_path / "feed.tsv", LAMP), "google")
    prices = feed(
        tmp_path / "prices.csv", ("L-1", "999 USD"), columns=("ID", "price"), delimiter=","
    )
    [report] = import_named(workspace, prices, "google")
    assert (report.taken, report.changed, report.ignored) == (1, 1, ())
    assert table(workspace, "products", "title, price, colours") == [
        ("Desk lamp", 999.0, '["black","brass"]')
    ]


@pytest.mark.parametrize(
    ("price", "read"),
    [
        ("19.99 USD", (19.99, "USD")),
        ("12,50 EUR", (12.5, "EUR")),
        ("1.299,00EUR", (1299.0, "EUR")),
        ("12,345,678.90 USD", (12345678.9, "USD")),
        ("7", (7.0, None)),
        ("", (None, None)),
    ],
)
def test_prices(workspace, tmp_path, price, read):
    path = feed(tmp_path / "feed.tsv", ("a", "t", price), columns=("id", "title", "price"))
    import_named(workspace, path, "google")
    assert table(workspace, "products", "price, currency, id") == [(*read, "a")]


def test_bad_prices_are_left_out_with_line_field_and_reason(workspace, tmp_path):
    rows = [("a", "1,299 USD", ""), ("b", "free", ""), ("c", "5 USD", "-1"), ("", "5 USD", "")]
    columns = ("id", "price", "sale_price")
    path = feed(tmp_path / "feed.tsv", *rows, ("d", "5 USD", ""), ("e",), columns=columns)
    [report] = import_named(workspace, path, "google")
    reason = "is not a price such as 19.99 USD"
    assert refusals(report) == [
        (3, "price", reason),
        (4, "sale_price", "is out of range"),
        (5, "id", "is missing"),
        (7, None, "has a different number of columns than the header"),
    ]
    assert table(workspace, "products", "id, price, currency") == [
        ("a", 1299.0, "USD"),
        ("b", None, None),
        ("c", 5.0, "USD"),
        ("d", 5.0, "USD"),
    ]
