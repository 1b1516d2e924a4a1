"""The pass shared by captions and image embeddings: items, pictures, cache, model, refusals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import repeat
from pathlib import Path
from typing import IO, Any

import orjson
import sqlite_utils

from omnisearch.data.catalogue.schema import ITEM_ENTITIES, table_of
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.progress import Progress
from omnisearch.enrichment.fetching import Origins, private_origins
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
        skip: whether to skip an item, by its entity type, id and `image`.
        compute: PIL images → one result each, as bytes.
    """

    workspace: Workspace
    db: sqlite_utils.Database
    name: str
    root: Path | None
    pending: str
    compute: Callable[[Sequence[Any]], list[bytes]]
    cache: Cache
    batch_size: int
    skip: Callable[[str, str, str], bool] = lambda entity, item_id, reference: False

    def run(
        self, tally: Tally, progress: Progress | None
    ) -> Iterator[list[tuple[str, str, str, bytes]]]:
        """Batches of (entity, item id, its `image`, result), each already in the cache.

        Items whose picture is refused are counted and written to `rejects/<name>.jsonl`.
        """
        total = sum(self._count(entity) for entity in ITEM_ENTITIES)
        done = 0
        allowed = private_origins(self.workspace)
        refusals = self.workspace.refused_pictures(self.name)
        refusals.unlink(missing_ok=True)
        with ThreadPoolExecutor(_READERS) as readers:
            for entity in ITEM_ENTITIES:
                for rows in self._items(entity):
                    wanted = [row for row in rows if not self.skip(entity, *row)]
                    references = [row[1] for row in wanted]
                    read = list(readers.map(self._read, references, repeat(allowed)))
                    pictures: dict[str, tuple[str, Picture]] = {}
                    refused = []
                    for (item_id, reference), picture in zip(wanted, read, strict=True):
                        if isinstance(picture, Picture):
                            pictures[item_id] = reference, picture
                        else:
                            refused.append((item_id, reference, picture))
                    if refused:
                        self._refuse(entity, refused, refusals, tally)
                    results = self._results([each for _, each in pictures.values()], tally)
                    if pictures:
                        yield [
                            (entity, item_id, reference, results[picture.sha256])
                            for item_id, (reference, picture) in pictures.items()
                        ]
                    done += len(rows)
                    if progress:
                        progress(done, total)

    def _count(self, entity: str) -> int:
        sql = f"SELECT COUNT(*) FROM {table_of(entity)} WHERE {self.pending}"
        return self.db.conn.execute(sql).fetchone()[0]

    def _items(self, entity: str) -> Iterator[list[tuple[str, str]]]:
        """(id, image) in batches, each from its own query, so that writes may happen in between."""
        last = ""
        while rows := self.db.conn.execute(
            f"SELECT id, image FROM {table_of(entity)} WHERE id > ? AND {self.pending} "
            "ORDER BY id LIMIT ?",
            [last, self.batch_size],
        ).fetchall():
            yield rows
            last = rows[-1][0]

    def _read(self, reference: str, allowed: Origins) -> Picture | str:
        try:
            return decode(read_bytes(reference, self.root, allowed))
        except Refused as reason:
            return str(reason)

    def _results(self, pictures: list[Picture], tally: Tally) -> dict[str, bytes]:
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
        return results

    def _refuse(
        self, entity: str, refused: list[tuple[str, str, str]], path: Path, tally: Tally
    ) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        file: IO[bytes]
        with path.open("ab") as file:
            for item_id, reference, reason in refused:
                tally.refused += 1
                tally.reasons[reason if len(tally.reasons) < 20 else "other"] += 1
                row = {"entity": entity, "id": item_id, "image": reference, "reason": reason}
                file.write(orjson.dumps(row) + b"\n")


HAS_IMAGE = "image IS NOT NULL AND image <> ''"


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
