"""Draws a judging: the first results of two systems, mixed so that judges cannot tell which."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, Protocol

import sqlite_utils

from omnisearch.data.text.links import safe_link
from omnisearch.data.workspace.counts import counted
from omnisearch.data.workspace.errors import InputError, NotReady
from omnisearch.data.workspace.progress import Progress
from omnisearch.engine.snapshot import Snapshot
from omnisearch.engine.systems import SYSTEMS
from omnisearch.evaluation.compare import catalogue_rows
from omnisearch.evaluation.judged import Item, data_notes
from omnisearch.evaluation.judging.folder import Design, Judging, Pair, Shown, write_judging
from omnisearch.evaluation.judging.queries import (
    DrawnQuery,
    draw_queries,
    given_queries,
    traffic_of,
)
from omnisearch.evaluation.query_file import read_queries
from omnisearch.evaluation.wording import plain

DESCRIPTION = 300  # characters of a description that judges see


class Systems(Protocol):
    """The part of `engine.SearchEngine` that a judging uses."""

    @property
    def snapshot(self) -> Snapshot: ...

    def warm(self, queries: Sequence[str]) -> int: ...

    def rank(self, query: str, system: str, k: int) -> list[tuple[str, str, float]]: ...


@dataclass(frozen=True)
class DrawOptions:
    """What to draw: the first `k` results of two systems for `queries` queries of the log, or for
    all queries of a file."""

    systems: Sequence[str] = ("token", "full")
    k: int = 8
    queries: int = 300
    file: Path | None = None
    seed: int = 0


def draw(
    judging: Judging,
    db: sqlite_utils.Database,
    open_engine: Callable[[], Systems],
    options: DrawOptions,
    progress: Progress | None = None,
) -> None:
    """Draw a new judging and write its folder. The engine is opened after all other checks.

    Raises:
        InputError: not two different systems, an invalid query file, the name is taken, or neither
            system finds anything.
        NotReady: the log has no queries.
    """
    _check_systems(options.systems)
    given = read_queries(options.file) if options.file else None
    judging.check_free()
    queries = _queries(db, options, given)
    engine = open_engine()
    results: dict[tuple[str, str], list[Item]] = {}
    engine.warm([entry.query for entry in queries])
    for done, entry in enumerate(queries, 1):
        for system in options.systems:
            found = engine.rank(entry.query, system, options.k)
            results[entry.query, system] = [(entity, key) for entity, key, _ in found]
        if progress:
            progress(done, len(queries))
    shown = [
        Shown(query, system, [pair_id(query, item) for item in items])
        for (query, system), items in results.items()
    ]
    pairs = mixed(db, queries, results, options.seed)
    if not pairs:
        raise InputError(
            f"There is nothing to judge: neither {' nor '.join(options.systems)} finds anything "
            f"for the {counted(len(queries), 'query', 'queries')}.",
            where=str(options.file or "engagements"),
            how="Try one with `omnisearch search`, then judge others with --queries.",
        )
    write_judging(judging.folder, _design(engine.snapshot, db, options), queries, pairs, shown)


def _queries(
    db: sqlite_utils.Database, options: DrawOptions, given: Sequence[str] | None
) -> list[DrawnQuery]:
    traffic = traffic_of(db)
    if given:
        return given_queries(given, traffic)
    queries = draw_queries(traffic, options.queries, options.seed)
    if not queries:
        raise NotReady(
            "The log has no queries to draw from.",
            where="engagements",
            how="Import engagements, or give a file with --queries.",
        )
    return queries


def _design(snapshot: Snapshot, db: sqlite_utils.Database, options: DrawOptions) -> Design:
    notes = data_notes(db)
    if snapshot.rankers is None and {"l1", "full"} & set(options.systems):
        notes.append("No rankers are trained: the starter ranker orders 'l1' and 'full'.")
    return Design(
        systems=list(options.systems),
        k=options.k,
        seed=options.seed,
        generation=snapshot.generation.number,
        checkpoint=snapshot.generation.checkpoint,
        drawn_at=int(time.time()),
        notes=notes,
    )


def pair_id(query: str, item: Item) -> str:
    """An id that depends only on the query and the item."""
    return "p" + _hash("pair", query, *item)[:12]


def _check_systems(systems: Sequence[str]) -> None:
    if len(systems) != 2 or len(set(systems)) != 2:
        raise InputError(
            "A judging compares two different systems.",
            where="--systems",
            how=f"Give two, such as --systems token,full; got {','.join(systems) or 'none'}.",
        )
    for system in systems:
        SYSTEMS.named(system, "--systems")


def mixed(
    db: sqlite_utils.Database,
    queries: Sequence[DrawnQuery],
    results: Mapping[tuple[str, str], list[Item]],
    seed: int,
) -> list[Pair]:
    """Each query's distinct items from all systems, ordered by a hash of the seed and the pair.

    Args:
        results: (query, system) → what it shows.
    """
    items: dict[str, set[Item]] = {entry.query: set() for entry in queries}
    for (query, _), found in results.items():
        items[query].update(found)
    rows = catalogue_rows(db, {item for of_query in items.values() for item in of_query})
    texts = {row[0]: row[1] for row in db.conn.execute("SELECT id, text FROM queries")}
    pairs = []
    for query, of_query in items.items():
        for item in sorted(of_query, key=lambda item: _hash(str(seed), query, *item)):
            pairs.append(_pair(query, texts.get(query) or query, item, rows.get(item, {})))
    return pairs


def _pair(query: str, text: str, item: Item, row: Mapping[str, Any]) -> Pair:
    def of(field: str) -> str:
        return plain(row.get(field) or "")

    description = of("description") if of("title") else ""
    if len(description) > DESCRIPTION:
        description = description[:DESCRIPTION].rstrip() + "…"
    return Pair(
        id=pair_id(query, item),
        query=query,
        text=plain(text),
        entity=item[0],
        item_id=item[1],
        title=of("title") or of("description") or of("caption"),
        description=description,
        brand=of("brand"),
        price=row.get("price"),
        currency=of("currency"),
        image=of("image"),
        link=of("link") if safe_link(of("link")) else "",
    )


def _hash(*parts: str) -> str:
    text = "\0".join(parts).encode("utf-8", "surrogatepass")
    return blake2b(text, digest_size=8).hexdigest()
