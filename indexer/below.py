"""What lies below an update: segments, as far as an update reads them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from omnisearch.data.catalogue.schema import ENTITIES
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.artefacts import read_manifest, read_verified
from omnisearch.data.workspace.reading import load_lines, reading
from omnisearch.indexer.dead import CONTENT, DEAD_FILE, TABLE, Part, load_dead
from omnisearch.indexer.generation import folder_of
from omnisearch.indexer.parts.content import CONTENT_FILE, read_content
from omnisearch.indexer.parts.table import IDS_FILE
from omnisearch.indexer.segment import GENERATION, QDRANT


@dataclass
class Items:
    """Items of one entity type in a segment.

    Attributes:
        ids: ascending. dead: int64, ascending, the places of those that no longer count.
    """

    ids: list[str]
    dead: np.ndarray

    def __len__(self) -> int:
        """How many count."""
        return len(self.ids) - len(self.dead)

    def alive(self) -> list[str]:
        """Those that count."""
        return [self.ids[place] for place in np.delete(np.arange(len(self.ids)), self.dead)]

    def place(self, key: str) -> int | None:
        """Where an item is; None if it is not, or no longer counts."""
        place = bisect_left(self.ids, key)
        if place == len(self.ids) or self.ids[place] != key:
            return None
        at = int(np.searchsorted(self.dead, place))
        return None if at < len(self.dead) and self.dead[at] == place else place

    def bury(self, keys: Iterable[str]) -> None:
        """These no longer count."""
        places = [place for key in keys if (place := self.place(key)) is not None]
        new = np.array(sorted(places), np.int64)
        self.dead = np.insert(self.dead, np.searchsorted(self.dead, new), new)


@dataclass(frozen=True)
class Under:
    """A segment below.

    Attributes:
        remote: whether its words and vectors are in a cluster.
        tables, content: entity type → those of its items that have a row in its table, and those
            whose words and vectors are in it. digests: uint8 (c, 16), of the content.
    """

    number: int
    remote: bool
    tables: dict[str, Items]
    content: dict[str, Items]
    digests: dict[str, np.ndarray]

    @property
    def size(self) -> int:
        """How many items are in its tables, dead ones too."""
        return sum(len(items.ids) for items in self.tables.values())

    def parts(self) -> Iterator[tuple[Part, Items]]:
        """All of its items by part."""
        for what, of in ((TABLE, self.tables), (CONTENT, self.content)):
            for entity, items in of.items():
                yield (self.number, entity, what), items


def segments_under(workspace: Workspace, folder: Path, manifest: dict[str, Any]) -> list[Under]:
    """The segments of the generation in a folder, of which only ids, digests and dead places are
    read; raises Corrupt."""
    found = []
    for number in manifest["segments"]:
        where = folder_of(workspace, number)
        says = read_manifest(where, GENERATION)
        under = Under(number, says.get("backend") == QDRANT, {}, {}, {})
        for entity in ENTITIES:
            names = (f"{entity}/{IDS_FILE}", f"{entity}/{CONTENT_FILE}")
            stamps = tuple(says["files"][name]["sha256"] for name in names if name in says["files"])
            if stamps:
                ids, own, digests = _read(where, entity, stamps)
                under.tables[entity] = Items(ids, np.zeros(0, np.int64))
                under.content[entity] = Items(own, np.zeros(0, np.int64))
                under.digests[entity] = digests
        found.append(under)
    parts = {part: items for each in found for part, items in each.parts()}
    with reading("The list of items that no longer count", folder / DEAD_FILE, GENERATION.mend):
        stored = read_verified(folder, GENERATION, manifest, DEAD_FILE)
        dead = load_dead(stored, {part: len(items.ids) for part, items in parts.items()})
    for part, items in parts.items():
        items.dead = dead[part]
    return found


@lru_cache(maxsize=16)
def _read(folder: Path, entity: str, _: tuple[str, ...]) -> tuple[list[str], list[str], np.ndarray]:
    """The ids in the table of a segment, those of its content, and the digests of these.

    A segment never changes, and a service publishes again and again on top of it. The hashes of
    both files tell it from another at its place, after somebody has removed all generations.
    """
    manifest = read_manifest(folder, GENERATION)
    name, of_content = f"{entity}/{IDS_FILE}", f"{entity}/{CONTENT_FILE}"
    stored = read_verified(folder, GENERATION, manifest, name)
    with reading("The list of ids", folder / name, GENERATION.mend):
        ids = load_lines(stored, str)
    stored = read_verified(folder, GENERATION, manifest, of_content)
    rows, digests = read_content(folder / of_content, stored, len(ids))
    own = ids if len(rows) == len(ids) else [ids[row] for row in rows.tolist()]
    return ids, own, digests
