"""`import_campaigns`: a file of campaigns, row by row; a campaign replaces the one of its id.

A bad value refuses its row: a campaign without its end, or for all countries, is another campaign.
An entry of its items that is wrong is left out and told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import sqlite_utils

from omnisearch.data.catalogue.campaigns import Campaign, load_campaigns, save_campaigns
from omnisearch.data.catalogue.schema import ITEM_ENTITIES, table_of
from omnisearch.data.importers import value_checks as v
from omnisearch.data.importers.codes import NoCodes
from omnisearch.data.importers.columns import Names, check_mapped
from omnisearch.data.importers.source import Source, begun
from omnisearch.data.importers.times import time
from omnisearch.data.importers.transaction import (
    Counts,
    Report,
    check_strict,
    importing,
    record,
    start_anew,
    without_rows,
)
from omnisearch.data.importers.value_checks import Refused
from omnisearch.data.text.language import primary
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.counts import counted
from omnisearch.data.workspace.progress import Progress

MOST_ITEMS = 100_000  # of one campaign
_FIELDS = frozenset(("id", "bid", "items", "start", "end", "countries", "languages"))
_AT_ONCE = 500  # ids of one question to the catalogue
_SHOWN = 3  # unknown items of a campaign that are named
_TOLD = 20  # campaigns with unknown items that are named

Drop = Callable[[Refused], None]


def import_campaigns(
    workspace: Workspace,
    path: Path,
    source: Source,
    names: Names,
    strict: bool = False,
    progress: Progress | None = None,
) -> Report:
    """Import the campaigns of an open source, read from `path`. Engines follow by themselves.

    What a campaign names that the catalogue does not have is told, and kept: it is advertised once
    it is there.

    Raises:
        InputError: no row had a column of the mapping in `names`, or `strict` is set and a row or
            a value was refused; nothing was imported.
        Corrupt: the campaigns of the workspace were damaged.
    """
    opened = source if workspace.catalogue.exists() else begun(source)
    if opened is None:
        return without_rows(path, "campaigns", source)
    source = opened
    counts = Counts("campaigns", source.format, notes=source.notes, ignored=source.ignored)
    with importing(workspace, path) as (db, rejects):
        found: dict[str, Campaign] = {}
        no_codes = NoCodes()
        for line, values, error, at, _, left_out in source.rows:
            counts.rows += 1
            bad: list[Refused] = []
            try:
                if values is None:
                    raise Refused(at, error or "cannot be read")
                counts.ignored.update(sorted(map(str, values.keys() - _FIELDS))[:100])
                campaign = campaign_of(values, bad.append)
                found[campaign.id] = campaign
                counts.taken += 1
                no_codes.see_values("country", campaign.countries)
                no_codes.see_values("language", campaign.languages)
            except Refused as refused:
                rejects.add(line, refused)
                continue
            for number, each in [*((line, each) for each in bad), *left_out]:
                rejects.leave_out(number, each)
            if progress:
                progress(source.done(), source.total)
        counts.notes += no_codes.notes()
        if counts.rows:
            check_mapped(names, path)
        if strict and (rejects.refused or rejects.left_out):
            start_anew(db)
            counts.taken = 0
        elif found:
            # One import at a time has the catalogue: nobody else writes campaigns meanwhile.
            before = load_campaigns(workspace)
            counts.changed = sum(before.get(key) != each for key, each in found.items())
            if counts.changed:
                save_campaigns(workspace, before | found)
            counts.notes += _unknown(db, found.values())
        report = record(db, path, counts, rejects)
    return check_strict(report) if strict else report


def campaign_of(values: dict[str, Any], drop: Drop) -> Campaign:
    """The campaign of a row's values; raises Refused. `drop` is told of items that are left out."""
    key = v.identifier(values.get("id"), "id")
    bid = v.number(values.get("bid"), "bid")
    if bid is None:
        raise Refused("bid", "is missing")
    if bid <= 0:
        raise Refused("bid", "is not above 0", values["bid"])
    start, end = (time(values.get(name), name) for name in ("start", "end"))
    if start is not None and end is not None and end <= start:
        raise Refused("end", "is not after the start", values["end"])
    countries = _codes(values.get("countries"), "countries", v.upper_code)
    languages = _codes(values.get("languages"), "languages", v.code)
    items = _items(values.get("items"), drop)
    spoken = tuple(dict.fromkeys(map(primary, languages)))
    return Campaign(key, bid, items, start, end, countries, spoken)


def _codes(value: Any, field: str, check: Callable[[Any, str], str | None]) -> tuple[str, ...]:
    listed = [check(each, field) for each in v.parts(value, field) or []]
    return tuple(dict.fromkeys(each for each in listed if each))


def _items(value: Any, drop: Drop) -> tuple[tuple[str, str], ...]:
    """Each item once: {"entity": "product", "id": "b7"}, or the text product/b7."""
    found: dict[tuple[str, str], None] = {}
    for entry in v.parts(value, "items", MOST_ITEMS) or []:
        try:
            found[_item(entry)] = None
        except Refused as refused:
            drop(Refused("items", refused.reason, entry))
    if not found:
        raise Refused("items", "names no item", value)
    return tuple(found)


def _item(entry: Any) -> tuple[str, str]:
    if isinstance(entry, str):
        entity, _, key = entry.strip().partition("/")
        entry = {"entity": entity, "id": key}
    if not isinstance(entry, dict):
        raise Refused("items", 'has an entry that is not {"entity", "id"} or product/ID')
    entity = v.choice(entry.get("entity"), "items", ITEM_ENTITIES, "entity")
    return entity, v.identifier(entry.get("id", entry.get("item_id")), "items")


def _unknown(db: sqlite_utils.Database, campaigns: Iterable[Campaign]) -> Iterator[str]:
    """Sentences on the items that the catalogue does not have."""
    told = 0
    for campaign in campaigns:
        missing = unknown_items(db, campaign)
        if not missing:
            continue
        told += 1
        if told <= _TOLD:
            named = ", ".join(f"{entity}/{key}" for entity, key in missing[:_SHOWN])
            more = ", …" if missing[_SHOWN:] else ""
            yield (
                f"Campaign {campaign.id} names {counted(len(missing), 'item')} that the catalogue "
                f"does not have ({named}{more}): kept, and advertised once imported."
            )
    if told > _TOLD:
        yield f"And {told - _TOLD:,} more campaigns name unknown items: see `omnisearch ads list`."


def unknown_items(db: sqlite_utils.Database, campaign: Campaign) -> list[tuple[str, str]]:
    """The items of a campaign that the catalogue does not have, in its order."""
    known: set[tuple[str, str]] = set()
    for entity in ITEM_ENTITIES:
        ids = [key for kind, key in campaign.items if kind == entity]
        for low in range(0, len(ids), _AT_ONCE):
            part = ids[low : low + _AT_ONCE]
            marks = ", ".join("?" * len(part))
            rows = db.conn.execute(f"SELECT id FROM {table_of(entity)} WHERE id IN ({marks})", part)
            known |= {(entity, key) for (key,) in rows}
    return [item for item in campaign.items if item not in known]
