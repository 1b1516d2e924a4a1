"""Events of Google Analytics 4, as its export to BigQuery has them: one event an object.

An event teaches search if it belongs to a query: its `search_term`, or that under which its item
was last listed or chosen in the same session. Items are found by their id or by the code of one of
their variants.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from functools import lru_cache
from typing import Any

import orjson

from omnisearch.data.importers.feeds.feed_file import FeedFile
from omnisearch.data.importers.feeds.groups import grouped
from omnisearch.data.importers.rows import GA4_ACTIONS
from omnisearch.data.importers.source import Row

COLUMNS = {
    "eventname": "event_name",
    "eventtimestamp": "event_timestamp",
    "eventparams": "event_params",
    "userpseudoid": "user_pseudo_id",
    "items": "items",
    "device": "device",
    "searchterm": "search_term",
    "gasessionid": "ga_session_id",
}
_UNSET = ("", "(not set)")


def engagements(file: FeedFile) -> Iterator[Row]:
    """What users did with the items that a search listed."""
    with closing(sqlite3.connect("")) as codes:
        _collect_codes(file, codes)
        product_of = lru_cache(maxsize=100_000)(lambda code: _product_of(codes, code))
        for session in grouped(_events(file), _session):
            if session[0].values is None:
                yield session[0]
                continue
            queries: dict[str, str] = {}  # item → the query that led to it last
            for row in sorted(session, key=lambda row: row.values["microseconds"]):  # type: ignore[index]
                yield from _rows(file, row, queries, product_of)


def _events(file: FeedFile) -> Iterator[Row]:
    """The events with items that can teach search, with what is needed of them."""
    for row in file.rows(COLUMNS, frozenset()):
        values = row.values
        if values is None:
            yield row
            continue
        name = values.get("event_name")
        if name not in GA4_ACTIONS:
            file.left_out[f"event {name!s:.40}", f"events {name!s:.40}"] += 1
            continue
        parameters = _parameters(values.get("event_params"))
        try:
            moment = int(values.get("event_timestamp") or 0)
        except (TypeError, ValueError):
            moment = 0
        if moment <= 0:
            yield Row(row.line, None, "is missing, or no time in microseconds", "event_timestamp")
            continue
        term = values.get("search_term") or parameters.get("search_term")
        device = values.get("device")
        yield row._replace(
            values={
                "microseconds": moment,
                "action": GA4_ACTIONS[name],
                "query": str(term).strip() if term else "",
                "items": _items(values.get("items")),
                "user": str(values.get("user_pseudo_id") or ""),
                "session": str(
                    values.get("ga_session_id") or parameters.get("ga_session_id") or ""
                ),
                "language": device.get("language") if type(device) is dict else None,
            }
        )


def _session(values: dict[str, Any]) -> str:
    """The session of an event; without one, events have nothing in common but their query."""
    if not values["user"]:
        return f"\x1f{values['microseconds']}\x1f{values['query']}"
    return f"{values['user']}\x1f{values['session']}"


def _rows(file: FeedFile, row: Row, queries: dict[str, str], product_of: Any) -> Iterator[Row]:
    values = row.values or {}
    if not values["items"]:
        file.left_out["event without items", "events without items"] += 1
    named = f"{values['user']}.{values['session']}".strip(".")
    for place, (code, index) in enumerate(values["items"], 1):
        query = values["query"] or queries.get(code, "")
        if not query:
            without = "item of an event without a query", "items of events without a query"
            file.left_out[without] += 1
            continue
        if values["action"] in ("impression", "click"):
            queries[code] = query
        made = {
            "time": values["microseconds"] // 1_000_000,
            "query": query,
            "entity": "product",
            "item_id": product_of(code),
            "action": values["action"],
            "session": named or None,
            "language": values["language"],
        }
        if values["action"] == "impression":
            made["position"] = place if index is None else index
        yield row._replace(values=made)


def _parameters(given: Any) -> dict[str, Any]:
    """`event_params` as a dict: a list of {"key", "value": {"string_value", ...}}, or a dict."""
    if type(given) is dict:
        return given
    found = {}
    for each in given if type(given) is list else []:
        if type(each) is dict and type(each.get("value")) is dict:
            kinds = each["value"].values()
            found[str(each.get("key"))] = next((v for v in kinds if v is not None), None)
    return found


def _items(given: Any) -> list[tuple[str, int | None]]:
    """(code, place from 1 or None) of each item that has a code."""
    found = []
    for item in given if type(given) is list else []:
        code = str(item.get("item_id") or "").strip() if type(item) is dict else ""
        if code in _UNSET:
            continue
        index = item.get("item_list_index", item.get("index"))
        try:
            place = int(index) + 1  # Google counts from 0
        except (TypeError, ValueError):
            place = None
        found.append((code, place if place and place > 0 else None))
    return found


def _collect_codes(file: FeedFile, codes: sqlite3.Connection) -> None:
    """Code → product, of all products of the catalogue that have codes beside their id."""
    codes.execute("CREATE TABLE codes (code TEXT PRIMARY KEY, id TEXT) WITHOUT ROWID")
    if not file.workspace.catalogue.exists():
        return
    from omnisearch.data.catalogue.schema import open_catalogue

    db = open_catalogue(file.workspace.catalogue)
    try:
        add = "INSERT OR IGNORE INTO codes VALUES (?, ?)"
        codes.executemany(add, db.conn.execute("SELECT id, id FROM products"))
        codes.executemany(add, db.conn.execute("SELECT sku, id FROM products WHERE sku NOT NULL"))
        listed = db.conn.execute(
            "SELECT json_extract(attributes, '$.skus'), id FROM products "
            "WHERE json_type(attributes, '$.skus') = 'array'"
        )
        for skus, key in listed:
            codes.executemany(add, [(sku, key) for sku in orjson.loads(skus)])
    finally:
        db.conn.close()


def _product_of(codes: sqlite3.Connection, code: str) -> str:
    """The product of a code; the code itself if there is none, so that the row is refused."""
    found = codes.execute("SELECT id FROM codes WHERE code = ?", [code]).fetchone()
    return found[0] if found else code
