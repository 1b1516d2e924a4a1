"""A Google Merchant product feed: TSV, CSV or XML (RSS 2.0 or Atom), a row for each variant.

The rows of an `item_group_id` are one product with this id; a row without one is a product.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from omnisearch.data.importers.feeds.feed_file import FeedFile, values_of
from omnisearch.data.importers.feeds.groups import grouped
from omnisearch.data.importers.feeds.products import (
    Variant,
    add_attributes,
    category,
    distinct,
    first,
    pictures,
    product,
)
from omnisearch.data.importers.source import Row
from omnisearch.data.importers.value_checks import Refused
from omnisearch.data.workspace.counts import counted

_NAMES = """id title description link brand gtin mpn color material pattern size price availability
sale_price sale_price_effective_date product_type google_product_category item_group_id
canonical_link image_link"""
_OWN = _NAMES.split()
COLUMNS = {name.replace("_", ""): name for name in _OWN} | {
    "summary": "description",
    "imagelink": "image",
    "additionalimagelink": "more_images",
    "colour": "color",
    "agegroup": "age_group",
    "sizesystem": "size_system",
    "sizetype": "size_type",
}
_UNUSED = """mobilelink lifestyleimagelink virtualmodellink availabilitydate
    costofgoodssold expirationdate unitpricingmeasure unitpricingbasemeasure installment
    subscriptioncost loyaltyprogram loyaltypoints identifierexists certification productdetail
    adsredirect promotionid shoppingadsexcludedcountry pause excludeddestination
    includeddestination shipping shippinglabel shippingweight shippinglength shippingwidth
    shippingheight tax taxcategory shipsfromcountry maxhandlingtime minhandlingtime
    transitionlabel freeshippingthreshold updated author guid pubdate"""
SKIPPED = frozenset(_UNUSED.split())
_KNOWN = frozenset((*_OWN, "image", "more_images"))
_NEXT_LINK = re.compile(r",(?=\s*https?://)")  # a list in one cell; links may have commas
_LISTS = {"color": "colours", "material": "materials", "pattern": "patterns"}


def products(file: FeedFile) -> Iterator[Row]:
    """The products; variants of one group are merged."""
    file.decide_prices(COLUMNS, SKIPPED, "price", "sale_price")
    rows = merged = 0
    for group in grouped(file.rows(COLUMNS, SKIPPED), _id):
        rows += len(group)
        merged += group[0].values is not None
        yield group[0] if group[0].values is None else _product(file, group)
    if merged < rows:
        file.notes.append(f"{rows:,} rows are {counted(merged, 'product')}: variants are merged.")


def _id(values: dict[str, Any]) -> str:
    if not values_of(values, "id"):
        raise Refused("id", "is missing")
    return values_of(values, "item_group_id")[0] if "item_group_id" in values else _first_id(values)


def _first_id(values: dict[str, Any]) -> str:
    return values_of(values, "id")[0]


def _product(file: FeedFile, group: list[Row]) -> Row:
    values: dict[str, Any] = {"id": _id(group[0].values or {})}
    values |= pictures(_pictures(group))
    for name in ("title", "description", "brand", "gtin", "mpn", "link"):
        found = first(group, "canonical_link") if name == "link" else None
        if (value := found or first(group, name)) is not None:
            values[name] = value[0] if type(value) is list else value
    attributes: dict[str, Any] = {}
    add_attributes(attributes, group, _KNOWN)
    path, parts = _path(group)
    if path:
        attributes["category"], values["product_types"] = path, parts
    variants = [_variant(row) for row in group]
    codes = {variant.code for variant in variants}
    if codes == {values["id"]}:  # the only code is the id
        for variant in variants:
            variant.code = None
    return product(file, group[0].line, values | {"attributes": attributes}, variants)


def _pictures(group: list[Row]) -> Iterator[str]:
    for row in group:
        yield from values_of(row.values or {}, "image")
        for text in values_of(row.values or {}, "more_images"):
            yield from _NEXT_LINK.split(text)


def _path(group: list[Row]) -> tuple[str | None, list[str]]:
    for name in ("product_type", "google_product_category"):
        for text in values_of({name: first(group, name)}, name):
            path, parts = category(text)
            if path:
                return path, parts
    return None, []


def _variant(row: Row) -> Variant:
    values = row.values or {}
    options = {
        name: distinct(part.strip() for text in values_of(values, name) for part in text.split("/"))
        for name in _LISTS
        if name in values
    }
    if "size" in values:
        options["size"] = values_of(values, "size")
    prices = [(name, _one(values[name])) for name in ("sale_price", "price") if name in values]
    if len(prices) == 2 and not _in_force(values.get("sale_price_effective_date")):
        prices = prices[1:]
    return Variant(row.line, tuple(prices), _availability(values), _first_id(values), options)


def _one(value: Any) -> Any:
    return value[0] if type(value) is list else value


def _availability(values: dict[str, Any]) -> str | None:
    found = values_of(values, "availability")
    if not found:
        return None
    word = re.sub(r"[\s_-]+", "_", found[0].lower())
    return {"limited_availability": "in_stock", "pre_order": "preorder"}.get(word, word)


def _in_force(dates: Any) -> bool:
    """Whether a sale is on: 'start/end' in ISO 8601; True without dates that can be read."""
    start, slash, end = str(dates or "").strip().partition("/")
    try:
        return not slash or _moment(start) <= datetime.now(UTC) < _moment(end)
    except ValueError:
        return True


def _moment(text: str) -> datetime:
    found = datetime.fromisoformat(text.strip())
    return found if found.tzinfo else found.replace(tzinfo=UTC)
