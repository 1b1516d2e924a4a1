"""Measures a workspace's search: recall of each space, and every system on held-out queries.

Relevance comes from two sources. Held-out engagement: the pairs of the evaluation window (§4.2),
with gains of 1. Judged sets: the judgments of queries that no ranker is trained on (a data set's
test queries, and those of the evaluation window), averaged over judges and scaled; one set for
each prefix of the items' ids, such as 'esci' of 'esci:B07'.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import sqlite_utils

from omnisearch.data.catalogue.pairs import evaluation_pairs
from omnisearch.data.catalogue.splits import evaluation_queries, evaluation_window, time_split
from omnisearch.data.workspace.progress import Progress
from omnisearch.engine.snapshot import Snapshot
from omnisearch.engine.systems import evaluated_systems
from omnisearch.evaluation.compare import Engine
from omnisearch.evaluation.judged import (
    RELEVANT,
    ItemGains,
    data_notes,
    engaged_gains,
    judged_gains,
    set_of,
)
from omnisearch.evaluation.languages import language_pairs
from omnisearch.evaluation.recall import Recall, RecallOptions, evaluate_recall
from omnisearch.evaluation.significance import Difference, compare_paired, holm
from omnisearch.evaluation.systems import (
    Estimate,
    Values,
    estimates,
    has_relevant,
    judged_shares,
    rank_all,
    values_of,
)

FEWEST_OF_LANGUAGES = 20  # fewest pairs of two languages that a figure is given for
MAIN = "nDCG@10"  # the metric on which the last system is tested against the others
ENGAGEMENT, JUDGED = "held-out engagement", "judged"


@dataclass(frozen=True)
class EvaluateOptions:
    """What to measure.

    Attributes:
        systems: the last one is tested against each of the others.
        queries: maximum number of queries sampled from each set; None for all.
        pairs: maximum number of pairs of each entity and action for the recall of spaces.
        corpus: number of random entities that recall is measured among.
    """

    systems: Sequence[str] = field(default_factory=evaluated_systems)
    queries: int | None = 1000
    pairs: int = 80_000
    corpus: int = 1_500_000
    seed: int = 0


@dataclass(frozen=True)
class SystemsTable:
    """Every system on one set of queries.

    Attributes:
        name: 'held-out engagement', 'judged' or 'judged: esci'.
        queries: number of measured queries, of `available`.
        against: each other system → the last system's nDCG@10 minus that one's.
        p_holm: the Holm-corrected p-values of these differences.
        judged_at_10: system → the share of its first 10 results that is judged. Unjudged results
            count as irrelevant, so a low share makes a system look worse than it is. Empty for
            engagement.
    """

    name: str
    queries: int
    available: int
    metrics: dict[str, dict[str, Estimate]]
    against: dict[str, Difference]
    p_holm: dict[str, float]
    judged_at_10: dict[str, float]


@dataclass(frozen=True)
class Evaluation:
    """All figures of `omnisearch evaluate`; `notes` describe the data.

    `languages` is the recall of held-out pairs, including judged ones, by the languages of query
    and item; empty if no pair crosses languages.
    """

    generation: int
    checkpoint: str
    eval_from: int
    eval_until: int
    recall: list[Recall]
    languages: list[Recall]
    tables: list[SystemsTable]
    notes: list[str]

    def to_json(self) -> dict[str, Any]:
        """Plain dicts, lists and numbers."""
        return asdict(self)


def held_out_pairs(db: sqlite_utils.Database, sample: int = 80_000) -> dict[str, pa.Table]:
    """The evaluation window's pairs by '<entity>/<action>'; empty if the log has no window.

    Raises:
        NotReady: features were built from events after the end of training.
    """
    return evaluation_pairs(db, time_split(db), sample=sample)


def held_out_gains(db: sqlite_utils.Database) -> dict[str, ItemGains]:
    """query → item → 1 for the items engaged in the evaluation window."""
    return engaged_gains(held_out_pairs(db))


class LiveEngine(Engine, Protocol):
    """An engine with access to its generation, encoder and rankers."""

    @property
    def snapshot(self) -> Snapshot: ...


def evaluate(
    engine: LiveEngine,
    db: sqlite_utils.Database,
    options: EvaluateOptions | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Recall of all spaces and metrics of all systems, on the held-out data available.

    `progress` counts queries over all sets.
    """
    options, snapshot = options or EvaluateOptions(), engine.snapshot
    begins, ends = evaluation_window(time_split(db))
    pairs = held_out_pairs(db, options.pairs)
    sets = {ENGAGEMENT: engaged_gains(pairs)} | judged_sets(db)
    chosen = {name: _draw(gains, options) for name, gains in sets.items()}
    total, done = sum(len(queries) for queries in chosen.values()), 0
    tables = []
    for name, queries in chosen.items():

        def advance(number: int, _: int, before: int = done) -> None:
            if progress:
                progress(before + number, total)

        if queries:
            rankings = rank_all(engine, queries, options.systems, advance)
            values = values_of(rankings, sets[name], queries, RELEVANT)
            table = _table(name, values, (len(queries), len(sets[name])), options)
            if name != ENGAGEMENT:
                table = replace(table, judged_at_10=judged_shares(rankings, sets[name]))
            tables.append(table)
        done += len(queries)
    among = RecallOptions(corpus=options.corpus, seed=options.seed)
    towards = language_pairs(db, sets.values(), seed=options.seed, fewest=FEWEST_OF_LANGUAGES)
    encode = snapshot.encoder.queries
    recall = evaluate_recall(snapshot.generation, encode, pairs, among)
    languages = evaluate_recall(snapshot.generation, encode, towards, among)
    return Evaluation(
        generation=snapshot.generation.number,
        checkpoint=snapshot.generation.checkpoint,
        eval_from=begins,
        eval_until=ends,
        recall=recall,
        languages=languages,
        tables=tables,
        notes=data_notes(db) + _notes(snapshot, tables),
    )


def _notes(snapshot: Snapshot, tables: Sequence[SystemsTable]) -> list[str]:
    notes = []
    if snapshot.rankers is None:
        notes.append("No rankers are trained: 'l1' and 'full' rank by cosine and shared words.")
    if not tables:
        notes.append("No held-out data: no evaluation window and no judgments of test queries.")
    return notes


def judged_sets(db: sqlite_utils.Database) -> dict[str, dict[str, ItemGains]]:
    """'judged' or 'judged: <prefix>' → query → item → gain, for held-out queries.

    Queries without a relevant item are left out.
    """
    kept_back = evaluation_queries(db)
    sets: dict[str, dict[str, ItemGains]] = {}
    for query, gains in sorted(judged_gains(db).items()):
        for (entity, key), gain in gains.items() if query in kept_back else ():
            name = f"{JUDGED}: {prefix}" if (prefix := set_of(key)) else JUDGED
            sets.setdefault(name, {}).setdefault(query, {})[entity, key] = gain
    return {
        name: kept
        for name, by_query in sets.items()
        if (kept := {query: gains for query, gains in by_query.items() if has_relevant(gains)})
    }


def _draw(gains: Mapping[str, ItemGains], options: EvaluateOptions) -> list[str]:
    queries = sorted(gains)
    if options.queries is None or len(queries) <= options.queries:
        return queries
    rows = np.random.default_rng(options.seed).choice(len(queries), options.queries, replace=False)
    return [queries[row] for row in sorted(rows)]


def _table(
    name: str, values: Values, counts: tuple[int, int], options: EvaluateOptions
) -> SystemsTable:
    *others, last = options.systems
    against = {
        other: compare_paired(values[other][MAIN], values[last][MAIN], options.seed)
        for other in others
    }
    corrected = holm([difference.p_value for difference in against.values()])
    return SystemsTable(
        name=name,
        queries=counts[0],
        available=counts[1],
        metrics=estimates(values, options.seed),
        against=against,
        p_holm=dict(zip(against, corrected, strict=True)),
        judged_at_10={},
    )
