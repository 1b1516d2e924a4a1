"""Tables of every system on one set of queries, the last one tested against each of the others."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from omnisearch.evaluation.judged import RELEVANT, Item, ItemGains
from omnisearch.evaluation.significance import Difference, compare_paired, holm
from omnisearch.evaluation.systems import (
    CONDENSED,
    JUDGED_METRICS,
    METRICS,
    Estimate,
    Rankings,
    Values,
    estimates,
    has_relevant,
    values_of,
)
from omnisearch.evaluation.truth import true_values
from omnisearch.world.truth import Truth

MAIN = "nDCG@10"  # the metric on which the last system is tested against the others
TRUTH = "the sample world's truth, which no real log tells"
NEW = "new items alone"


@dataclass(frozen=True)
class SystemsTable:
    """Every system on one set of queries.

    Attributes:
        name: 'held-out engagement', 'judged' or 'judged: esci'; then what is measured of it.
        queries: number of measured queries, of `available`.
        metrics: system → metric → its mean over the queries. Judged sets also have measures of the
            judged results alone, and 'unjudged@10': elsewhere unjudged results count as irrelevant,
            so a high share makes a system look worse than it is.
        against: metric → each other system → the last system's mean minus that one's.
        p_holm: the Holm-corrected p-values of the differences of one metric.
        ceiling: metric → the mean of the best possible order of all items, where it is known.
    """

    name: str
    queries: int
    available: int
    metrics: dict[str, dict[str, Estimate]]
    against: dict[str, dict[str, Difference]]
    p_holm: dict[str, dict[str, float]]
    ceiling: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Relevant:
    """What is relevant to each query of a set: by judges, or by engagement."""

    name: str
    gains: Mapping[str, ItemGains]
    judged: bool


def gains_table(relevant: Relevant, rankings: Rankings, seed: int) -> SystemsTable:
    """The table of all ranked queries, each of which has gains."""
    queries, metrics = _asked(rankings), JUDGED_METRICS if relevant.judged else METRICS
    values = values_of(rankings, relevant.gains, queries, RELEVANT, metrics)
    tested = (MAIN, CONDENSED) if relevant.judged else (MAIN,)
    return _table(relevant.name, values, (len(queries), len(relevant.gains)), tested, seed)


def new_table(
    relevant: Relevant, rankings: Rankings, new: Collection[Item], seed: int
) -> list[SystemsTable]:
    """The gains of `new` items alone; none if all items with gains are new, or no relevant one."""
    gains = {query: relevant.gains[query] for query in _asked(rankings)}
    of_new = {query: {i: gain for i, gain in of.items() if i in new} for query, of in gains.items()}
    queries = [query for query in gains if has_relevant(of_new[query])]
    if not queries or of_new == gains:
        return []
    values = values_of(rankings, of_new, queries, RELEVANT)
    return [_table(f"{relevant.name}: {NEW}", values, (len(queries), len(gains)), (MAIN,), seed)]


def true_tables(
    truth: Truth, rankings: Rankings, new: Collection[Item], seed: int
) -> list[SystemsTable]:
    """The true measures, of all items and of new ones; none if the world knows none of the queries.

    Of new items it measures what they add: all others count as irrelevant.
    """
    asked = _asked(rankings)
    queries = [query for query in asked if query in truth.query_of]
    are_new = np.zeros(len(truth.items), bool)
    are_new[[truth.item_of[key] for _, key in new if key in truth.item_of]] = True
    tables = []
    for name, among in ((TRUTH, None), (f"{TRUTH}: {NEW}", are_new)):
        if queries and (among is None or among.any()):
            values, ceilings = true_values(truth, rankings, queries, among)
            table = _table(name, values, (len(queries), len(asked)), list(ceilings), seed)
            means = {metric: float(of.mean()) for metric, of in ceilings.items()}
            tables.append(replace(table, ceiling=means))
    return tables


def _asked(rankings: Rankings) -> list[str]:
    return list(next(iter(rankings.values())))


def _table(
    name: str, values: Values, counts: tuple[int, int], tested: Sequence[str], seed: int
) -> SystemsTable:
    *others, last = values
    against = {
        metric: {
            other: compare_paired(values[other][metric], values[last][metric], seed)
            for other in others
        }
        for metric in tested
    }
    p_holm = {}
    for metric, differences in against.items():
        corrected = holm([difference.p_value for difference in differences.values()])
        p_holm[metric] = dict(zip(differences, corrected, strict=True))
    return SystemsTable(name, *counts, estimates(values, seed), against, p_holm)
