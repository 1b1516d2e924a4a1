"""Compares several systems on one query, side by side, as in the paper's Figure 5 (§5.1)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any, Protocol

import sqlite_utils

from omnisearch.data.catalogue.items import read_items
from omnisearch.data.catalogue.schema import ITEM_ENTITIES
from omnisearch.data.text.normalise import normalise_query
from omnisearch.data.workspace.errors import InputError
from omnisearch.evaluation.judged import RELEVANT, Item, ItemGains, data_notes, gains_of_query
from omnisearch.evaluation.metrics import condensed_ndcg, ndcg

DEPTH = 100  # results of each system that are measured
COMPARED = ("token", "embedding", "full")


class Engine(Protocol):
    """The part of `engine.SearchEngine` that a comparison uses."""

    def search(self, query: str, k: int = ..., *, system: str = ...) -> Any: ...

    def rank(self, query: str, system: str, k: int) -> list[tuple[str, str, float]]: ...

    def warm(self, queries: Sequence[str]) -> int: ...


@dataclass(frozen=True)
class Shown:
    """One result in one column.

    Attributes:
        score: the system's own score; not comparable between systems.
        also: the other systems that also return this result.
        gain: the mean of its judges' grades divided by the data set's highest grade; None if it
            is not judged for this query.
        relevant: whether the gain is at least the comparison's `level`; None without a gain.
    """

    rank: int
    entity: str
    id: str
    score: float
    title: str
    brand: str
    price: float | None
    currency: str
    image: str
    link: str | None
    is_ad: bool
    also: tuple[str, ...]
    gain: float | None
    relevant: bool | None


@dataclass(frozen=True)
class Column:
    """One system's first k results and their judgments.

    `ndcg` (at 10) counts unjudged results as irrelevant, `condensed_ndcg` leaves them out of the
    first 100 results; both are None without judgments.
    """

    system: str
    took_ms: float
    hits: list[Shown]
    relevant: int
    irrelevant: int
    unjudged: int
    ndcg: float | None
    condensed_ndcg: float | None


@dataclass(frozen=True)
class Comparison:
    """All columns of one query.

    Attributes:
        overlap: "a & b" → number of results that the two systems share.
        judged: number of items judged for this query.
        level: the lowest gain that counts as relevant.
        notes: caveats about the data, such as that it is synthetic.
    """

    query: str
    k: int
    generation: int
    columns: list[Column]
    overlap: dict[str, int]
    related: list[str]
    judged: int
    level: float
    notes: list[str]

    def to_json(self) -> dict[str, Any]:
        """Plain dicts, lists and numbers."""
        return asdict(self)


def compare_query(
    engine: Engine,
    db: sqlite_utils.Database,
    query: str,
    k: int = 12,
    systems: Sequence[str] = COMPARED,
) -> Comparison:
    """The first k results of each system for one query, with shared and judged results marked.

    Raises:
        InputError: the query is empty, k is below 1, or a system is unknown.
    """
    key = normalise_query(query)
    if not key:
        raise InputError("The query is empty.", how="Give at least one word.")
    if k < 1:
        raise InputError(f"k must be a positive integer, got {k}.", where="k")
    gains = gains_of_query(db, key)
    engine.warm([query])  # embed once before timing: all columns use the cached embedding
    responses = {system: engine.search(query, k=k, system=system) for system in systems}
    found = {
        system: [(hit.entity, hit.id) for hit in response.hits[:k]]
        for system, response in responses.items()
    }
    texts = catalogue_rows(db, {item for items in found.values() for item in items})
    columns = []
    for system, response in responses.items():
        hits = [
            _shown(hit, texts.get((hit.entity, hit.id), {}), system, found, gains)
            for hit in response.hits[:k]
        ]
        ranked = engine.rank(query, system, DEPTH) if gains else []
        columns.append(_column(system, response.took_ms, hits, gains, ranked))
    last = responses[systems[-1]]
    return Comparison(
        query=query.strip(),
        k=k,
        generation=int(last.generation),
        columns=columns,
        overlap={f"{a} & {b}": len({*found[a]} & {*found[b]}) for a, b in combinations(found, 2)},
        related=[entry.query for entry in last.related],
        judged=len(gains),
        level=RELEVANT,
        notes=data_notes(db) + list(dict.fromkeys(_said(responses.values()))),
    )


def _said(responses: Iterable[Any]) -> Iterator[str]:
    for response in responses:
        yield from response.notes


def catalogue_rows(db: sqlite_utils.Database, wanted: set[Item]) -> dict[Item, dict[str, Any]]:
    """The catalogue's rows of these items; hits lack the captions that replace missing titles."""
    rows: dict[Item, dict[str, Any]] = {}
    for entity in ITEM_ENTITIES:
        ids = sorted(key for kind, key in wanted if kind == entity)
        for batch in read_items(db, entity, ids=ids):
            rows |= {(entity, row["id"]): row for row in batch}
    return rows


def _shown(
    hit: Any,
    row: Mapping[str, Any],
    system: str,
    found: Mapping[str, list[Item]],
    gains: ItemGains,
) -> Shown:
    item = (hit.entity, hit.id)
    gain = gains.get(item)
    names = (hit.title, row.get("title"), row.get("caption"), row.get("description"))
    return Shown(
        rank=hit.rank,
        entity=hit.entity,
        id=hit.id,
        score=float(hit.score),
        title=next((name for name in names if name), ""),
        brand=hit.brand or "",
        price=None if hit.price is None else float(hit.price),
        currency=hit.currency or "",
        image=hit.image or "",
        link=hit.link,
        is_ad=bool(hit.is_ad),
        also=tuple(other for other, items in found.items() if other != system and item in items),
        gain=gain,
        relevant=None if gain is None else gain >= RELEVANT,
    )


def _column(
    system: str,
    took_ms: float,
    hits: list[Shown],
    gains: ItemGains,
    ranked: Sequence[tuple[str, str, float]],
) -> Column:
    verdicts = [hit.relevant for hit in hits]
    ranking = [(hit.entity, hit.id) for hit in hits]
    return Column(
        system=system,
        took_ms=float(took_ms),
        hits=hits,
        relevant=verdicts.count(True),
        irrelevant=verdicts.count(False),
        unjudged=verdicts.count(None),
        ndcg=ndcg(ranking, gains, k=10) if gains else None,
        condensed_ndcg=condensed_ndcg([row[:2] for row in ranked], gains, k=10) if gains else None,
    )
