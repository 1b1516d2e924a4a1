"""Parsers of each kind of row, from a file's values to the catalogue's columns.

A parser takes the values of one row and returns the columns to write. A field that the row does not
name is absent (the catalogue keeps its value); a null is None (the value is cleared). It raises
`Refused` for a bad row.

A bad value of an optional field makes a bad row too, unless there is someone to tell: then the
parser calls `drop` with what is wrong, and the field is absent. Optional are fields whose absence
says that nothing is known: without its `count` or `surface` an event would say something else.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from hashlib import blake2b
from typing import Any

import orjson

from omnisearch.data.catalogue.schema import ACTIONS, CODE_FIELDS, ENTITIES, ITEM_ENTITIES
from omnisearch.data.catalogue.splits import SPLITS
from omnisearch.data.importers import value_checks as v
from omnisearch.data.importers.attributes import LEFT_OUT, availability
from omnisearch.data.importers.currencies import currency
from omnisearch.data.importers.times import past_time
from omnisearch.data.importers.value_checks import Refused
from omnisearch.data.text.links import safe_link
from omnisearch.data.text.normalise import normalise_query

KINDS = (
    "pins",
    "products",
    "boards",
    "board_items",
    "queries",
    "engagements",
    "judgments",
    "campaigns",
    "deletions",
)

ITEM_KINDS = ("pins", "products")  # rows that may have attributes
MAX_ITEMS = 100_000  # of one board, inline
_UNSAFE = f"is not an http or https address{LEFT_OUT}"

Record = dict[str, Any]
Parser = Callable[[dict[str, Any]], Record]
Drop = Callable[[Refused], None]
Check = Callable[[Any, str], Any]

_ITEM_FIELDS: dict[str, Check] = {
    "id": v.identifier,
    "title": v.prose,
    "description": v.prose,
    "caption": v.prose,
    "board_titles": v.texts,
    "engaged_queries": lambda value, field: engaged_queries(value, field),
    "domain": v.text,
    "link": v.text,
    "image": v.text,
    "more_images": v.pictures,
    "language": v.code,
    "country": v.upper_code,
    "created_at": past_time,
    "campaign": v.prose,
    "availability": availability,
}
_PRODUCT_FIELDS = _ITEM_FIELDS | {
    "brand": v.prose,
    "price": v.number,
    "currency": currency,
    "size": v.prose,
    "colours": v.texts,
    "materials": v.texts,
    "patterns": v.texts,
    "product_types": v.texts,
    **{name: v.optional_identifier for name in CODE_FIELDS},
}
_BOARD_FIELDS: dict[str, Check] = {
    "id": v.identifier,
    "title": v.prose,
    "owner": v.text,
    "language": v.code,
}

_SURFACES = ("search", "offsite")
_OPTIONAL_OF_EVENTS = frozenset(("language", "country", "session", "position"))
# Names of events of Google Analytics 4, which logs of other programs have too.
GA4_ACTIONS = {
    "view_item_list": "impression",
    "view_search_results": "impression",
    "select_item": "click",
    "add_to_wishlist": "save",
    "add_to_cart": "add_to_cart",
    "purchase": "checkout",
}
_DELETABLE = (*ENTITIES, "board")

# All fields of each kind. Other columns are attributes of pins and products (`read_attributes`); of
# other kinds they are ignored and listed in the report.
FIELDS: dict[str, tuple[str, ...]] = {
    "pins": (*_ITEM_FIELDS, "attributes"),
    "products": (*_PRODUCT_FIELDS, "attributes"),
    "boards": (*_BOARD_FIELDS, "items"),
    "board_items": ("board_id", "entity", "item_id", "added_at"),
    "queries": ("text", "language", "country", "split"),
    "engagements": (
        "event_id",
        "time",
        "query",
        "entity",
        "item_id",
        "action",
        "count",
        "language",
        "country",
        "surface",
        "session",
        "position",
    ),
    "judgments": ("query", "entity", "item_id", "grade", "judge", "time"),
    "campaigns": ("id", "bid", "items", "start", "end", "countries", "languages"),
    "deletions": ("entity", "id"),
}
# Columns that every file of a kind must have.
REQUIRED: dict[str, tuple[str, ...]] = {
    "pins": ("id",),
    "products": ("id",),
    "boards": ("id",),
    "board_items": ("board_id", "item_id"),
    "queries": ("text",),
    "engagements": ("time", "query", "entity", "item_id", "action"),
    "judgments": ("query", "entity", "item_id", "grade"),
    "campaigns": ("id", "bid", "items"),
    "deletions": ("entity", "id"),
}
# A value that is taken, of each required field of rows of the catalogue.
SUCH_AS: Record = {
    **dict.fromkeys(("id", "board_id", "item_id", "text", "query"), "x"),
    **{"time": 1, "entity": "pin", "action": "click", "grade": 1},
}


class QueryIds:
    """Cached ids of query texts, because a log repeats its queries.

    `texts` maps each id met since the last `forget` to its first text.
    """

    LIMIT = 200_000

    def __init__(self) -> None:
        self._ids: dict[str, str] = {}
        self.texts: dict[str, str] = {}

    def id_of(self, value: Any, field: str) -> str:
        """The id of a query's text; raises Refused if it is empty or not text."""
        known = self._ids.get(value) if type(value) is str else None
        if known is not None:
            return known
        checked = v.text(value, field)
        key = normalise_query(checked) if checked else ""
        if not key:
            raise Refused(field, "is missing")
        assert checked is not None
        self._ids[checked] = key
        self.texts.setdefault(key, checked.strip())
        return key

    def forget(self) -> None:
        """Clear the cache if it is large; called between blocks of rows."""
        if len(self._ids) > self.LIMIT:
            self._ids.clear()
            self.texts.clear()


def parser_of(kind: str, queries: QueryIds, drop: Drop | None = None) -> Parser:
    """The parser of a kind of rows, one of KINDS; `drop` is told of values that are left out.

    Campaigns are no rows of the catalogue: `importers.campaigns` reads them.
    """
    return {
        "pins": _by_table(_ITEM_FIELDS, drop),
        "products": _by_table(_PRODUCT_FIELDS, drop),
        "boards": _by_table(_BOARD_FIELDS, drop),
        "board_items": lambda values: board_item(values, drop),
        "queries": lambda values: query(values, queries, drop),
        "engagements": lambda values: engagement(values, queries, drop),
        "judgments": lambda values: judgment(values, queries, drop),
        "deletions": lambda values: deletion(values, queries),
    }[kind]


def _by_table(checks: dict[str, Check], drop: Drop | None) -> Parser:
    def parse(values: dict[str, Any]) -> Record:
        record = {"id": v.identifier(values.get("id"), "id")}
        for field, value in values.items():
            check = checks.get(field)
            if check is not None:
                try:
                    record[field] = check(value, field)
                except Refused as refused:
                    if drop is None:
                        raise
                    drop(refused)
        return record

    return parse


def _optional(values: dict[str, Any], field: str, check: Check, drop: Drop | None) -> Record:
    """{field: its value}, or {} if the row has no such field or its value is dropped."""
    if field not in values:
        return {}
    try:
        return {field: check(values[field], field)}
    except Refused as refused:
        if drop is None:
            raise
        drop(refused)
        return {}


def leave_out_unsafe_link(record: Record) -> Refused | None:
    """Remove a link that is not safe to follow (`data.text.links`) from a record, and say so."""
    link = record.get("link")
    if not link or safe_link(link):
        return None
    del record["link"]
    return Refused("link", _UNSAFE, link)


def engaged_queries(value: Any, field: str) -> str | None:
    """[query] or [[query, weight] or [query, weight, time]] as the JSON the catalogue holds.

    Best first: by weight, then in the order given. The default weight is 1, the default time 0.
    """
    entries: dict[str, list[Any]] = {}
    for entry in v.parts(value, field) or []:
        listed = entry if type(entry) is list else [entry]
        if not 1 <= len(listed) <= 3:
            raise Refused(field, "has an entry that is not [query, weight, time]", entry)
        raw, weight, last = [*listed, None, None][:3]
        key = normalise_query(v.text(raw, field) or "")
        if not key:
            continue
        known = v.number(weight, field)
        found = 1.0 if known is None else known
        # Whole weights stay whole, as enrichment writes them.
        plain = int(found) if found == int(found) else found
        entries.setdefault(key, [key, plain, past_time(last, field) or 0])
    best_first = sorted(entries.values(), key=lambda entry: -entry[1])
    return orjson.dumps(best_first).decode() if best_first else None


def board_item(values: dict[str, Any], drop: Drop | None = None) -> Record:
    entity = values.get("entity")
    record: Record = {
        "board_id": v.identifier(values.get("board_id"), "board_id"),
        "entity": "pin" if entity is None else v.choice(entity, "entity", ITEM_ENTITIES, "entity"),
        "item_id": v.identifier(values.get("item_id"), "item_id"),
    }
    return record | _optional(values, "added_at", past_time, drop)


def inline_items(board_id: str, value: Any) -> list[dict[str, Any]]:
    """A board's `items` as rows of kind board_items: ids of pins, or {"entity", "id"}."""
    rows = []
    for entry in v.parts(value, "items", MAX_ITEMS) or []:
        given = entry if type(entry) is dict else {"id": entry}
        row = {"board_id": board_id, "item_id": given.get("id", given.get("item_id"))}
        rows.append(row | {k: given[k] for k in ("entity", "added_at") if k in given})
    return rows


def query(values: dict[str, Any], queries: QueryIds, drop: Drop | None = None) -> Record:
    raw = values.get("text")
    record: Record = {"id": queries.id_of(raw, "text")}
    record["text"] = queries.texts.get(record["id"], record["id"])
    record |= _optional(values, "language", v.code, drop)
    record |= _optional(values, "country", v.upper_code, drop)
    if "split" in values:
        split = values["split"]
        record["split"] = v.choice(split, "split", SPLITS, "split") if split else None
    return record


def engagement(values: dict[str, Any], queries: QueryIds, drop: Drop | None = None) -> Record:
    try:
        return _engagement(values, queries)
    except Refused as refused:
        if drop is None or refused.field not in _OPTIONAL_OF_EVENTS:
            raise
        drop(refused)
        return engagement(values | {refused.field: None}, queries, drop)


def _engagement(values: dict[str, Any], queries: QueryIds) -> Record:
    get = values.get
    moment = past_time(get("time"), "time")
    if moment is None:
        raise Refused("time", "is missing")
    text = queries.id_of(get("query"), "query")
    few = (get("entity"), get("action"), get("language"), get("country"), get("surface"))
    try:
        words = _few_words(*few)
    except TypeError:  # lists and other unhashable values cannot be cached
        words = _few_words.__wrapped__(*few)
    entity, action, language, country, surface = words
    named = queries.id_of if entity == "query" else v.identifier
    item = named(get("item_id"), "item_id")
    count = v.whole(get("count"), "count", 1, 10**9)
    session = v.optional_identifier(get("session"), "session")
    position = v.whole(get("position"), "position", 1, 10**6)
    event = get("event_id")
    if event is not None and event != "":
        identity = f"\x1e{v.identifier(event, 'event_id')}"
    else:
        identity = (
            f"{moment}\x1f{text}\x1f{entity}\x1f{item}\x1f{action}\x1f{language}\x1f{country}"
            f"\x1f{surface}\x1f{session}\x1f{position}"
        )
    return {
        "event": int.from_bytes(
            blake2b(identity.encode(), digest_size=8).digest(), "big", signed=True
        ),
        "time": moment,
        "query": text,
        "entity": entity,
        "item_id": item,
        "action": action,
        "count": 1 if count is None else count,
        "language": language,
        "country": country,
        "surface": surface,
        "session": session,
        "position": position,
    }


@lru_cache(maxsize=4096)
def _few_words(
    entity: Any, action: Any, language: Any, country: Any, surface: Any
) -> tuple[str, str, str | None, str | None, str]:
    """The fields of an event that take few values, checked together once."""
    return (
        v.choice(entity, "entity", ENTITIES, "entity"),
        _action(action),
        v.code(language, "language"),
        v.upper_code(country, "country"),
        v.choice(surface or "search", "surface", _SURFACES, "surface"),
    )


def _action(value: Any) -> str:
    """An action however it is spelled, such as `Add to cart`, or one of GA4_ACTIONS."""
    said = "_".join(value.lower().replace("-", " ").split()) if type(value) is str else ""
    said = GA4_ACTIONS.get(said, said)
    return v.choice(said if said in ACTIONS else value, "action", ACTIONS, "action")


def judgment(values: dict[str, Any], queries: QueryIds, drop: Drop | None = None) -> Record:
    text = queries.id_of(values.get("query"), "query")
    entity = v.choice(values.get("entity"), "entity", ENTITIES, "entity")
    named = queries.id_of if entity == "query" else v.identifier
    grade = v.number(values.get("grade"), "grade", -1000, 1000)
    if grade is None:
        raise Refused("grade", "is missing")
    record: Record = {
        "query": text,
        "entity": entity,
        "item_id": named(values.get("item_id"), "item_id"),
        "judge": v.optional_identifier(values.get("judge"), "judge") or "unnamed",
        "grade": grade,
    }
    return record | _optional(values, "time", past_time, drop)


def deletion(values: dict[str, Any], queries: QueryIds) -> Record:
    entity = v.choice(values.get("entity"), "entity", _DELETABLE, "entity")
    raw = values.get("id")
    return {
        "entity": entity,
        "id": queries.id_of(raw, "id") if entity == "query" else v.identifier(raw, "id"),
    }
