"""Writing one generation into its own folder, and making it the live one."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import sqlite_utils

from omnisearch.data.catalogue.changes import latest_change
from omnisearch.data.catalogue.schema import ENTITIES, ITEM_ENTITIES, get_meta
from omnisearch.data.catalogue.spaces import LEARNED
from omnisearch.data.text.keys import word_keys
from omnisearch.data.text.tokens import CODE, TOKENS_VERSION, spelled_words
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.artefacts import read_manifest, write_manifest, write_pointer
from omnisearch.data.workspace.errors import InputError
from omnisearch.data.workspace.files import link, new_folder, put_in_place
from omnisearch.data.workspace.progress import Progress
from omnisearch.data.workspace.settings import check_ranges
from omnisearch.indexer.dead import Dead, write_dead
from omnisearch.indexer.encoding import HASH_BYTES
from omnisearch.indexer.floor import floor_of
from omnisearch.indexer.generation import ENCODER
from omnisearch.indexer.parts.content import content_of, digest_of, write_content
from omnisearch.indexer.parts.recall import item_recall_of, recall_of
from omnisearch.indexer.parts.spelling_file import (
    NO_KEYS,
    SpelledWords,
    keys_of,
    write_spelled,
    write_spelling,
)
from omnisearch.indexer.parts.suggest_open import QUERIES_FILE
from omnisearch.indexer.parts.suggest_write import SuggestedTexts, write_queries
from omnisearch.indexer.parts.table_write import write_table
from omnisearch.indexer.parts.terms import write_terms
from omnisearch.indexer.parts.tokens import own_part, write_tokens
from omnisearch.indexer.parts.vectors import Space
from omnisearch.indexer.parts.vectors_write import GraphOptions, write_space
from omnisearch.indexer.parts.words import write_texts
from omnisearch.indexer.retention import next_number, retain
from omnisearch.indexer.segment import GENERATION, LOADING_FILE, LOCAL, QDRANT
from omnisearch.indexer.signals import EntitySignals, ItemsAndQueries
from omnisearch.indexer.suggested_log import log_stamp, suggested_queries

# Fewer vectors of an update are searched exactly: that takes under half a millisecond.
_LEAST_GRAPH = 2_000


@dataclass(frozen=True)
class BuildOptions:
    """The `[index]` table of `omnisearch.toml`.

    Attributes:
        m: links per element in the HNSW graphs.
        ef_construction: breadth of the search for them.
        retention: how many generations are kept, including the live one, and how many builds.
        recall_ef: breadth of the search with which recall is measured.
        suggest_people: how many must have asked a query before others see it as a suggestion.
        backend: where builds are searched: 'local', in files; or 'qdrant', in a cluster.
    """

    m: int = 16
    ef_construction: int = 150
    retention: int = 3
    recall_ef: int = 150
    suggest_people: int = 3
    backend: str = LOCAL

    def __post_init__(self) -> None:
        ranges: dict[str, tuple[float, float]] = {
            "m": (2, 128),
            "ef_construction": (1, 10_000),
            "retention": (1, 1_000_000),
            "recall_ef": (1, 100_000),
            "suggest_people": (1, 1_000_000),
        }
        check_ranges("index", vars(self), ranges)
        if self.backend not in (LOCAL, QDRANT):
            raise InputError(
                f"Unknown backend {self.backend!r}.",
                where="[index] backend",
                how=f"Known ones: {LOCAL}, {QDRANT}.",
            )


@dataclass
class Job:
    """One generation to write.

    Attributes:
        done, total: items, and vectors, of which progress is told.
    """

    workspace: Workspace
    db: sqlite_utils.Database
    encoder: ItemsAndQueries
    options: BuildOptions
    progress: Progress | None = None
    done: int = field(default=0, init=False)
    total: int = field(default=0, init=False)

    def step(self, items: int) -> None:
        """Report further items as done."""
        self.done += items
        if self.progress:
            self.progress(min(self.done, self.total), self.total)


@dataclass(frozen=True)
class Below:
    """What lies under an update's own segment.

    Attributes:
        number: the generation that it is based on.
        segments: the numbers of the segments that stay, the oldest first.
        dead: what no longer counts of them. rows: how many count in tables, by entity type.
        due: whether so much has changed since the build that another one is due.
        merge_due: whether there are segments that would better be one (`indexer.merging`).
    """

    number: int
    segments: list[int]
    dead: Dead
    rows: Mapping[str, int]
    due: bool
    merge_due: bool = False


@dataclass(frozen=True)
class Written:
    """A segment, written but not published: what its manifest says.

    Attributes:
        own: entity type → how many items its table has. content: of how many it has the words
            and vectors.
    """

    facts: dict[str, Any]
    spaces: list[dict[str, Any]]
    own: Mapping[str, int]
    content: Mapping[str, int]


def facts_of(job: Job) -> dict[str, Any]:
    """What a manifest says of the catalogue, the log and the encoder."""
    db, encoder = job.db, job.encoder
    return {
        "log": log_stamp(db, job.options.suggest_people),
        "checkpoint": encoder.checkpoint,
        "checkpoint_name": encoder.name,
        "engaged_until": get_meta(db, "engaged_until"),
        "word_weight": get_meta(db, "word_weight"),
        "synthetic": bool(get_meta(db, "synthetic", False)),
        "tokens_version": TOKENS_VERSION,
    }


def publish(
    job: Job, ids: Mapping[str, list[str]], signals: dict[str, EntitySignals], below: Below
) -> int:
    """Write an update's generation of these items and make it live; returns its number.

    Call it under the publish lock, reading one state of the catalogue.

    Args:
        ids: entity type → the items of its table. signals: of those of them whose words and
            vectors it has.
    """
    number = next_number(job.workspace)
    with new_folder(job.workspace.generation(number)) as folder:
        facts = _facts(job)
        written = write_merged(job, folder, facts, ids, signals)
        _write_queries(job, folder, facts, job.workspace.generation(below.number))
        _describe(folder, number, written, below)
    make_live(job, number)
    return number


def write_build(job: Job, folder: Path, signals: dict[str, EntitySignals]) -> Written:
    """Write the segment of a build into a folder, reading one state of the catalogue."""
    facts = _facts(job)
    _write_queries(job, folder, facts)
    ids = {entity: found.ids for entity, found in signals.items()}
    described, spaces = _write_segment(job, folder, ids, signals, build=True)
    facts["floor"] = floor_of(job.db, job.encoder, signals, spaces, job.options.recall_ef)
    return Written(facts, described, _counts(ids), _counts(ids))


def begin_merged(job: Job, folder: Path, below: Below) -> dict[str, Any]:
    """Write into a folder what a merge has of the generation below, and return its facts.

    Call it under the publish lock, reading one state of the catalogue.
    """
    facts = _facts(job)
    _write_queries(job, folder, facts, job.workspace.generation(below.number))
    return facts


def write_merged(
    job: Job,
    folder: Path,
    facts: dict[str, Any],
    ids: Mapping[str, list[str]],
    signals: dict[str, EntitySignals],
) -> Written:
    """Write the segment of an update or a merge into the folder, reading the same state of the
    catalogue; arguments as of `publish`."""
    spaces, _ = _write_segment(job, folder, ids, signals, build=False)
    content = {entity: found.ids for entity, found in signals.items()}
    return Written(facts, spaces, _counts(ids), _counts(content))


def name_written(job: Job, folder: Path, written: Written, below: Below | None = None) -> int:
    """Make a generation of what was written, not live yet; returns its number.

    A build that is to be loaded into a cluster is marked until it is. Call it under the publish
    lock.

    Args:
        below: what lies under a merge.
    """
    number = next_number(job.workspace)
    _describe(folder, number, written, below)
    if job.options.backend != LOCAL and below is None:
        (folder / LOADING_FILE).touch()
    put_in_place(folder, job.workspace.generation(number))
    return number


def make_live(job: Job, number: int) -> None:
    """Point to a generation, and remove those that are not kept any more."""
    write_pointer(job.workspace.current, number)
    retain(job.workspace, job.options.retention, number)


def _write_queries(
    job: Job, folder: Path, facts: dict[str, Any], below: Path | None = None
) -> None:
    """Write the queries to suggest, or link those of the generation below of the same log."""
    if below is not None:
        says = read_manifest(below, GENERATION)
        if says.get("log") == facts["log"] and QUERIES_FILE in says["files"]:
            link(below / QUERIES_FILE, folder / QUERIES_FILE)
            return
    write_queries(folder, suggested_queries(job.db, job.options.suggest_people))


def _facts(job: Job) -> dict[str, Any]:
    return {
        **facts_of(job),
        "change": latest_change(job.db),
        "options": asdict(job.options),
    }


def _counts(ids: Mapping[str, list[str]]) -> dict[str, int]:
    return {entity: len(ids.get(entity, ())) for entity in ENTITIES}


def _describe(folder: Path, number: int, written: Written, below: Below | None) -> None:
    """Write the manifest, and which items below no longer count."""
    own = written.own
    nothing = Below(0, [], {}, dict.fromkeys(ENTITIES, 0), due=False)
    under = nothing if below is None else below
    write_dead(folder, under.dead)
    write_manifest(
        folder,
        GENERATION,
        {
            **written.facts,
            "number": number,
            "created_at": int(time.time()),
            "based_on": below and below.number,
            "build_due": under.due,
            "merge_due": under.merge_due,
            "segments": [
                *under.segments,
                *([number] if below is None or any(own.values()) else []),
            ],
            "entities": {
                entity: {
                    "rows": under.rows[entity] + own[entity],
                    "own": own[entity],
                    "content": written.content[entity],
                }
                for entity in ENTITIES
            },
            "spaces": written.spaces,
        },
    )


def _write_segment(
    job: Job,
    folder: Path,
    ids: Mapping[str, list[str]],
    signals: dict[str, EntitySignals],
    build: bool,
) -> tuple[list[dict[str, Any]], dict[tuple[str, str], Space]]:
    """Write all parts; returns the descriptions of the spaces, and these. Other arguments as of
    `publish`."""
    words, suggested = SpelledWords(), SuggestedTexts()
    codes: list[np.ndarray] = []
    spaces: dict[tuple[str, str], Space] = {}
    graph = GraphOptions(job.options.m, job.options.ef_construction)
    for entity, keys in ids.items():
        if not keys and not build:
            continue
        (folder / entity).mkdir()
        found = signals.get(entity) or EntitySignals([], np.zeros((0, HASH_BYTES), np.uint8), {})
        codes.append(_write_items(job, folder / entity, entity, keys, found, words, suggested))
        job.step(len(keys))
        for name, vectors in sorted(found.spaces.items()):
            target, least = folder / entity / f"{name}.npy", 1 if build else _LEAST_GRAPH
            spaces[entity, name] = write_space(target, vectors, graph, job.step, least)
    if not signals:
        return [], {}
    lasting = keys_of(job.encoder.words()) if build else NO_KEYS
    places = write_spelling(folder, words.counts(), np.concatenate(codes), lasting)
    items = [entity for entity in signals if entity in ITEM_ENTITIES]
    for entity in items:
        write_spelled(folder / entity, *words.of(entity, places))
    suggested.write(folder, items)
    if build:
        job.encoder.copy_to(folder / ENCODER)
    queries = signals["query"].spaces.get(LEARNED) if build else None
    described = [
        {
            "entity": entity,
            "space": name,
            "dim": space.dim,
            "M": job.options.m,
            "vectors": space.count,
            "recall": None if queries is None else recall_of(space, queries, job.options.recall_ef),
            "item_recall": item_recall_of(space, signals[entity].ids, job.options.recall_ef)
            if build
            else None,
        }
        for (entity, name), space in spaces.items()
    ]
    return described, spaces


def _write_items(
    job: Job,
    folder: Path,
    entity: str,
    ids: list[str],
    found: EntitySignals,
    words: SpelledWords,
    suggested: SuggestedTexts,
) -> np.ndarray:
    """Write the table, and for items tokens, terms and texts; returns the keys of their codes.

    Args:
        found: of those of the ids whose words and vectors are to be written.
    """
    place = {key: at for at, key in enumerate(found.ids)}
    rows = np.array([row for row, key in enumerate(ids) if key in place], np.int64)
    if entity not in ITEM_ENTITIES:
        write_table(folder, job.db, entity, ids)
        write_content(folder, rows, [digest_of(vectors) for vectors in found.hashes])
        return word_keys([])
    lines, made_of = [""] * len(rows), [b""] * len(rows)

    def visit(_: int, item: dict[str, Any]) -> None:
        at = place.get(item["id"])
        if at is None:
            return
        content = content_of(item)
        lines[at], made_of[at] = content.line, digest_of(found.hashes[at], content)
        words.add(entity, spelled_words(content.text))
        suggested.add(entity, content.suggested)

    write_table(folder, job.db, entity, ids, visit)
    write_content(folder, rows, made_of)
    if not lines and ids:
        return word_keys([])
    write_tokens(folder, lines)
    write_terms(folder, lines)
    write_texts(folder, list(map(own_part, lines)))
    return word_keys(token for line in lines for token in line.split() if token[0] == CODE)
