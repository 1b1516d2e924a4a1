"""A generation on top of another: a small segment of what changed, and what it replaces below.

The cost is that of what changed. Small segments are written anew together with the next changes,
so that there are few of them.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import sqlite_utils
from safetensors.numpy import load

from omnisearch.data.catalogue.changes import changed_since, latest_change
from omnisearch.data.catalogue.items import existing
from omnisearch.data.catalogue.schema import ENTITIES, ITEM_ENTITIES
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.artefacts import read_manifest, read_verified
from omnisearch.data.workspace.reading import load_lines, reading
from omnisearch.indexer.generation import DEAD_FILE, folder_of
from omnisearch.indexer.parts.table import IDS_FILE
from omnisearch.indexer.publish import Below, Job, facts_of, publish
from omnisearch.indexer.segment import GENERATION
from omnisearch.indexer.signals import EntitySignals, encode_items, related_queries
from omnisearch.indexer.stacking import Dead

# More items than this share of the build's, and this number, that are in other segments or no
# longer count: then a build serves better than another update.
BUILD_SHARE = 0.1
BUILD_ITEMS = 1_000
# A segment is written anew if it is not so many times as large as what comes on top of it, or if
# all together is no more than this: the number of segments grows with the logarithm of the items.
_TIMES = 4
_SMALL = 64


@dataclass(frozen=True)
class _Under:
    """A segment below: its number, and of each entity type the ids and the dead places."""

    number: int
    ids: dict[str, list[str]]
    dead: dict[str, set[int]]

    def alive(self, entity: str) -> list[str]:
        dead = self.dead[entity]
        return [key for place, key in enumerate(self.ids[entity]) if place not in dead]

    def count(self, entity: str) -> int:
        """How many of its items count."""
        return len(self.ids.get(entity, ())) - len(self.dead.get(entity, ()))

    @property
    def size(self) -> int:
        return sum(map(len, self.ids.values()))


def _segments(workspace: Workspace, folder: Path, manifest: dict[str, Any]) -> list[_Under]:
    """The live generation's segments, of which only ids and dead places are read."""
    with reading("The list of items that no longer count", folder / DEAD_FILE, GENERATION.mend):
        stored = load(read_verified(folder, GENERATION, manifest, DEAD_FILE))
    found = []
    for number in manifest["segments"]:
        where = folder_of(workspace, number)
        says = read_manifest(where, GENERATION)
        ids, dead = {}, {}
        for entity in ENTITIES:
            name = f"{entity}/{IDS_FILE}"
            if name in says["files"]:
                ids[entity] = _ids(where, name, says["files"][name]["sha256"])
                places = stored.get(f"{number}/{entity}", np.zeros(0, np.int64))
                dead[entity] = set(places.tolist())
        found.append(_Under(number, ids, dead))
    return found


@lru_cache(maxsize=16)
def _ids(folder: Path, name: str, _: str) -> list[str]:
    """The ids of a segment that never changes: a service publishes again and again on top of it."""
    content = read_verified(folder, GENERATION, read_manifest(folder, GENERATION), name)
    with reading("The list of ids", folder / name, GENERATION.mend):
        return load_lines(content, str)


def _changed(
    db: sqlite_utils.Database, manifest: dict[str, Any], under: list[_Under], wanted: set[str]
) -> dict[str, list[str]]:
    """Entity type → the ids of what changed since, ascending, gone ones too.

    Args:
        wanted: the related queries now.
    """
    changed = changed_since(db, manifest["change"])
    found = {entity: changed.get(entity, []) for entity in ITEM_ENTITIES}
    before = {key for each in under if "query" in each.ids for key in each.alive("query")}
    renewed = {key for key in changed.get("query", ()) if key in wanted}
    return found | {"query": sorted((wanted ^ before) | renewed)}


@dataclass(frozen=True)
class Plan:
    """What an update writes.

    Attributes:
        ids: entity type → the ids of the items in its own segment.
        below: what lies under it.
        merged: how many segments are written anew in it.
        nothing: whether the generation has all changes already.
    """

    ids: dict[str, list[str]]
    below: Below
    merged: int
    nothing: bool

    def signals(self, job: Job) -> dict[str, EntitySignals]:
        """The items' ids and vectors."""
        job.total = 3 * sum(map(len, self.ids.values()))
        found = {
            entity: encode_items(job.workspace, job.db, job.encoder, entity, keys, job.step)
            for entity, keys in self.ids.items()
            if keys
        }
        items = sum(len(each.ids) for each in found.values())
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
    return publish(job, plan.signals(job), plan.below)


def planned(job: Job, number: int, most: int | None = None, merging: bool = False) -> Plan:
    """What an update of a generation writes; other arguments and errors are those of `increment`.

    Args:
        merging: write the last segment anew if others go with it, and otherwise none.
    """
    db, folder = job.db, folder_of(job.workspace, number)
    manifest = read_manifest(folder, GENERATION)
    under = _segments(job.workspace, folder, manifest)
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
    _bury(under, changed)
    new = sum(map(len, fresh.values()))
    if merging:
        *lower, last = under
        below_it = _folded(lower, new + last.size) if lower else []
        folded = [*below_it, last] if below_it else []
    else:
        folded = _folded(under, new, most)
    for each in folded:
        for entity in each.ids:
            fresh[entity] = sorted({*fresh[entity], *each.alive(entity)})
    stay = under[: len(under) - len(folded)]
    beside = sum(map(len, fresh.values())) + sum(each.size for each in stay[1:])
    beside += sum(len(dead) for each in stay for dead in each.dead.values())
    due = beside > max(BUILD_ITEMS, BUILD_SHARE * under[0].size)
    dead: Dead = {
        (each.number, entity): np.array(sorted(places), np.int64)
        for each in stay
        for entity, places in each.dead.items()
        if places
    }
    rows = {entity: sum(each.count(entity) for each in stay) for entity in ENTITIES}
    numbers = [each.number for each in stay]
    merge_due = bool(_folded(stay, sum(map(len, fresh.values()))))
    below = Below(manifest["number"], numbers, dead, rows, due, merge_due)
    nothing = same and not any(changed.values()) and manifest["change"] == latest_change(db)
    return Plan(fresh, below, len(folded), nothing)


def _bury(under: list[_Under], changed: dict[str, list[str]]) -> None:
    """Mark the earlier versions of what changed."""
    for each in under:
        for entity, ids in each.ids.items():
            for key in changed[entity]:
                place = bisect_left(ids, key)
                if place < len(ids) and ids[place] == key:
                    each.dead[entity].add(place)


def _folded(under: list[_Under], new: int, most: int | None = None) -> list[_Under]:
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
