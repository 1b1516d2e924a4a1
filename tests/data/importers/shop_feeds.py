"""Makes feeds of one small shop as each shop system writes them, from their documented columns.

A shop is a list of Goods. Each function writes it as one system does, with what makes real files
hard: HTML, quotes and line ends within fields, blank lines, a byte order mark, drafts, pictures on
lines of their own, amounts with the currency.
"""

from __future__ import annotations

import csv
import json
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

HTML = '<p>Soft &amp; warm, <b>{name}</b></p>\n<ul><li>27" wide</li>\n\n<li>size; S, M</li></ul>'


@dataclass
class Goods:
    """A product: `variants` are (colour, size, price, quantity)."""

    key: str
    title: str
    brand: str
    category: str
    variants: list[tuple[str, str, float, int]]
    status: str = "active"
    tags: list[str] = field(default_factory=list)

    @property
    def lowest(self) -> float:
        return min(price for _, _, price, _ in self.variants)

    @property
    def availability(self) -> str:
        there = any(quantity > 0 for *_, quantity in self.variants)
        return "in_stock" if there else "out_of_stock"

    def codes(self) -> list[str]:
        return [f"{self.key}-{n}" for n in range(len(self.variants))]


def shop(count: int, seed: int = 1) -> list[Goods]:
    """So many products; every seventh is a draft, every eleventh archived."""
    draw = random.Random(seed)
    goods = []
    for n in range(count):
        things, brand = draw.choice(["Shirt", "Lamp", "Sofa", "Mug"]), draw.choice(["Acme", "Lumo"])
        colours = draw.sample(["red", "blue", "green", "bois clair"], draw.randint(1, 3))
        price = draw.randint(500, 150_000) / 100
        variants = [
            (colour, size, price + step, draw.choice([0, 3]))
            for step, colour in enumerate(colours)
            for size in draw.sample(["S", "M", "L"], draw.randint(1, 2))
        ]
        status = "draft" if n % 7 == 3 else "archived" if n % 11 == 5 else "active"
        category = f"Home & Garden > {things}s > {brand}"
        title = f'{brand} "{things}" no. {n}, ½ price'
        goods.append(Goods(f"thing-{n}", title, brand, category, variants, status, ["new", "gift"]))
    return goods


def shopify(path: Path, goods: list[Goods], money: str = "{:.2f}", bom: bool = True) -> Path:
    """A product export: the first line of a product has its texts, a picture has its own."""
    names = (
        "Handle,Title,Body (HTML),Vendor,Product Category,Type,Tags,Published,Option1 Name,"
        "Option1 Value,Option2 Name,Option2 Value,Variant SKU,Variant Grams,"
        "Variant Inventory Tracker,Variant Inventory Qty,Variant Inventory Policy,Variant Price,"
        "Variant Compare At Price,Variant Barcode,Image Src,Image Position,Gift Card,SEO Title,"
        "Fabric care (product.metafields.custom.care),Status"
    )
    columns = names.split(",")
    rows = []
    for thing in goods:
        for n, (colour, size, price, quantity) in enumerate(thing.variants):
            row: dict[str, Any] = {
                **{"Handle": thing.key, "Option1 Value": colour, "Option2 Value": size},
                **{"Variant SKU": f"'{thing.codes()[n]}", "Variant Grams": "120"},
                **{"Variant Inventory Tracker": "shopify", "Variant Inventory Qty": quantity},
                **{"Variant Inventory Policy": "deny", "Variant Price": money.format(price)},
                "Variant Compare At Price": money.format(price * 2),
            }
            if n == 0:
                row |= {
                    **{"Title": thing.title, "Body (HTML)": HTML.format(name=thing.title)},
                    **{"Vendor": thing.brand, "Product Category": thing.category},
                    **{"Type": "Things", "Tags": ", ".join(thing.tags), "Published": "TRUE"},
                    **{"Option1 Name": "Color", "Option2 Name": "Size", "Gift Card": "FALSE"},
                    **{"Image Src": f"https://cdn.example/{thing.key}.jpg", "Image Position": "1"},
                    "Fabric care (product.metafields.custom.care)": "wash; iron",
                    "Status": thing.status,
                }
            rows.append(row)
        rows.append({"Handle": thing.key, "Image Src": "https://cdn.example/2.jpg"})
    with path.open("w", newline="", encoding="utf-8-sig" if bom else "utf-8") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\r\n")
        writer.writeheader()
        writer.writerows(rows)
    return path


def _google_rows(goods: list[Goods], money: str) -> list[dict[str, str]]:
    return [
        {
            **{"id": code, "title": thing.title, "description": HTML.format(name=thing.title)},
            **{"link": f"https://shop.example/{code}", "image_link": "https://shop.example/1.jpg"},
            **{"availability": "in stock" if quantity else "out of stock", "brand": thing.brand},
            **{"price": money.format(price), "product_type": thing.category},
            **{"color": colour, "size": size, "item_group_id": thing.key, "condition": "new"},
            **{"gtin": "", "shipping_label": "bulky", "custom_label_0": "autumn"},
        }
        for thing in goods
        for code, (colour, size, price, quantity) in zip(thing.codes(), thing.variants, strict=True)
    ]


def google_table(path: Path, goods: list[Goods], money: str = "{:.2f} EUR", mix: int = 5) -> Path:
    """A feed in a file with tabs; the order of variants is mixed."""
    rows = _google_rows(goods, money)
    random.Random(mix).shuffle(rows)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter="\t", lineterminator="\n")
        file.write("\t".join(name.replace("_", " ") for name in rows[0]) + "\n")
        writer.writerows(rows)
    return path


def google_xml(path: Path, goods: list[Goods], atom: bool = False) -> Path:
    """A feed in RSS 2.0 or Atom; title, link and description are RSS's own."""
    own = {"title": "title", "link": "link", "description": "summary" if atom else "description"}
    items = []
    for row in _google_rows(goods, "{:.2f} EUR"):
        parts = []
        for name, value in row.items():
            if atom and name == "link":
                parts.append(f'<link rel="alternate" href="{escape(value)}"/>')
            elif name in own:
                parts.append(f"<{own[name]}><![CDATA[{value}]]></{own[name]}>")
            elif value:
                parts.append(f"<g:{name}>{escape(value)}</g:{name}>")
        parts.append("<g:shipping><g:country>DE</g:country><g:price>5 EUR</g:price></g:shipping>")
        parts += ["<g:product_highlight>warm</g:product_highlight>"] * 1
        parts.append("<g:product_highlight>soft</g:product_highlight>")
        items.append("\n".join(parts))
    google = 'xmlns:g="http://base.google.com/ns/1.0"'
    if atom:
        body = "".join(f"<entry>{item}</entry>\n" for item in items)
        text = (
            f'<feed xmlns="http://www.w3.org/2005/Atom" {google}><title>Shop</title>{body}</feed>'
        )
    else:
        body = "".join(f"<item>{item}</item>\n" for item in items)
        text = f'<rss {google} version="2.0"><channel><title>Shop</title>{body}</channel></rss>'
    path.write_text(f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n', encoding="utf-8")
    return path


def woocommerce(path: Path, goods: list[Goods], money: str = "{:.2f}") -> Path:
    """A product export: products of one variant are simple, of several variable."""
    names = (
        "ID,Type,SKU,Name,Published,Is featured?,Visibility in catalog,Short description,"
        "Description,Tax status,In stock?,Stock,Backorders allowed?,Sale price,Regular price,"
        "Categories,Tags,Images,Parent,Position,Attribute 1 name,Attribute 1 value(s),"
        "Attribute 1 visible,Attribute 1 global,Attribute 2 name,Attribute 2 value(s),Brands,"
        "Meta: _wpcom_is_markdown"
    )
    columns = names.split(",")
    published = {"active": 1, "draft": -1, "archived": 0}
    rows: list[dict[str, Any]] = []
    for n, thing in enumerate(goods):
        key, simple = 1000 * (n + 1), len(thing.variants) == 1
        path_text = thing.category.replace(",", "\\,")
        parent = {
            **{"ID": key, "Type": "simple" if simple else "variable", "SKU": thing.key},
            **{"Name": thing.title, "Published": published[thing.status], "Is featured?": 0},
            **{"Visibility in catalog": "visible", "Short description": "Nice\\nand soft"},
            **{"Description": HTML.format(name=thing.title), "Tags": ", ".join(thing.tags)},
            **{"In stock?": int(thing.availability == "in_stock"), "Tax status": "taxable"},
            **{"Categories": f"Home & Garden, {path_text}", "Brands": thing.brand, "Position": 0},
            **{"Images": "https://w.example/1.jpg, https://w.example/2.jpg"},
            **{"Attribute 1 name": "Color", "Attribute 2 name": "Size"},
            "Attribute 1 value(s)": ", ".join(dict.fromkeys(v[0] for v in thing.variants)),
            "Attribute 2 value(s)": ", ".join(dict.fromkeys(v[1] for v in thing.variants)),
            "Meta: _wpcom_is_markdown": 1,
        }
        if simple:
            parent["Regular price"] = money.format(thing.lowest)
        rows.append(parent)
        for place, (colour, size, price, quantity) in enumerate(thing.variants):
            if simple:
                break
            rows.append(
                {
                    **{"ID": key + place + 1, "Type": "variation", "SKU": thing.codes()[place]},
                    **{"Name": f"{thing.title} - {colour}, {size}", "Published": 1},
                    **{"Regular price": money.format(price), "In stock?": int(quantity > 0)},
                    **{"Parent": f"id:{key}" if n % 2 else thing.key, "Position": place + 1},
                    **{"Attribute 1 name": "Color", "Attribute 1 value(s)": colour},
                }
            )
    random.Random(3).shuffle(rows)
    with path.open("w", newline="", encoding="utf-8-sig") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return path


def ga4(path: Path, events: list[dict[str, Any]]) -> Path:
    """An export to BigQuery: {"name", "at", "user", "session", "term", "items"} of each event."""
    lines = []
    for event in events:
        parameters = [{"key": "page_title", "value": {"string_value": "Shop", "int_value": None}}]
        parameters.append(
            {"key": "ga_session_id", "value": {"int_value": event.get("session", "7")}}
        )
        if event.get("term"):
            parameters.append({"key": "search_term", "value": {"string_value": event["term"]}})
        items = [
            {"item_id": code, "item_name": "x", "item_list_index": str(place), "quantity": None}
            for place, code in enumerate(event.get("items", ()))
        ]
        lines.append(
            {
                **{"event_date": "20240115", "event_timestamp": str(event["at"] * 1_000_000 + 5)},
                **{"event_name": event["name"], "event_params": parameters, "items": items},
                **{"user_pseudo_id": event.get("user", "u1"), "platform": "WEB"},
                "device": {"category": "desktop", "language": "en-us"},
            }
        )
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path
