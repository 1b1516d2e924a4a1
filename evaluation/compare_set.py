"""Two or more systems over a set of queries: overlap, metrics, wins and losses, significance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
import sqlite_utils

from omnisearch.data.catalogue.splits import evaluation_queries
from omnisearch.data.workspace.errors import InputError, NotReady
from omnisearch.data.workspace.progress import Progress
from omnisearch.evaluation.compare import COMPARED, Engine
from omnisearch.evaluation.evaluate import held_out_gains
from omnisearch.evaluation.judged import RELEVANT, ItemGains, data_notes, judged_gains
from omnisearch.evaluation.significance import Difference, compare_paired, holm
from omnisearch.evaluation.systems import (
    JUDGED_METRICS,
    METRICS,
    UNJUDGED,
    Estimate,
    Rankings,
    Values,
    estimates,
    has_relevant,
    overlap,
    rank_all,
    values_of,
)

JUDGMENTS = "judgments"


@dataclass(frozen=True)
class SetOptions:
    """`k`: depth of the overlap; `held_out`: gains to use if no query has judgments, None for the
    engagement of the evaluation window."""

    systems: Sequence[str] = COMPARED
    k: int = 10
    seed: int = 0
    held_out: Mapping[str, ItemGains] | None = None


@dataclass(frozen=True)
class PairOfSystems:
    """System `b` against system `a`; p-values are Holm-corrected over all pairs."""

    a: str
    b: str
    overlap: float
    differences: dict[str, Difference]  # metric → b - a
    p_holm: dict[str, float]


@dataclass(frozen=True)
class QueryRow:
    """One query: each system's metrics on it (empty without gains), and the overlaps."""

    query: str
    metrics: dict[str, dict[str, float]]  # system → metric → value
    overlap: dict[str, float]  # "a & b" → share


@dataclass(frozen=True)
class SetComparison:
    """The result of `compare --queries`.

    Attributes:
        measured: number of queries with a relevant item; metrics are means over these.
        gains_from: 'judgments', 'held-out engagement', or '' if nothing could be measured.
    """

    queries: int
    measured: int
    gains_from: str
    k: int
    level: float
    systems: list[str]
    metrics: dict[str, dict[str, Estimate]]
    pairs: list[PairOfSystems]
    rows: list[QueryRow]
    notes: list[str]

    def to_json(self) -> dict[str, Any]:
        """Plain dicts, lists and numbers; the JSON encoder must write NaN as null."""
        return asdict(self)


def compare_queries(
    engine: Engine,
    db: sqlite_utils.Database,
    queries: Sequence[str],
    options: SetOptions | None = None,
    progress: Progress | None = None,
) -> SetComparison:
    """Compare systems on normalised queries, such as those of `query_file.read_queries`.

    They are measured against judgments or, if no query has any, against `held_out` gains.

    Raises:
        InputError: fewer than two systems, or one named twice.
        NotReady: held-out engagement is needed, but features were built from it.
    """
    options = options or SetOptions()
    systems = list(options.systems)
    if len(systems) < 2 or len(set(systems)) < len(systems):
        raise InputError(
            "A comparison needs at least two different systems.", where=", ".join(systems)
        )
    gains, gains_from = _gains(db, queries, options)
    measured = [query for query in queries if query in gains]
    rankings = rank_all(engine, queries, systems, progress)
    metrics = JUDGED_METRICS if gains_from == JUDGMENTS else METRICS
    values = values_of(rankings, gains, measured, RELEVANT, metrics)
    shared = _overlaps(rankings, queries, options.k)
    return SetComparison(
        queries=len(queries),
        measured=len(measured),
        gains_from=gains_from,
        k=options.k,
        level=RELEVANT,
        systems=systems,
        metrics=estimates(values, options.seed),
        pairs=_pairs(values, shared, options.seed),
        rows=_rows(queries, measured, values, shared),
        notes=data_notes(db) + _seen(db, measured),
    )


def _seen(db: sqlite_utils.Database, measured: Sequence[str]) -> list[str]:
    """A warning if figures may be too high because training may have seen these queries."""
    try:
        kept_back = evaluation_queries(db)
    except NotReady:  # features made for serving include the evaluation window
        kept_back = set()
    number = len(set(measured) - kept_back)
    if not number:
        return []
    return [
        f"{number} of the {len(measured)} measured queries are not held out: encoders "
        "and rankers may have been trained on them."
    ]


def _gains(
    db: sqlite_utils.Database, queries: Sequence[str], options: SetOptions
) -> tuple[dict[str, ItemGains], str]:
    if gains := _of_queries(judged_gains(db), queries):
        return gains, JUDGMENTS
    held_out = held_out_gains(db) if options.held_out is None else options.held_out
    if gains := _of_queries(held_out, queries):
        return gains, "held-out engagement"
    return {}, ""


def _of_queries(gains: Mapping[str, ItemGains], queries: Sequence[str]) -> dict[str, ItemGains]:
    """The queries that have at least one relevant item."""
    return {query: gains[query] for query in queries if has_relevant(gains.get(query, {}))}


def _overlaps(
    rankings: Rankings, queries: Sequence[str], k: int
) -> dict[tuple[str, str], list[float]]:
    return {
        (a, b): [overlap(rankings[a][query], rankings[b][query], k) for query in queries]
        for a, b in combinations(rankings, 2)
    }


def _pairs(
    values: Values, shared: Mapping[tuple[str, str], list[float]], seed: int
) -> list[PairOfSystems]:
    pairs = [
        PairOfSystems(
            a,
            b,
            overlap=float(np.mean(shares)) if shares else float("nan"),
            differences={
                name: compare_paired(of_a, values[b][name], seed)
                for name, of_a in values[a].items()
                if name != UNJUDGED
            },
            p_holm={},
        )
        for (a, b), shares in shared.items()
    ]
    for name in pairs[0].differences:
        corrected = holm([pair.differences[name].p_value for pair in pairs])
        pairs = [
            replace(pair, p_holm=pair.p_holm | {name: p})
            for pair, p in zip(pairs, corrected, strict=True)
        ]
    return pairs


def _rows(
    queries: Sequence[str],
    measured: Sequence[str],
    values: Values,
    shared: Mapping[tuple[str, str], list[float]],
) -> list[QueryRow]:
    place = {query: number for number, query in enumerate(measured)}
    rows = []
    for number, query in enumerate(queries):
        metrics = {}
        if query in place:
            metrics = {
                system: {name: float(column[place[query]]) for name, column in columns.items()}
                for system, columns in values.items()
            }
        overlaps = {f"{a} & {b}": shares[number] for (a, b), shares in shared.items()}
        rows.append(QueryRow(query, metrics, overlaps))
    return rows
