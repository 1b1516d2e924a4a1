"""The pass shared by captions and image embeddings: items, pictures, cache, model, refusals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import orjson
import sqlite_utils

from omnisearch.data.catalogue.schema import ITEM_ENTITIES, table_of
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.progress import Progress
from omnisearch.enrichment.fetching import Origins, private_origins
from omnisearch.enrichment.inputs import pictures_of
from omnisearch.enrichment.pictures import Picture, Refused, decode, read_bytes
from omnisearch.enrichment.vision_models import Cache

_READERS = 8  # pictures read or fetched in parallel


@dataclass
class Tally:
    """Counts of the pictures by outcome."""

    computed: int = 0
    from_cache: int = 0
    refused: int = 0
    reasons: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Job:
    """One pass over items with pictures.

    Attributes:
        root: the folder that relative names are resolved in, or None.
        pending: SQL condition on an item; others are skipped.
        several: whether the further pictures of an item are read, too.
        skip: whether to skip an item, by its entity type, its id and what its pictures are named.
        compute: PIL images → one result each, as bytes.
    """

    workspace: Workspace
    db: sqlite_utils.Database
    name: str
    root: Path | None
    pending: str
    several: bool
    compute: Callable[[Sequence[Any]], list[bytes]]
    cache: Cache
    batch_size: int
    skip: Callable[[str, str, list[str]], bool] = lambda entity, item_id, references: False

    def run(
        self, tally: Tally, progress: Progress | None
    ) -> Iterator[list[tuple[str, str, list[tuple[str, bytes]]]]]:
        """Batches of (entity, item id, (what a picture is named, result) of each picture that could
        be read), already in the cache.

        Pictures that are refused are counted and written to `rejects/<name>.jsonl`; items without
        any other are left out.
        """
        total = sum(self._count(entity) for entity in ITEM_ENTITIES)
        done = 0
        self.workspace.refused_pictures(self.name).unlink(missing_ok=True)
        with ThreadPoolExecutor(_READERS) as readers:
            for entity in ITEM_ENTITIES:
                for items in self._items(entity):
                    wanted = [item for item in items if not self.skip(entity, *item)]
                    named = [(key, reference) for key, of_item in wanted for reference in of_item]
                    found: dict[str, list[tuple[str, bytes]]] = {}
                    # An item may have many pictures: only so many are in memory at once.
                    for start in range(0, len(named), self.batch_size):
                        part = named[start : start + self.batch_size]
                        for key, reference, result in self._results(readers, entity, part, tally):
                            found.setdefault(key, []).append((reference, result))
                    if found:
                        yield [(entity, key, results) for key, results in found.items()]
                    done += len(items)
                    if progress:
                        progress(done, total)

    def _count(self, entity: str) -> int:
        sql = f"SELECT COUNT(*) FROM {table_of(entity)} WHERE {self.pending}"
        return self.db.conn.execute(sql).fetchone()[0]

    def _items(self, entity: str) -> Iterator[list[tuple[str, list[str]]]]:
        """(id, what its pictures are named) in batches, each from its own query, so that writes may
        happen in between."""
        last = ""
        while rows := self.db.conn.execute(
            f"SELECT id, image, more_images FROM {table_of(entity)} "
            f"WHERE id > ? AND ({self.pending}) ORDER BY id LIMIT ?",
            [last, self.batch_size],
        ).fetchall():
            yield [(key, self._pictures(image, more)) for key, image, more in rows]
            last = rows[-1][0]

    def _pictures(self, image: str | None, more: str | None) -> list[str]:
        further = orjson.loads(more) if more and self.several else None
        return pictures_of({"image": image, "more_images": further})

    def _results(
        self, readers: Executor, entity: str, named: list[tuple[str, str]], tally: Tally
    ) -> Iterator[tuple[str, str, bytes]]:
        """(item id, what the picture is named, result) of those that can be read."""
        read = list(readers.map(self._read, (reference for _, reference in named)))
        refused = [
            (*at, picture) for at, picture in zip(named, read, strict=True) if type(picture) is str
        ]
        if refused:
            self._refuse(entity, refused, tally)
        pictures = [each for each in read if isinstance(each, Picture)]
        unique = {picture.sha256: picture.image for picture in pictures}
        results = self.cache.get(unique)
        fresh = [digest for digest in unique if digest not in results]
        if fresh:
            values = self.compute([unique[digest] for digest in fresh])
            made = dict(zip(fresh, values, strict=True))
            self.cache.put(made)
            results |= made
        tally.computed += len(fresh)
        tally.from_cache += len(pictures) - len(fresh)
        for (key, reference), picture in zip(named, read, strict=True):
            if isinstance(picture, Picture):
                yield key, reference, results[picture.sha256]

    @cached_property
    def _allowed(self) -> Origins:
        return private_origins(self.workspace)

    def _read(self, reference: str) -> Picture | str:
        try:
            return decode(read_bytes(reference, self.root, self._allowed))
        except Refused as reason:
            return str(reason)

    def _refuse(self, entity: str, refused: list[tuple[str, str, str]], tally: Tally) -> None:
        path = self.workspace.refused_pictures(self.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            for item_id, reference, reason in refused:
                tally.refused += 1
                tally.reasons[reason if len(tally.reasons) < 20 else "other"] += 1
                row = {"entity": entity, "id": item_id, "image": reference, "reason": reason}
                file.write(orjson.dumps(row) + b"\n")


HAS_IMAGE = "image IS NOT NULL AND image <> ''"
HAS_PICTURES = f"{HAS_IMAGE} OR more_images IS NOT NULL"


def summary(job: Job, tally: Tally, **counts: int) -> dict[str, Any]:
    """The counts for the caller."""
    shown: dict[str, Any] = counts | {
        "computed": tally.computed,
        "from_cache": tally.from_cache,
        "refused": tally.refused,
    }
    if tally.refused:
        shown["reasons"] = dict(tally.reasons.most_common())
        shown["rejects"] = str(job.workspace.refused_pictures(job.name))
    return shown
