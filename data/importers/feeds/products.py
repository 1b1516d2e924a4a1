"""One product of its variants: the lowest price, all options and codes, whether any is there."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from omnisearch.data.importers.attributes import MOST_VALUES, attribute_name
from omnisearch.data.importers.feeds.feed_file import FeedFile
from omnisearch.data.importers.rows import FIELDS
from omnisearch.data.importers.source import Row
from omnisearch.data.importers.value_checks import MAX_NUMBER, MAX_PICTURES, Refused

# The first that any variant has is that of the product.
_BEST = ("in_stock", "preorder", "backorder", "out_of_stock")
_FIELD_OF = {"color": "colours", "colour": "colours", "colors": "colours", "colours": "colours"}
_FIELD_OF |= {"material": "materials", "fabric": "materials", "pattern": "patterns"}
_FIELDS = frozenset(FIELDS["products"])


@dataclass
class Variant:
    """What differs between the variants of a product.

    Attributes:
        prices: (column, text) of its price now, then of the price before a reduction.
        availability: as the catalogue has it, or None.
        code: by which the shop knows it.
        options: name → values.
    """

    line: int
    prices: tuple[tuple[str, Any], ...] = ()
    availability: Any = None
    code: str | None = None
    options: dict[str, list[str]] = field(default_factory=dict)


def product(file: FeedFile, line: int, values: dict[str, Any], variants: list[Variant]) -> Row:
    """The row of a product: its own `values`, and what its variants add.

    `values` may have `attributes`. Prices that cannot be read are left out, each by its line.
    """
    attributes: dict[str, Any] = values.pop("attributes", {})
    left_out: list[tuple[int, Refused]] = []
    found: list[tuple[float, float | None, str | None]] = []  # now, before, currency
    priced = False
    for variant in variants:
        read = []
        for column, text in variant.prices:
            try:
                amount, currency = file.prices.read(text, column)
                if amount is not None and not 0 <= amount <= MAX_NUMBER:
                    raise Refused(column, "is out of range", text)
                read.append((amount, currency))
                priced = True
            except Refused as refused:
                left_out.append((variant.line, refused))
                read.append((None, None))
        amounts = [amount for amount, _ in read if type(amount) in (int, float)]
        if amounts:
            currency = next((each for _, each in read if each), None)
            found.append((amounts[0], amounts[1] if len(amounts) > 1 else None, currency))
    if found:
        now, before, currency = min(found, key=lambda each: each[0])
        values["price"] = now
        if currency and not file.fixed_currency:
            values["currency"] = currency
        if (highest := max(each[0] for each in found)) > now:
            attributes["highest_price"] = highest
        if before is not None and before > now:
            attributes["regular_price"] = before
    elif priced and not left_out:
        values["price"] = None
    availabilities = {each.availability for each in variants if each.availability}
    if availabilities:
        known = [each for each in _BEST if each in availabilities]
        values["availability"] = known[0] if known else next(iter(availabilities))
    codes = distinct(variant.code for variant in variants)
    if codes:
        values.setdefault("sku", codes[0])
    if len(codes) > 1:
        if len(codes) > MOST_VALUES:
            file.left_out["code of a variant", "codes of variants"] += len(codes) - MOST_VALUES
        attributes["skus"] = codes[:MOST_VALUES]
    for name in dict.fromkeys(name for variant in variants for name in variant.options):
        listed = distinct(each for variant in variants for each in variant.options.get(name, ()))
        add_option(values, attributes, name, listed)
    if attributes:
        values["attributes"] = attributes
    return Row(line, values, left_out=tuple(left_out))


def add_option(
    values: dict[str, Any], attributes: dict[str, Any], name: str, listed: list[str]
) -> None:
    """Add the values of an option, such as a colour: to the field that it is, or as attribute."""
    key = attribute_name(name)
    if not key or not listed:
        return
    if key in _FIELD_OF:
        target = _FIELD_OF[key]
        values[target] = distinct([*(values.get(target) or ()), *listed])
    elif key == "size":
        values.setdefault("size", ", ".join(listed))
        attributes["sizes"] = listed[:MOST_VALUES]
    elif key == "brand" and not values.get("brand"):
        values["brand"] = listed[0]
    else:
        shown = listed[:MOST_VALUES]
        attributes[f"option_{key}" if key in _FIELDS else key] = (
            shown[0] if len(shown) == 1 else shown
        )


def add_attributes(attributes: dict[str, Any], rows: Iterable[Row], known: frozenset[str]) -> None:
    """Add the columns that are not `known` as attributes, with all values that the rows have."""
    for row in rows:
        for name, value in (row.values or {}).items():
            key = attribute_name(name)
            if name in known or not key:
                continue
            if key in _FIELDS:
                key = f"feed_{key}"
            if key not in attributes:
                attributes[key] = value
            elif attributes[key] != value and type(value) in (str, list):
                listed = attributes[key] if type(attributes[key]) is list else [attributes[key]]
                more = value if type(value) is list else [value]
                attributes[key] = distinct([*listed, *more])[:MOST_VALUES]


def category(text: str | None) -> tuple[str | None, list[str]]:
    """('Home > Kitchen', ['Home', 'Kitchen']) of a path; (None, []) of a category's number."""
    if text is None or text.strip().isdigit():
        return None, []
    parts = [part.strip() for part in text.split(">") if part.strip()]
    return (" > ".join(parts) if parts else None), parts


def distinct(texts: Iterable[str | None]) -> list[str]:
    """The texts that are there, each once, in their order."""
    return list(dict.fromkeys(text for text in texts if text))


def pictures(found: Iterable[str | None]) -> dict[str, Any]:
    """The columns of a product's pictures: the one shown, and MAX_PICTURES of the further ones."""
    shown = distinct(each and each.strip() for each in found)
    return {"image": shown[0], "more_images": shown[1 : MAX_PICTURES + 1] or None} if shown else {}


def first(rows: Iterable[Row], name: str) -> Any:
    """The first value of this name that a row has."""
    return next((row.values[name] for row in rows if row.values and name in row.values), None)
