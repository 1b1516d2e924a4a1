"""A generation on top of another: a small segment of what changed, and what it replaces below.

The cost is that of what changed: of an item whose words and vectors are made of the same as before,
the row of its table alone. Small segments are written anew together with the next changes, so that
there are few of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlite_utils

from omnisearch.data.catalogue.changes import changed_since, latest_change
from omnisearch.data.catalogue.items import existing
from omnisearch.data.catalogue.schema import ENTITIES, ITEM_ENTITIES
from omnisearch.data.workspace.artefacts import read_manifest
from omnisearch.indexer.below import Under, segments_under
from omnisearch.indexer.generation import folder_of
from omnisearch.indexer.parts.content import content_of, digest_of
from omnisearch.indexer.publish import Below, Job, facts_of, publish
from omnisearch.indexer.segment import GENERATION
from omnisearch.indexer.signals import EntitySignals, encode_items, read_hashed, related_queries

# More items than this share of the build's, and this number, that are in other segments or no
# longer count: then a build serves better than another update.
BUILD_SHARE = 0.1
BUILD_ITEMS = 1_000
# A segment is written anew if it is not so many times as large as what comes on top of it, or if
# all together is no more than this: the number of segments grows with the logarithm of the items.
_TIMES = 4
_SMALL = 64


def _changed(
    db: sqlite_utils.Database, manifest: dict[str, Any], under: list[Under], wanted: set[str]
) -> dict[str, list[str]]:
    """Entity type → the ids of what changed since, ascending, gone ones too.

    Args:
        wanted: the related queries now.
    """
    changed = changed_since(db, manifest["change"])
    found = {entity: changed.get(entity, []) for entity in ITEM_ENTITIES}
    tables = [each.tables["query"] for each in under if "query" in each.tables]
    before = {key for items in tables for key in items.alive()}
    renewed = {key for key in changed.get("query", ()) if key in wanted}
    return found | {"query": sorted((wanted ^ before) | renewed)}


@dataclass(frozen=True)
class Plan:
    """What an update writes.

    Attributes:
        ids: entity type → the ids of the items in its own segment.
        content: those of them whose words and vectors it has, too.
        below: what lies under it.
        merged: how many segments are written anew in it.
        nothing: whether the generation has all changes already.
    """

    ids: dict[str, list[str]]
    content: dict[str, list[str]]
    below: Below
    merged: int
    nothing: bool

    def signals(self, job: Job) -> dict[str, EntitySignals]:
        """The ids and vectors of the items with content."""
        items = sum(map(len, self.ids.values()))
        job.total = items + 2 * sum(map(len, self.content.values()))
        found = {
            entity: encode_items(job.workspace, job.db, job.encoder, entity, keys, job.step)
            for entity, keys in self.content.items()
            if keys
        }
        vectors = sum(len(each.ids) * len(each.spaces) for each in found.values())
        job.total = job.done + items + vectors
        return found


def increment(job: Job, number: int, may_build: bool = True, most: int | None = None) -> int | None:
    """Publish what changed since a generation, on top of it; returns the number that is live.

    Call it under the publish lock, reading one state of the catalogue. If nothing changed, nothing
    is published.

    Args:
        number: of the generation; its encoder is the job's.
        may_build: return None if so much has changed since its build that a build is due.
        most: items of a segment that is written anew; None for any, which may take long.

    Raises:
        Corrupt: a file of the generation that is read here is damaged.
    """
    plan = planned(job, number, most)
    if plan.nothing:
        return number
    if plan.below.due and may_build:
        return None
    return publish(job, plan.ids, plan.signals(job), plan.below)


def planned(job: Job, number: int, most: int | None = None, merging: bool = False) -> Plan:
    """What an update of a generation writes; other arguments and errors are those of `increment`.

    Args:
        merging: write the last segment anew if others go with it, and otherwise none.
    """
    db, folder = job.db, folder_of(job.workspace, number)
    manifest = read_manifest(folder, GENERATION)
    under = segments_under(job.workspace, folder, manifest)
    wanted = set(related_queries(db))
    changed = _changed(db, manifest, under, wanted)
    facts = facts_of(job)
    same = all(manifest.get(name) == value for name, value in facts.items())
    fresh = {
        entity: existing(db, entity, keys)
        if entity != "query"
        else [key for key in keys if key in wanted]
        for entity, keys in changed.items()
    }
    for each in under:
        for entity, items in each.tables.items():
            items.bury(changed[entity])
    new = sum(map(len, fresh.values()))
    if merging:
        *lower, last = under
        below_it = _folded(lower, new + last.size) if lower else []
        folded = [*below_it, last] if below_it else []
    else:
        folded = _folded(under, new, most)
    for each in folded:
        for entity, items in each.tables.items():
            fresh[entity] = sorted({*fresh[entity], *items.alive()})
    stay = under[: len(under) - len(folded)]
    content = {}
    for entity, keys in fresh.items():
        kept = _kept(job, entity, stay, keys, set(changed[entity]))
        content[entity] = [key for key in keys if key not in kept]
        gone = [key for key in changed[entity] if key not in kept]
        for items in (each.content[entity] for each in stay if entity in each.content):
            items.bury(gone)
    beside = sum(map(len, content.values())) + sum(
        len(items.ids) for each in stay[1:] for items in each.content.values()
    )
    beside += sum(len(items.dead) for each in stay for items in each.content.values())
    due = beside > max(BUILD_ITEMS, BUILD_SHARE * under[0].size)
    dead = {part: items.dead for each in stay for part, items in each.parts() if len(items.dead)}
    rows = {
        entity: sum(len(each.tables[entity]) for each in stay if entity in each.tables)
        for entity in ENTITIES
    }
    numbers = [each.number for each in stay]
    merge_due = bool(_folded(stay, sum(map(len, fresh.values()))))
    below = Below(manifest["number"], numbers, dead, rows, due, merge_due)
    nothing = same and not any(changed.values()) and manifest["change"] == latest_change(db)
    return Plan(fresh, content, below, len(folded), nothing)


def _kept(job: Job, entity: str, stay: list[Under], keys: list[str], changed: set[str]) -> set[str]:
    """Those of the items whose words and vectors are in a segment that stays, and are made of the
    same as now.

    None in a cluster, which filters by what it was given of their tables.

    Args:
        keys: which the catalogue has. changed: the others are as they were.
    """
    if not stay or stay[0].remote:
        return set()
    there: dict[str, bytes] = {}
    for each in stay:
        if entity in each.content:
            places = ((key, each.content[entity].place(key)) for key in keys)
            found = {key: place for key, place in places if place is not None}
            there |= {key: each.digests[entity][at].tobytes() for key, at in found.items()}
    asked = [key for key in there if key in changed]
    for item, vectors in read_hashed(job.workspace, job.db, job.encoder, entity, asked):
        content = content_of(item) if entity in ITEM_ENTITIES else None
        if digest_of(vectors, content) != there[item["id"]]:
            del there[item["id"]]
    return set(there)


def _folded(under: list[Under], new: int, most: int | None = None) -> list[Under]:
    """The last segments, those to write anew with what is new; never the build, nor, if `most` is
    given, one of more items."""
    first = len(under)
    while first > 1:
        size = under[first - 1].size
        if new + size > _SMALL and size >= _TIMES * new:
            break
        if most is not None and size > most:
            break
        new += size
        first -= 1
    return under[first:]
