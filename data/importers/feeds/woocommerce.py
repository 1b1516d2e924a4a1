"""WooCommerce's product export: a CSV file with a row for each product and each variation.

A variation names its parent by `id:12` or by the parent's SKU, and becomes a part of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from omnisearch.data.importers.feeds.feed_file import FeedFile
from omnisearch.data.importers.feeds.groups import grouped
from omnisearch.data.importers.feeds.products import (
    Variant,
    add_option,
    category,
    distinct,
    pictures,
    product,
)
from omnisearch.data.importers.source import Row
from omnisearch.data.importers.value_checks import Refused
from omnisearch.data.workspace.counts import counted

_ATTRIBUTES = 20  # columns `Attribute 1 name` to `Attribute 20 name`
COLUMNS = {
    **{"id": "id", "type": "type", "sku": "sku", "name": "title", "published": "published"},
    **{"gtinupceanorisbn": "gtin", "visibilityincatalog": "visibility", "parent": "parent"},
    **{"shortdescription": "short", "description": "description", "brands": "brands"},
    **{"datesalepricestarts": "sale_from", "datesalepriceends": "sale_to"},
    **{"instock": "in_stock", "stock": "stock", "backordersallowed": "backorders"},
    **{"saleprice": "sale_price", "regularprice": "price", "categories": "categories"},
    **{"tags": "tags", "images": "images", "externalurl": "link", "isfeatured": "is featured"},
    **{f"attribute{n}name": f"attribute{n}" for n in range(1, _ATTRIBUTES + 1)},
    **{f"attribute{n}values": f"values{n}" for n in range(1, _ATTRIBUTES + 1)},
}
_UNUSED = """taxstatus taxclass lowstockamount soldindividually allowcustomerreviews purchasenote
    shippingclass downloadlimit downloadexpirydays groupedproducts upsells crosssells buttontext
    position weightkg weightlbs weightg weightoz lengthcm lengthin widthcm widthin heightcm
    heightin swatchesattributes"""
SKIPPED = frozenset(_UNUSED.split()) | {
    f"attribute{n}{part}"
    for n in range(1, _ATTRIBUTES + 1)
    for part in ("visible", "global", "default")
}
_KNOWN = frozenset(COLUMNS.values()) - {"is featured"}
_COMMA = re.compile(r"(?<!\\),")  # `\,` is a comma within a value


def products(file: FeedFile) -> Iterator[Row]:
    """The published products that a search may show, with their variations."""
    file.decide_prices(COLUMNS, SKIPPED, "price", "sale_price")
    by_sku = {
        str(row.values["sku"]).strip(): str(row.values["id"]).strip()
        for row in file.rows(COLUMNS, SKIPPED)
        if row.values and "variable" in _types(row.values) and {"sku", "id"} <= row.values.keys()
    }

    def key(values: dict[str, Any]) -> str:
        if "variation" not in _types(values):
            return _id(values)
        parent = str(values.get("parent", "")).strip()
        if not parent:
            raise Refused("parent", "is missing, of a variation")
        return parent[3:] if parent.startswith("id:") else by_sku.get(parent, parent)

    rows = merged = 0
    for group in grouped(file.rows(COLUMNS, SKIPPED), key):
        rows += len(group)
        if group[0].values is None:
            yield group[0]
            continue
        parents = [row for row in group if "variation" not in _types(row.values or {})]
        hidden = _hidden(parents[0].values or {}) if parents else None
        if not parents:
            for row in group:
                yield Row(row.line, None, "names a product that is not in the file", "parent")
        elif hidden:
            file.left_out[f"product that is {hidden}", f"products that are {hidden}"] += 1
        else:
            merged += 1
            yield from (
                Row(r.line, None, "appears earlier in this file", "id") for r in parents[1:]
            )
            yield _product(file, parents[0], [row for row in group if row not in parents])
    if merged < rows:
        file.notes.append(f"{rows:,} rows are {counted(merged, 'product')}: variations are merged.")


def _types(values: dict[str, Any]) -> list[str]:
    return [each.strip().lower() for each in str(values.get("type", "simple")).split(",")]


def _id(values: dict[str, Any]) -> str:
    found = str(values.get("id") or values.get("sku") or "").strip()
    if not found:
        raise Refused("id", "is missing")
    return found


def _hidden(values: dict[str, Any]) -> str | None:
    """Why a search must not show a product, or None."""
    published = str(values.get("published", "1")).strip()
    if published in ("0", "-1"):
        return "private" if published == "0" else "draft"
    visibility = str(values.get("visibility", "visible")).strip().lower()
    return "hidden from search" if visibility in ("hidden", "catalog") else None


def _product(file: FeedFile, parent: Row, variations: list[Row]) -> Row:
    own = parent.values or {}
    values: dict[str, Any] = {"id": _id(own)}
    values |= {name: own[name] for name in ("title", "gtin", "link", "sku") if name in own}
    texts = [own[name].replace("\\n", "\n") for name in ("short", "description") if name in own]
    if texts:
        values["description"] = "\n".join(texts)
    values |= pictures(_listed(own.get("images")))
    if brands := _listed(own.get("brands")):
        values["brand"] = brands[0].rpartition(">")[2].strip()
    attributes: dict[str, Any] = {}
    if paths := [category(text) for text in _listed(own.get("categories"))]:
        attributes["category"] = max(paths, key=lambda path: len(path[1]))[0]
        values["product_types"] = distinct(part for _, parts in paths for part in parts)
    if tags := _listed(own.get("tags")):
        attributes["tags"] = tags[:100]
    for name in own:
        if name not in _KNOWN and not name.lower().startswith("meta:"):
            attributes[name] = own[name]
        elif name not in _KNOWN and len(file.ignored) < 100:
            file.ignored.add(name[:100])
    for name, listed in _options(own).items():
        add_option(values, attributes, name, listed)
    variants = [_variant(row) for row in variations if not _hidden(row.values or {})]
    if variations and len(variants) < len(variations):
        unpublished = "variation that is not published", "variations that are not published"
        file.left_out[unpublished] += len(variations) - len(variants)
    if not variants:
        variants = [_variant(parent)]
    for variant in variants:
        variant.options = {}  # the parent lists them all
    return product(file, parent.line, values | {"attributes": attributes}, variants)


def _options(values: dict[str, Any]) -> dict[str, list[str]]:
    return {
        str(values[f"attribute{n}"]): _listed(values.get(f"values{n}"))
        for n in range(1, _ATTRIBUTES + 1)
        if f"attribute{n}" in values
    }


def _variant(row: Row) -> Variant:
    values = row.values or {}
    prices = [(name, values[name]) for name in ("sale_price", "price") if name in values]
    if len(prices) == 2 and not _on_sale(values):
        prices = prices[1:]
    code = str(values["sku"]).strip() if "sku" in values else None
    return Variant(row.line, tuple(prices), _availability(values), code)


def _availability(values: dict[str, Any]) -> str | None:
    found = str(values.get("in_stock", "")).strip().lower()
    if found == "0" and str(values.get("backorders", "0")).strip().lower() in ("1", "notify"):
        return "backorder"
    return {"1": "in_stock", "0": "out_of_stock"}.get(found, found or None)


def _on_sale(values: dict[str, Any]) -> bool:
    """Whether today is in the dates of the reduced price; True without dates."""
    today = datetime.now(UTC).date().isoformat()
    start, end = (str(values.get(name, ""))[:10] for name in ("sale_from", "sale_to"))
    return (not start or start <= today) and (not end or today <= end)


def _listed(value: Any) -> list[str]:
    parts = _COMMA.split(str(value or ""))
    return distinct(part.replace("\\,", ",").strip() for part in parts)
