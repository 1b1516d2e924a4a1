"""Training data of the rankers: retrieved candidates of logged and judged queries.

Logged queries come from the days right after the end of training (`time_split`),
inside the gap before the evaluation. The encoder, the engaged queries and the counts have not seen
these days, as they will not have seen the searches that they serve. Before the end of training, an
engaged item would reveal its own label: the query would be among its engaged queries, and its
learned cosine would be that of a training pair. Queries that the evaluation measures are excluded:
see `evaluation_queries`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import sqlite_utils

from omnisearch.data.catalogue.left_out import LeftOut, some
from omnisearch.data.catalogue.schema import ACTIONS, ITEM_ENTITIES
from omnisearch.data.catalogue.soft_labels import soft_labels
from omnisearch.data.catalogue.splits import (
    Window,
    evaluation_queries,
    kept_by_data_sets,
    known_until,
    ranker_window,
    rankers_may_see_judged,
    rankers_may_see_logged,
    time_split,
)
from omnisearch.data.workspace.dates import day
from omnisearch.data.workspace.progress import Progress
from omnisearch.engine.candidates import Candidates, best_first, rrf
from omnisearch.engine.config import EngineConfig
from omnisearch.engine.examined import examined_until
from omnisearch.engine.ranking import add_cosines, features
from omnisearch.engine.retrieval import retrieve_whole
from omnisearch.engine.search import SearchEngine
from omnisearch.engine.snapshot import Snapshot
from omnisearch.engine.sources import SOURCES
from omnisearch.ranker.features import feature_names
from omnisearch.ranker.labels import UNSEEN_WEIGHT, PairLog, graded_labels
from omnisearch.ranker.lists import RankingData

Item = tuple[str, str, str]  # query, entity, id


@dataclass(frozen=True)
class RankingOptions:
    """How much to collect.

    Attributes:
        window_days: days of the log after the end of training, at most the gap.
        queries: maximum queries of either kind, chosen by a hash of the seed and the query.
        best, others: how many candidates without a label are kept per query, of the first by rank
            fusion and of the rest.
        as_new: share of the queries that are presented to the rankers as if they were new: a log
            repeats its queries, but what people type is often new.
    """

    window_days: int = 14
    queries: int = 2000
    best: int = 100
    others: int = 100
    as_new: float = 0.5
    seed: int = 7


def collect(
    engine: SearchEngine,
    db: sqlite_utils.Database,
    options: RankingOptions,
    progress: Progress | None = None,
) -> RankingData:
    """Candidates of the chosen queries with their features, engagement and relevance labels.

    Only retrieved candidates are included: a ranker cannot order what no source finds. An
    engagement label is the graded gain of `omnisearch.ranker.labels`, corrected for position; 0 for
    candidates of a logged query without engagement, with a lower weight if never shown. A relevance
    label is the judges' mean grade; as in trec_eval's measures, unjudged candidates count as
    irrelevant, and `taught` holds a teacher's grades. If the query has no labels of a kind, these
    labels are NaN.

    Raises:
        NotReady: features of the catalogue leak (see `check_leak`).
    """
    snapshot, config = engine.snapshot, engine.config
    sources = list(SOURCES.values())
    engaged, judged = labels_of(snapshot, db, options)
    taught = {pair: share * top for pair, (share, top) in soft_labels(engine.workspace).items()}
    queries = sorted({query for query, _, _ in (*engaged, *judged)})
    logged_queries = {query for query, _, _ in engaged}
    judged_queries = {query for query, _, _ in judged}
    asked = [snapshot.query(query) for query in queries]
    if snapshot.embeds:
        vectors = engine.cache.vectors(snapshot.encoder, [query.text for query in asked])
        asked = [query.with_vector(row) for query, row in zip(asked, vectors, strict=True)]
    left_out = labels_left_out(snapshot, db, options)
    parts: list[tuple[np.ndarray, ...]] = []
    for number, query in enumerate(queries):
        read = asked[number]
        candidates = retrieve_whole(snapshot, read, sources, config)
        add_cosines(snapshot, candidates, read)
        as_new = _hash(query, options.seed + 1) / 2**64 < options.as_new
        X = features(snapshot, candidates, read, as_new)
        gain, weight, grade, soft = _labels(snapshot, candidates, query, engaged, judged, taught)
        shown, graded = weight > UNSEEN_WEIGHT, ~np.isnan(grade)
        grade = np.nan_to_num(grade)
        if query not in logged_queries:
            gain[:] = np.nan
        if query not in judged_queries:
            grade[:] = np.nan
        labelled = shown | (gain > 0) | graded | ~np.isnan(soft)
        keep = _choose(candidates, labelled, config, options, number)
        group = np.full(len(keep), number, np.int64)
        columns = (gain, grade, weight, shown, graded, soft)
        parts.append((X[keep], group, *(column[keep] for column in columns)))
        if progress:
            progress(number + 1, len(queries))
    if not parts:
        none = np.zeros(0, np.float32)
        X = np.zeros((0, len(feature_names())), np.float32)
        return RankingData(X, none, none, none, left_out=left_out)
    X, *labels = (np.concatenate(column) for column in zip(*parts, strict=True))
    group, gain, grade, weight, shown, graded, soft = labels
    return RankingData(X, group, gain, grade, weight, shown, graded, soft, left_out)


def labels_of(
    snapshot: Snapshot, db: sqlite_utils.Database, options: RankingOptions
) -> tuple[dict[Item, tuple[float, float]], dict[Item, float]]:
    """What rankers learn from: item → gain and weight from the log, and item → judges' mean grade.

    Raises NotReady if features of the catalogue leak.
    """
    measured = evaluation_queries(db)
    known = known_until(snapshot.generation.manifest)
    window = ranker_window(time_split(db), known, options.window_days)
    return _logged(db, window, measured, options), _judged(db, measured, options)


def labels_left_out(
    snapshot: Snapshot, db: sqlite_utils.Database, options: RankingOptions
) -> list[LeftOut]:
    """What `labels_of` does not take: engagement outside its window, and queries of either kind."""
    measured = evaluation_queries(db)
    known = known_until(snapshot.generation.manifest)
    begins, ends = ranker_window(time_split(db), known, options.window_days)
    engaged = "FROM engagements WHERE action <> 'impression' AND entity <> 'query'"
    inside = "time >= ? AND time < ?"
    ((outside,),) = db.conn.execute(f"SELECT COUNT(*) {engaged} AND NOT ({inside})", [begins, ends])
    if begins < ends:
        why = (
            f"rankers learn from {day(begins)} to {day(ends - 1)}: from before, encoders and "
            "features know the answers; what comes after is measured"
        )
    else:
        why = "the log has no days that are neither learned from by encoders nor measured"
    logged = db.conn.execute(f"SELECT DISTINCT query {engaged} AND {inside}", [begins, ends])
    judged = db.conn.execute("SELECT DISTINCT query FROM judgments")
    splits = kept_by_data_sets(db)
    unseen = {"logged": set(splits), "judged": {q for q, of in splits.items() if of != "valid"}}
    of_set = "a data set keeps them for training encoders or for its test"
    asked = "they were asked in the week by which search is measured"
    found = [LeftOut(outside, "events", why)]
    for kind, rows in (("logged", logged), ("judged", judged)):
        queries = {query for (query,) in rows}
        free = queries - unseen[kind]
        above = f"more than {options.queries:,}, the setting `queries` of [rank]"
        found += [
            LeftOut(len(queries & unseen[kind]), f"{kind} queries", of_set),
            LeftOut(len(free & measured), f"{kind} queries", asked),
            LeftOut(len(free - measured) - options.queries, f"{kind} queries", above),
        ]
    return [each for each in some(found) if each.count > 0]


def _logged(
    db: sqlite_utils.Database,
    window: Window,
    measured: set[str],
    options: RankingOptions,
) -> dict[Item, tuple[float, float]]:
    """Item → gain and weight, for logged queries with at least one engagement."""
    if window[0] >= window[1]:
        return {}
    items = ", ".join(f"'{entity}'" for entity in ITEM_ENTITIES)
    rows = db.conn.execute(
        f"SELECT query, entity, item_id, action, position, SUM(count) FROM engagements "
        f"WHERE time >= ? AND time < ? AND entity IN ({items}) "
        f"AND {rankers_may_see_logged('query')} "
        "GROUP BY query, entity, item_id, action, position",
        window,
    ).fetchall()
    rows = [row for row in rows if row[0] not in measured]
    chosen = _some({row[0] for row in rows if row[3] != "impression"}, options)
    pair_of: dict[Item, int] = {}
    pairs = [pair_of.setdefault(row[:3], len(pair_of)) for row in rows]
    log = PairLog(
        pair=np.array(pairs, np.int64),
        action=np.array([ACTIONS.index(row[3]) for row in rows], np.int64),
        position=np.array([np.nan if row[4] is None else row[4] for row in rows], np.float64),
        count=np.array([row[5] for row in rows], np.float64),
    )
    if not pair_of:
        return {}
    gains, weights = graded_labels(log, len(pair_of), examined_until(db, window[1]))
    return {
        item: (float(gains[at]), float(weights[at]))
        for item, at in pair_of.items()
        if item[0] in chosen
    }


def _judged(
    db: sqlite_utils.Database, measured: set[str], options: RankingOptions
) -> dict[Item, float]:
    """Item → mean grade, for judged queries that are neither trained on nor measured.

    The encoder has learned from queries that a data set assigns to training; those assigned to
    validation, or not assigned, are used.
    """
    rows = db.conn.execute(
        "SELECT query, entity, item_id, AVG(grade) FROM judgments "
        f"WHERE {rankers_may_see_judged('query')} GROUP BY query, entity, item_id"
    ).fetchall()
    chosen = _some({row[0] for row in rows} - measured, options)
    return {row[:3]: row[3] for row in rows if row[0] in chosen}


def _some(queries: Iterable[str], options: RankingOptions) -> set[str]:
    ordered = sorted(queries, key=lambda query: (_hash(query, options.seed), query))
    return set(ordered[: options.queries])


def _labels(
    snapshot: Snapshot,
    candidates: Candidates,
    query: str,
    engaged: dict[Item, tuple[float, float]],
    judged: dict[Item, float],
    taught: dict[Item, float],
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Float32 (n,) each: engagement gain, its weight, and the judges' and the teacher's grades.

    A grade is NaN if there is none.
    """
    ids = [snapshot.generation.tables[entity].ids for entity in ITEM_ENTITIES]
    items = [
        (query, ITEM_ENTITIES[code], ids[code][row])
        for code, row in zip(candidates.entity.tolist(), candidates.row.tolist(), strict=True)
    ]
    labels = np.array([engaged.get(item, (0.0, UNSEEN_WEIGHT)) for item in items], np.float32)
    grades, soft = (
        np.array([known.get(item, np.nan) for item in items], np.float32)
        for known in (judged, taught)
    )
    labels = labels.reshape(-1, 2)
    return labels[:, 0].copy(), labels[:, 1].copy(), grades, soft


def _choose(
    candidates: Candidates,
    labelled: np.ndarray,
    config: EngineConfig,
    options: RankingOptions,
    number: int,
) -> np.ndarray:
    """Positions of the candidates to keep: the labelled ones, the best others, and a sample."""
    order = best_first(rrf(candidates, SOURCES.values(), config.rrf_k))
    rest = order[~labelled[order]]
    deep = rest[options.best :]
    rng = np.random.default_rng((options.seed, number))
    some = rng.choice(deep, min(options.others, len(deep)), replace=False)
    return np.sort(np.concatenate([np.flatnonzero(labelled), rest[: options.best], some]))


def _hash(query: str, seed: int) -> int:
    salt = seed.to_bytes(8, "little", signed=True)
    raw = query.encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(raw, digest_size=8, salt=salt).digest(), "little")
