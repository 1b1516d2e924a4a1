"""The queries of a judging, sampled from head to tail by their frequency in the log (§5.1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import sqlite_utils

from omnisearch.data.catalogue.splits import judged_since

STRATA = ("head", "torso", "tail")
UNLOGGED = "not in the log"


@dataclass(frozen=True)
class DrawnQuery:
    """One query to judge.

    Attributes:
        query: its normalised text.
        stratum: one of STRATA, or UNLOGGED.
        traffic: number of the query's events in the log.
        weight: the traffic it represents: its own, times the size of its stratum over the number
            sampled from it. 1 for queries given in a file.
    """

    query: str
    stratum: str
    traffic: int
    weight: float


def traffic_of(db: sqlite_utils.Database) -> dict[str, int]:
    """query → events in the whole log, descending, for the queries that may be sampled.

    These are the queries of the evaluation window, whose engagement no training has seen (§4.2),
    or all of the log's queries if it has no such window.
    """
    rows = db.conn.execute(
        "SELECT query, SUM(count) AS events FROM engagements GROUP BY query "
        "HAVING MAX(time) >= ? ORDER BY events DESC, query",
        [judged_since(db)],
    )
    return dict(rows.fetchall())


def strata_of(traffic: Mapping[str, int]) -> dict[str, str]:
    """query → stratum: the most frequent queries, with a third of all traffic, are the head, the
    next third the torso, the others the tail. `traffic` is sorted by descending frequency."""
    total, before = sum(traffic.values()), 0
    strata = {}
    for query, events in traffic.items():
        strata[query] = STRATA[min(3 * before // total, 2)]
        before += events
    return strata


def draw_queries(traffic: Mapping[str, int], number: int, seed: int) -> list[DrawnQuery]:
    """`number` queries in random order: equally many per stratum, uniform within each.

    A stratum with too few queries contributes all of them, and the others fill the gap.
    """
    members: dict[str, list[str]] = {}
    for query, stratum in strata_of(traffic).items():
        members.setdefault(stratum, []).append(query)
    return draw_apart({name: [queries] for name, queries in members.items()}, traffic, number, seed)


def draw_apart(
    groups: Mapping[str, Sequence[Sequence[str]]],
    traffic: Mapping[str, int],
    number: int,
    seed: int,
) -> list[DrawnQuery]:
    """As `draw_queries`, of strata in groups: equally many per stratum, and of it per group.

    Args:
        groups: stratum → its queries in groups, each query once.
    """
    shares = equal_shares([sum(map(len, groups.get(name, ()))) for name in STRATA], number)
    random = np.random.default_rng(seed)
    drawn = []
    for stratum, share in zip(STRATA, shares, strict=True):
        of_stratum = groups.get(stratum, ())
        parts = equal_shares([len(queries) for queries in of_stratum], share)
        for queries, part in zip(of_stratum, parts, strict=True):
            for row in random.choice(len(queries), part, replace=False).tolist() if part else ():
                events = traffic[queries[row]]
                stands_for = events * len(queries) / part
                drawn.append(DrawnQuery(queries[row], stratum, events, stands_for))
    return [drawn[row] for row in random.permutation(len(drawn)).tolist()]


def equal_shares(sizes: Sequence[int], number: int) -> list[int]:
    """How many to take from each group: equal shares, at most its size, `number` in all."""
    shares = [0] * len(sizes)
    for _ in range(min(number, sum(sizes))):
        with_more = [group for group, size in enumerate(sizes) if shares[group] < size]
        shares[min(with_more, key=lambda group: shares[group])] += 1
    return shares


def given_queries(queries: Sequence[str], traffic: Mapping[str, int]) -> list[DrawnQuery]:
    """All queries of a file, equally weighted, with their strata in the log."""
    strata = strata_of(traffic)
    return [
        DrawnQuery(query, strata.get(query, UNLOGGED), traffic.get(query, 0), 1.0)
        for query in queries
    ]
