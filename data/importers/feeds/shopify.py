"""Shopify's product export: a CSV file with a line for each variant and each further picture.

The lines of a product share a handle, its id here; they are one product. Both spellings of
Shopify's columns are known: `Handle`, `Body (HTML)`, `Variant Price` and, since 2025, `URL handle`,
`Description`, `Price`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from omnisearch.data.importers.feeds.feed_file import FeedFile
from omnisearch.data.importers.feeds.groups import grouped
from omnisearch.data.importers.feeds.products import (
    Variant,
    add_option,
    category,
    distinct,
    first,
    pictures,
    product,
)
from omnisearch.data.importers.flags import NO, YES
from omnisearch.data.importers.source import Row
from omnisearch.data.importers.value_checks import Refused
from omnisearch.data.workspace.counts import counted

COLUMNS = {
    **dict.fromkeys(("handle", "urlhandle"), "handle"),
    "title": "title",
    **dict.fromkeys(("bodyhtml", "description"), "description"),
    "vendor": "brand",
    **dict.fromkeys(("productcategory", "standardproducttype"), "category"),
    **dict.fromkeys(("type", "customproducttype"), "type"),
    "tags": "tags",
    **dict.fromkeys(("published", "publishedononlinestore"), "published"),
    "status": "status",
    "createdat": "created_at",
    **{f"option{n}{part}": f"option{n}_{part}" for n in (1, 2, 3) for part in ("name", "value")},
    **dict.fromkeys(("variantsku", "sku"), "sku"),
    **dict.fromkeys(("variantbarcode", "barcode"), "gtin"),
    **dict.fromkeys(("variantprice", "price"), "price"),
    **dict.fromkeys(("variantcompareatprice", "compareatprice"), "compare_at_price"),
    **dict.fromkeys(("variantinventorytracker", "inventorytracker"), "tracker"),
    **dict.fromkeys(("variantinventoryqty", "inventoryquantity"), "quantity"),
    **dict.fromkeys(("variantinventorypolicy", "continuesellingwhenoutofstock"), "policy"),
    **dict.fromkeys(("imagesrc", "productimageurl"), "image"),
    "googleshoppingmpn": "mpn",
    "googleshoppinggender": "gender",
    "googleshoppingagegroup": "age group",
    "googleshoppinggoogleproductcategory": "google_category",
    "giftcard": "gift card",
}
_UNUSED = """variantgrams weightvaluegrams weightunitfordisplay variantweightunit variantweight
    variantfulfillmentservice fulfillmentservice variantrequiresshipping requiresshipping
    varianttaxable chargetax varianttaxcode taxcode costperitem imageposition imagealttext
    variantimage variantimageurl seotitle seodescription googleshoppingadwordsgrouping
    googleshoppingadwordslabels googleshoppingcondition googleshoppingcustomproduct
    option1linkedto option2linkedto option3linkedto unitpricetotalmeasure
    unitpricetotalmeasureunit unitpricebasemeasure unitpricebasemeasureunit templatesuffix
    publishedscope publishedat updatedat"""
SKIPPED = frozenset(_UNUSED.split()) | {f"googleshoppingcustomlabel{n}" for n in range(5)}
_KNOWN = frozenset(COLUMNS.values()) - {"gender", "age group", "gift card"}
_HIDDEN = ("draft", "archived", "unlisted")


def products(file: FeedFile) -> Iterator[Row]:
    """The products, without drafts and those that are archived or not published."""
    file.decide_prices(COLUMNS, SKIPPED, "price", "compare_at_price")
    lines = merged = 0
    for group in grouped(file.rows(COLUMNS, SKIPPED), _handle):
        lines += len(group)
        if group[0].values is None:
            yield group[0]
            continue
        status = str(first(group, "status") or "active").strip().lower()
        if status in _HIDDEN:
            file.left_out[f"product that is {status}", f"products that are {status}"] += 1
        elif str(first(group, "published") or "true").strip().lower() in NO:
            unpublished = "product that is not published", "products that are not published"
            file.left_out[unpublished] += 1
        else:
            merged += 1
            yield _product(file, group)
    of = f"{counted(lines, 'row')} of variants and pictures"
    file.notes.append(f"{of} {'is' if lines == 1 else 'are'} {counted(merged, 'product')}.")


def _handle(values: dict[str, Any]) -> str:
    handle = str(values.get("handle") or "").strip()
    if not handle:
        raise Refused("handle", "is missing")
    return handle


def _product(file: FeedFile, group: list[Row]) -> Row:
    values: dict[str, Any] = {"id": _handle(group[0].values or {})}
    values |= pictures((row.values or {}).get("image") for row in group)
    for name in ("title", "description", "brand", "created_at"):
        if (value := first(group, name)) is not None:
            values[name] = value
    for name in ("gtin", "mpn"):
        if (value := first(group, name)) is not None:
            values[name] = _unprotected(value)
    attributes: dict[str, Any] = {}
    path, parts = category(first(group, "category") or first(group, "google_category"))
    kind = first(group, "type")
    if path or kind:
        attributes["category"] = path or category(kind)[0] or kind
        values["product_types"] = distinct([*parts, kind])
    if (tags := first(group, "tags")) is not None:
        attributes["tags"] = distinct(tag.strip() for tag in tags.split(","))[:100]
    for name, listed in _further(group):
        add_option(values, attributes, name, listed)
    return product(file, group[0].line, values | {"attributes": attributes}, _variants(group))


def _further(group: list[Row]) -> Iterator[tuple[str, list[str]]]:
    """(name, values) of columns that not every shop has; metafields are lists with semicolons."""
    names = dict.fromkeys(name for row in group for name in row.values or {} if name not in _KNOWN)
    for name in names:
        plain, _, metafield = name.partition(" (product.metafields.")
        texts = [str(row.values[name]) for row in group if row.values and name in row.values]
        parts = [part for text in texts for part in (text.split(";") if metafield else [text])]
        yield plain, distinct(part.strip() for part in parts)


def _variants(group: list[Row]) -> list[Variant]:
    """The lines that are variants: those of further pictures have no price and no option."""
    names = {n: str(first(group, f"option{n}_name") or "") for n in (1, 2, 3)}
    found = []
    for row in group:
        values = row.values or {}
        chosen = {n: values[f"option{n}_value"] for n in names if f"option{n}_value" in values}
        if not (chosen or "price" in values or "sku" in values):
            continue
        options = {
            names[n]: [str(value).strip()]
            for n, value in chosen.items()
            if names[n] and value != "Default Title"
        }
        prices = tuple(
            (name, values[name]) for name in ("price", "compare_at_price") if name in values
        )
        code = _unprotected(values["sku"]) if "sku" in values else None
        found.append(Variant(row.line, prices, _availability(values), code, options))
    return found


def _availability(values: dict[str, Any]) -> str | None:
    """By the inventory: what is not tracked is in stock; None if the file has no inventory."""
    if "policy" not in values and "quantity" not in values and "tracker" not in values:
        return None
    if "tracker" not in values and "quantity" not in values:
        return "in_stock"
    try:
        quantity = float(values["quantity"])
    except (KeyError, ValueError):
        return None
    if quantity > 0:
        return "in_stock"
    policy = str(values.get("policy", "deny")).strip().lower()
    return "backorder" if policy in ("continue", *YES) else "out_of_stock"


def _unprotected(code: Any) -> str:
    """A code without the apostrophe that keeps a spreadsheet from reading it as a number."""
    return str(code).strip().removeprefix("'")
