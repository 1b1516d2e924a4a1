"""Writing one generation into its own folder, and making it the live one."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import sqlite_utils

from omnisearch.data.catalogue.items import field_texts
from omnisearch.data.catalogue.schema import ENTITIES, ITEM_ENTITIES, get_meta
from omnisearch.data.text.keys import word_keys
from omnisearch.data.text.tokens import CODE, TOKENS_VERSION, spelled_words
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.artefacts import read_manifest, write_manifest, write_pointer
from omnisearch.data.workspace.files import new_folder
from omnisearch.data.workspace.progress import Progress
from omnisearch.data.workspace.reading import load_array, reading
from omnisearch.data.workspace.settings import check_ranges
from omnisearch.indexer.generation import GENERATION, Generation
from omnisearch.indexer.parts.recall import item_recall_of, recall_of
from omnisearch.indexer.parts.spelling import keys_of, write_spelling
from omnisearch.indexer.parts.table_write import write_table
from omnisearch.indexer.parts.tokens import (
    OWN_FIELDS,
    item_line,
    own_part,
    read_tokens,
    write_tokens,
)
from omnisearch.indexer.parts.vectors import Space
from omnisearch.indexer.parts.vectors_write import GraphOptions, write_space
from omnisearch.indexer.parts.words import write_texts
from omnisearch.indexer.retention import next_number, retain
from omnisearch.indexer.rows import Rows, assign_rows
from omnisearch.indexer.signals import (
    HASH_BYTES,
    LEARNED,
    EntitySignals,
    ItemsAndQueries,
    encode_signals,
    read_signals,
)

TEXTS_FILE = "texts.npy"
ENCODER = "encoder"  # the query encoder of these vectors, kept with them


@dataclass(frozen=True)
class BuildOptions:
    """The `[index]` table of `omnisearch.toml`.

    Attributes:
        m: links per element in the HNSW graphs.
        ef_construction: breadth of the search for them.
        retention: how many generations are kept, including the live one.
        recall_ef: breadth of the search with which recall is measured.
    """

    m: int = 16
    ef_construction: int = 150
    retention: int = 3
    recall_ef: int = 150

    def __post_init__(self) -> None:
        ranges: dict[str, tuple[float, float]] = {
            "m": (2, 128),
            "ef_construction": (1, 10_000),
            "retention": (1, 1_000_000),
            "recall_ef": (1, 100_000),
        }
        check_ranges("index", vars(self), ranges)


@dataclass
class Job:
    """One generation to write.

    Attributes:
        base: the generation whose rows it keeps; None to renumber all items.
        fresh: encode every item, changed or not.
    """

    workspace: Workspace
    db: sqlite_utils.Database
    encoder: ItemsAndQueries
    options: BuildOptions
    progress: Progress | None = None
    base: Generation | None = None
    fresh: bool = False
    done: int = field(default=0, init=False)
    total: int = field(default=0, init=False)

    def step(self, items: int) -> None:
        """Report further items as done."""
        self.done += items
        if self.progress:
            self.progress(min(self.done, self.total), self.total)

    def base_folder(self, entity: str) -> Path | None:
        """The base's folder of an entity type."""
        if self.base is None:
            return None
        return self.workspace.generation(self.base.number) / entity


def publish(job: Job) -> int:
    """Write the job's generation and make it the live one; returns its number.

    Call it under the build lock. A generation equal to its base is not published; the base's number
    is returned.
    """
    workspace = job.workspace
    stats = encode_signals(
        workspace, job.db, job.encoder, progress=_first_part(job), fresh=job.fresh
    )
    signals = read_signals(stats.folder)
    _count_the_rest(job, signals)
    number = next_number(workspace)
    try:
        with new_folder(workspace.generation(number)) as folder:
            _write(job, folder, number, signals)
    except _Unchanged:
        assert job.base is not None
        return job.base.number
    write_pointer(workspace.current, number)
    retain(workspace, job.options.retention, number)
    return number


class _Unchanged(Exception):
    """The new generation equals its base."""


def _write(job: Job, folder: Path, number: int, signals: dict[str, EntitySignals]) -> None:
    options = job.options
    graph = GraphOptions(options.m, options.ef_construction)
    spaces: dict[tuple[str, str], Space] = {}
    entities, ids = {}, {}
    before = None if job.base is None else job.base.spelling
    codes: list[np.ndarray] = []
    spelled = Counter(dict(before.counted()) if before else {})
    for entity in ENTITIES:
        (folder / entity).mkdir()
        found = signals[entity]
        rows = assign_rows(found.ids, job.base.tables[entity].ids if job.base else ())
        ids[entity] = rows.ids
        row_of = rows.row_of()
        places = np.fromiter((row_of[key] for key in found.ids), np.int64, len(found.ids))
        entities[entity] = {"rows": len(rows), "live": len(found.ids)}
        texts = (found.texts, places)
        codes.append(_write_items(job, folder / entity, entity, rows, texts, spelled))
        job.step(len(found.ids))
        for name, vectors in sorted(found.spaces.items()):
            old = None if job.base is None else job.base.spaces.get((entity, name))
            target = folder / entity / f"{name}.npy"
            spaces[entity, name] = write_space(
                target, (vectors, places, len(rows)), graph, old, job.step
            )
    known = np.concatenate([keys_of(job.encoder.words()), *codes])
    write_spelling(folder, spelled, np.union1d(known, before.known) if before else known)
    (folder / ENCODER).mkdir()
    job.encoder.copy_to(folder / ENCODER)
    write_manifest(
        folder,
        GENERATION,
        {
            "number": number,
            "created_at": int(time.time()),
            "checkpoint": job.encoder.checkpoint,
            "checkpoint_name": job.encoder.name,
            "engaged_until": get_meta(job.db, "engaged_until"),
            "synthetic": bool(get_meta(job.db, "synthetic", False)),
            "tokens_version": TOKENS_VERSION,
            "options": asdict(options),
            "based_on": job.base.number if job.base else None,
            "entities": entities,
            "spaces": _describe(options, spaces, ids, signals["query"].spaces[LEARNED]),
        },
    )
    if job.base is not None and _same_content(folder, job.base):
        raise _Unchanged


def _write_items(
    job: Job,
    folder: Path,
    entity: str,
    rows: Rows,
    texts: tuple[np.ndarray, np.ndarray],
    spelled: Counter[str],
) -> np.ndarray:
    """Write the table, and for items tokens and words, reusing the base's for unchanged texts.

    The words of changed texts are counted in `spelled`. Returns the keys of the items' codes.
    """
    digests = np.zeros((len(rows), texts[0].shape[1]), dtype=np.uint8)
    digests[texts[1]] = texts[0]
    if entity not in ITEM_ENTITIES:
        write_table(folder, job.db, entity, rows)
        return word_keys([])
    np.save(folder / TEXTS_FILE, digests)
    lines = [""] * len(rows)
    same = np.zeros(len(rows), dtype=bool)
    old = job.base_folder(entity)
    if job.base is not None and old is not None:
        if job.base.manifest.get("tokens_version") == TOKENS_VERSION:
            before = read_texts(old, len(job.base.tables[entity]))
            same[: len(before)] = (before == digests[: len(before)]).all(axis=1)
            same &= ~rows.deleted
        for row, line in enumerate(read_tokens(old, len(job.base.tables[entity]))):
            if same[row]:
                lines[row] = line

    def visit(row: int, item: dict[str, Any]) -> None:
        if not same[row]:
            lines[row] = item_line(item)
            spelled.update(spelled_words("\n".join(field_texts(item, OWN_FIELDS))))

    write_table(folder, job.db, entity, rows, visit)
    write_tokens(folder, lines)
    write_texts(folder, list(map(own_part, lines)))
    return word_keys(token for line in lines for token in line.split() if token[0] == CODE)


def read_texts(folder: Path, rows: int) -> np.ndarray:
    """uint8 (rows, 16), the hash of each item's texts; raises Corrupt."""
    path = folder / TEXTS_FILE
    with reading("The hashes of texts", path, GENERATION.again):
        return load_array(path, np.uint8, (rows, HASH_BYTES))


def _describe(
    options: BuildOptions,
    spaces: dict[tuple[str, str], Space],
    ids: dict[str, list[str]],
    queries: np.ndarray,
) -> list[dict[str, Any]]:
    return [
        {
            "entity": entity,
            "space": name,
            "dim": space.dim,
            "M": options.m,
            "vectors": space.count,
            "recall": recall_of(space, queries, options.recall_ef),
            "item_recall": item_recall_of(space, ids[entity], options.recall_ef),
        }
        for (entity, name), space in spaces.items()
    ]


def _same_content(folder: Path, base: Generation) -> bool:
    """Whether two generations have equal content; tantivy's file names are random."""

    def content(files: dict[str, Any]) -> dict[str, str]:
        return {name: says["sha256"] for name, says in files.items() if "/tantivy/" not in name}

    written = read_manifest(folder, GENERATION)
    told = ("checkpoint", "checkpoint_name", "engaged_until", "synthetic", "tokens_version")
    return content(written["files"]) == content(base.manifest["files"]) and all(
        written[name] == base.manifest.get(name) for name in told
    )


def _first_part(job: Job) -> Progress:
    """Progress of the encoding as the first part of the job's: tables count as many items again,
    and graphs twice as many."""

    def progress(done: int, total: int) -> None:
        job.total = 4 * total
        job.done = done
        job.step(0)

    return progress


def _count_the_rest(job: Job, signals: dict[str, EntitySignals]) -> None:
    items = sum(len(found.ids) for found in signals.values())
    vectors = sum(len(found.ids) * len(found.spaces) for found in signals.values())
    job.done, job.total = items, 2 * items + vectors
