"""Measures a workspace's search: recall of each space, and every system on held-out queries.

Relevance comes from two sources. Held-out engagement: the pairs of the evaluation window (§4.2),
with gains of 1. Judged sets: the judgments of queries that no ranker is trained on (a data set's
test queries, and those of the evaluation window), averaged over judges and scaled; one set for
each prefix of the items' ids, such as 'esci' of 'esci:B07'. Each is measured again by its new
items alone. A sample world also knows what is true. An evaluation window with few queries is not
measured: its figures would be chance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import sqlite_utils

from omnisearch.data.catalogue.left_out import LeftOut, some
from omnisearch.data.catalogue.log_left_out import window_left_out
from omnisearch.data.catalogue.log_span import FEWEST
from omnisearch.data.catalogue.pairs import evaluation_pairs
from omnisearch.data.catalogue.schema import ITEM_ENTITIES, table_of
from omnisearch.data.catalogue.splits import (
    Split,
    evaluation_queries,
    evaluation_window,
    measured_days,
    time_split,
    training_window,
)
from omnisearch.data.workspace.errors import NotReady
from omnisearch.data.workspace.progress import Progress
from omnisearch.engine.retrieval import answered
from omnisearch.engine.snapshot import Snapshot
from omnisearch.engine.systems import evaluated_systems
from omnisearch.evaluation.compare import Engine
from omnisearch.evaluation.judged import (
    Item,
    ItemGains,
    data_notes,
    engaged_gains,
    judged_gains,
    set_of,
)
from omnisearch.evaluation.languages import language_pairs
from omnisearch.evaluation.recall import Recall, RecallOptions, evaluate_recall
from omnisearch.evaluation.systems import has_relevant, rank_all
from omnisearch.evaluation.tables import (
    NEW,
    Relevant,
    SystemsTable,
    gains_table,
    new_table,
    true_tables,
)
from omnisearch.world.truth import Truth

FEWEST_OF_LANGUAGES = 20  # fewest pairs of two languages that a figure is given for
ENGAGEMENT, JUDGED = "held-out engagement", "judged"


@dataclass(frozen=True)
class EvaluateOptions:
    """What to measure.

    Attributes:
        systems: the last one is tested against each of the others; None for those of
            `evaluated_systems` that the generation answers.
        queries: maximum number of queries sampled from each set; None for all.
        pairs: maximum number of pairs of each entity and action for the recall of spaces.
        corpus: number of random entities that recall is measured among.
        fewest: queries that the evaluation window must have.
    """

    systems: Sequence[str] | None = None
    queries: int | None = 1000
    pairs: int = 80_000
    corpus: int = 1_500_000
    seed: int = 0
    fewest: int = FEWEST


@dataclass(frozen=True)
class Evaluation:
    """All figures of `omnisearch evaluate`; `notes` describe the data.

    `languages` is the recall of held-out pairs, including judged ones, by the languages of query
    and item; empty if no pair crosses languages. `left_out` is what was not measured, and why.
    """

    generation: int
    checkpoint: str
    eval_from: int
    eval_until: int
    recall: list[Recall]
    languages: list[Recall]
    tables: list[SystemsTable]
    notes: list[str]
    left_out: list[LeftOut]

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


def new_items(db: sqlite_utils.Database) -> set[Item]:
    """The items that the log does not mention before the end of training.

    Neither the encoders nor the features of rankers have seen anybody look at them.
    """
    items = [
        (entity, key)
        for entity in ITEM_ENTITIES
        for (key,) in db.conn.execute(f"SELECT id FROM {table_of(entity)}")
    ]
    seen = db.conn.execute(
        "SELECT DISTINCT entity, item_id FROM engagements WHERE time >= ? AND time < ?",
        training_window(time_split(db)),
    )
    return set(items) - set(seen)


class LiveEngine(Engine, Protocol):
    """An engine with access to its generation, encoder and rankers."""

    @property
    def snapshot(self) -> Snapshot: ...


def evaluate(
    engine: LiveEngine,
    db: sqlite_utils.Database,
    options: EvaluateOptions | None = None,
    progress: Progress | None = None,
    truth: Truth | None = None,
) -> Evaluation:
    """Recall of all spaces and metrics of all systems, on the held-out data available.

    `progress` counts queries over all sets. `truth` is that of the sample world in the catalogue.

    Raises:
        NotReady: the evaluation window has fewer queries than `options.fewest`, or none, and there
            are no judgments to measure by.
    """
    options, snapshot = options or EvaluateOptions(), engine.snapshot
    systems = options.systems or answered(snapshot, evaluated_systems())
    split = time_split(db)
    begins, ends = evaluation_window(split)
    pairs, judged = held_out_pairs(db, options.pairs), judged_sets(db)
    # A sample world also knows what is true of each query, and is measured whatever its log.
    thin = None if truth is not None else _thin(pairs, split, options.fewest)
    if thin is not None:
        if not judged:
            raise NotReady(thin, where="the log", how=_MORE)
        pairs = {}
    sets = {ENGAGEMENT: engaged_gains(pairs)} | judged
    left_out = window_left_out(db, split, (begins, ends)) + _judged_left_out(db, judged)
    if not any(sets.values()):
        raise NotReady(" ".join([_NOTHING, *map(str, left_out)]), where="the log", how=_MORE)
    chosen = {name: _draw(gains, options) for name, gains in sets.items()}
    total, done = sum(len(queries) for queries in chosen.values()), 0
    tables, new = [], new_items(db)
    for name, queries in chosen.items():

        def advance(number: int, _: int, before: int = done) -> None:
            if progress:
                progress(before + number, total)

        if queries:
            rankings = rank_all(engine, queries, systems, advance)
            relevant = Relevant(name, sets[name], judged=name != ENGAGEMENT)
            tables.append(gains_table(relevant, rankings, options.seed))
            tables += new_table(relevant, rankings, new, options.seed)
            if truth is not None and not relevant.judged:
                tables += true_tables(truth, rankings, new, options.seed)
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
        notes=data_notes(db) + _notes(snapshot, tables) + ([f"{thin} {_MORE}"] if thin else []),
        left_out=left_out,
    )


_NOTHING = (
    "There is nothing to measure by: no engagement in the days that are kept back, and no "
    "judgments of queries that are kept back."
)
_MORE = "Import a longer log, or have results judged: `omnisearch judge --help`."


def _thin(pairs: Mapping[str, pa.Table], split: Split, fewest: int) -> str | None:
    """What to say of an evaluation window with too few queries; None if it has enough, or none."""
    queries = {query for table in pairs.values() for query in table["query"].to_pylist()}
    if not queries or len(queries) >= fewest:
        return None
    days = measured_days(split.eval_from, split.eval_until)
    return (
        f"The week by which search is measured, from {days}, "
        f"has engagement of {len(queries)} queries only: figures of fewer than {fewest} are chance."
    )


def _judged_left_out(db: sqlite_utils.Database, sets: Mapping[str, Any]) -> list[LeftOut]:
    """Judged queries that are not measured."""
    judged = {query for (query,) in db.conn.execute("SELECT DISTINCT query FROM judgments")}
    kept = judged & evaluation_queries(db)
    measured = {query for by_query in sets.values() for query in by_query}
    learned = "rankers may have learned from them: they were not asked in the week that is measured"
    return some(
        [
            LeftOut(len(judged - kept), "judged queries", learned),
            LeftOut(len(kept - measured), "judged queries", "no judge found anything relevant"),
        ]
    )


def _notes(snapshot: Snapshot, tables: Sequence[SystemsTable]) -> list[str]:
    notes = []
    if not snapshot.embeds:
        notes.append("There are no embeddings yet: all systems find items by their words.")
    if snapshot.rankers is None:
        notes.append("No rankers are trained: the starter ranker orders 'l1' and 'full'.")
    if not any(table.name.endswith(NEW) for table in tables):
        notes.append(
            "New items are not measured apart: none of the relevant ones, or all of them, are "
            "missing from the log before training ended."
        )
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
