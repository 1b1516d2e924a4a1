"""Availability, and attributes: what a file says of an item beyond the fields that items have.

An attribute's name is lower_snake, its value a text, a number, a flag or a list of texts. `a|b` is
a list, as in the lists that items have. Attributes that a row does not name keep their value.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from datetime import date
from functools import lru_cache
from typing import Any

import orjson

from omnisearch.data.catalogue.schema import ITEM_ENTITIES, table_of
from omnisearch.data.importers import value_checks as v
from omnisearch.data.importers.flags import NO, YES
from omnisearch.data.importers.value_checks import Refused, Unread

MOST = 256  # names in a catalogue
MOST_VALUES = 100  # of one item's attribute
LONGEST = 500  # characters of one value
LONGEST_NAME = 64

LEFT_OUT = ", and was left out"
_TOO_MANY = f"is not one of the catalogue's first {MOST} attributes{LEFT_OUT}"
_META = "attributes"

# As feeds write it, in lower case and with spaces → as the catalogue has it.
_AVAILABILITY = {
    **dict.fromkeys(YES, "in_stock"),
    **dict.fromkeys(NO, "out_of_stock"),
    "in stock": "in_stock",
    "instock": "in_stock",
    "available": "in_stock",
    "auf lager": "in_stock",
    "lieferbar": "in_stock",
    "en stock": "in_stock",
    "disponible": "in_stock",
    "disponibile": "in_stock",
    "在庫あり": "in_stock",
    "limited availability": "in_stock",
    "limitedavailability": "in_stock",
    "out of stock": "out_of_stock",
    "outofstock": "out_of_stock",
    "unavailable": "out_of_stock",
    "sold out": "out_of_stock",
    "soldout": "out_of_stock",
    "nicht auf lager": "out_of_stock",
    "nicht lieferbar": "out_of_stock",
    "ausverkauft": "out_of_stock",
    "rupture de stock": "out_of_stock",
    "en rupture de stock": "out_of_stock",
    "agotado": "out_of_stock",
    "esaurito": "out_of_stock",
    "在庫なし": "out_of_stock",
    "discontinued": "out_of_stock",
    "preorder": "preorder",
    "pre order": "preorder",
    "presale": "preorder",
    "backorder": "backorder",
    "back order": "backorder",
    "onbackorder": "backorder",
    "available for order": "backorder",
}


class NoAttribute(Refused):
    """A name that no attribute of the catalogue has or may have, whatever its value."""


def availability(value: Any, field: str) -> str | None:
    """One of `schema.AVAILABILITY` from a flag or the words of feeds; None if blank.

    Schema.org's addresses (https://schema.org/InStock) are read too.
    """
    if isinstance(value, bool):
        value = str(value)
    found = v.text(value, field)
    if found is None:
        return None
    words = re.split(r"[\s_-]+", found.strip().lower().rpartition("schema.org/")[2])
    known = _AVAILABILITY.get(" ".join(words))
    if known is None:
        raise Refused(field, "is no availability such as 'in stock' or 'out of stock'", value)
    return known


@lru_cache(maxsize=4096)
def attribute_name(column: str) -> str:
    """A column's name as lower_snake: 'Heel Height (cm)' and 'heelHeightCm' → heel_height_cm.

    Empty if it has no letters or digits.
    """
    apart = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", column)
    return re.sub(r"[\W_]+", "_", apart.casefold()).strip("_")


def read_attributes(
    values: dict[str, Any], fields: frozenset[str], record: dict[str, Any]
) -> list[Refused]:
    """Add the column `attributes` to an item's record: those that its row names, as a JSON object.

    Columns that are none of `fields` are attributes, and so is what the field `attributes` holds.
    A null removes an attribute; a null in place of the object removes all.

    Returns:
        What was left out, and why.
    """
    named: dict[str, Any] = {}
    left_out = []
    given = values.get("attributes")
    try:
        pairs = list(_object(given).items())
    except Refused as refused:
        pairs, left_out = [], [refused]
    if "attributes" in values and given is None:
        record["attributes"] = None
    pairs += [pair for pair in values.items() if pair[0] not in fields]
    for column, value in pairs:
        try:
            named[_checked_name(column, fields)] = _value(value, str(column))
        except Refused as refused:
            left_out.append(refused)
    if named:
        record["attributes"] = orjson.dumps(named).decode()
    return left_out


class AttributeNames:
    """The names of a catalogue's attributes, at most MOST, inside a transaction.

    Attributes:
        known: all of them; met: those of the records that were admitted.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        row = connection.execute("SELECT value FROM meta WHERE key = ?", [_META]).fetchone()
        self.known: set[str] = set(orjson.loads(row[0])) if row else set()
        self.met: set[str] = set()
        self._counted = self._changed = False

    def admit(self, record: dict[str, Any]) -> Iterator[Refused]:
        """Note the names in an item's record; those above MOST are removed from it, and told."""
        content = record.get("attributes")
        if content is None:
            return
        named = orjson.loads(content)
        new = named.keys() - self.known
        for name in sorted(new):
            if named[name] is not None and not self._add(name):
                del named[name]
                yield NoAttribute(name, _TOO_MANY)
        self.met |= named.keys() & self.known
        if not new:
            return
        if named:
            record["attributes"] = orjson.dumps(named).decode()
        else:
            del record["attributes"]

    def save(self) -> None:
        """Store the names in the open transaction, if there are new ones."""
        if not self._changed:
            return
        self._connection.execute(
            "INSERT INTO meta VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value "
            "WHERE value IS NOT excluded.value",
            [_META, orjson.dumps(sorted(self.known)).decode()],
        )

    def _add(self, name: str) -> bool:
        if len(self.known) >= MOST and not self._counted:
            self.known, self._counted = names_in(self._connection) | self.met, True
        if len(self.known) >= MOST:
            return False
        self.known.add(name)
        self.met.add(name)  # not stored yet
        self._changed = True
        return True


def names_in(connection: sqlite3.Connection) -> set[str]:
    """The names of the attributes that any item has."""
    found: set[str] = set()
    for entity in ITEM_ENTITIES:
        sql = f"SELECT DISTINCT a.key FROM {table_of(entity)}, json_each(attributes) a"
        found |= {name for (name,) in connection.execute(sql)}
    return found


def _object(value: Any) -> dict[str, Any]:
    if type(value) is str:
        with suppress(orjson.JSONDecodeError, UnicodeEncodeError):
            value = orjson.loads(value)
    if value is not None and type(value) is not dict:
        raise Refused("attributes", f"is not an object of names and values{LEFT_OUT}", value)
    return value or {}


def _checked_name(column: Any, fields: frozenset[str]) -> str:
    shown = str(column)[:100]
    name = attribute_name(column) if type(column) is str else ""
    if not name or len(name) > LONGEST_NAME or not name.isprintable():
        raise NoAttribute(shown, f"is no name of an attribute{LEFT_OUT}")
    if name in fields:
        raise NoAttribute(shown, f"has the name of the field {name}{LEFT_OUT}")
    return name


def _value(value: Any, field: str) -> Any:
    """A text, a number, a flag or a list of texts; None if there is nothing."""
    if value is None or type(value) is bool:
        return value
    if type(value) is str:
        return _list(value.split("|"), field) if "|" in value else _text(value, field)
    if type(value) is list:
        return _list(value, field)
    if isinstance(value, date):
        return value.isoformat()
    if type(value) is int and abs(value) > 2**53:
        return str(value)[:LONGEST]
    if isinstance(value, Unread | dict):
        raise Refused(field, f"is not text, a number, a flag or a list of texts{LEFT_OUT}", value)
    number = v.number(value, field, -v.MAX_NUMBER, v.MAX_NUMBER)
    return int(number) if number is not None and number == int(number) else number


def _text(value: Any, field: str) -> str | None:
    found = v.prose(str(value) if type(value) is float else value, field)
    if found is not None and len(found) > LONGEST:
        raise Refused(field, f"is longer than {LONGEST} characters{LEFT_OUT}", value)
    return found and " ".join(found.split())


def _list(values: list[Any], field: str) -> list[str] | None:
    if len(values) > MOST_VALUES:
        raise Refused(field, f"has more than {MOST_VALUES} values{LEFT_OUT}", values[:3])
    texts = [text for value in values if (text := _text(value, field))]
    return list(dict.fromkeys(texts)) or None
