"""Learning the models of ads: from what was shown, and from judgments.

What is true of all results is true of ads: they learn from every impression and long click of the
log, in the days that rankers learn from, and from the judgments that rankers learn from. A shown
item is looked at as an ad is: whether or not a source of the search finds it too. A hash of the
query sets a fifth of the queries aside, on which the models are measured, and divides the others
into the folds by which they are calibrated.

Judges saw the best of a whole catalogue, and an ad is the best of a few items that somebody pays
for: mostly worse. So each judged query also gets what would be its ads if a random twentieth of the
items were advertised. What nobody judged of these counts as irrelevant, as it does in measures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import blake2b
from typing import Any

import numpy as np
import sqlite_utils

from omnisearch.data.catalogue.left_out import LeftOut, some
from omnisearch.data.catalogue.schema import ITEM_ENTITIES
from omnisearch.data.catalogue.spaces import LEARNED
from omnisearch.data.catalogue.splits import (
    Window,
    evaluation_queries,
    known_until,
    ranker_window,
    rankers_may_see_judged,
    rankers_may_see_logged,
    time_split,
)
from omnisearch.data.workspace.progress import Progress
from omnisearch.engine.ads.models import POSITION, AdModels
from omnisearch.engine.auction import only_ads
from omnisearch.engine.index import Items, SourceResult
from omnisearch.engine.query import Query
from omnisearch.engine.ranking import ONLY_AD, add_cosines, as_the_best, features
from omnisearch.engine.ranking_data import RankingOptions
from omnisearch.engine.retrieval import retrieve_whole
from omnisearch.engine.search import SearchEngine
from omnisearch.engine.sources import SOURCES
from omnisearch.ranker.calibrated import Calibrated, calibration_error, reliability
from omnisearch.ranker.features import feature_names

FOLDS = 10
MEASURED = (8, 9)  # those that no model learns from
FEWEST = 20  # successes, and failures, that are needed to measure; and twice to learn
LIKE_ADS = 10  # items of each type that stand for ads of a judged query
AMONG = 20  # a random one of so many items is taken to be advertised
RELEVANT = 0.5  # of the highest grade: from here on judges call an item relevant
Item = tuple[str, str]
Rows = Mapping[str, Sequence[tuple[Item, float, float, float]]]


@dataclass(frozen=True)
class Observed:
    """Pairs of queries and items, and how often something happened.

    Attributes:
        X: float32 (n, F), the rankers' features. position: float32 (n,), NaN unknown.
        trials, successes: float64 (n,). fold: int64 (n,), below FOLDS, by the query.
    """

    X: np.ndarray
    position: np.ndarray
    trials: np.ndarray
    successes: np.ndarray
    fold: np.ndarray

    @property
    def measures(self) -> np.ndarray:
        """Bool (n,): the pairs that models are measured on."""
        return np.isin(self.fold, MEASURED)

    def enough(self) -> bool:
        """Whether there are successes and failures enough to learn from and to measure."""
        measures = self.measures
        for mine, least in ((measures, FEWEST), (~measures, 2 * FEWEST)):
            c = self.successes[mine].sum()
            if min(c, self.trials[mine].sum() - c) < least:
                return False
        return True


def train_ad_models(
    engine: SearchEngine,
    db: sqlite_utils.Database,
    options: RankingOptions,
    progress: Progress | None = None,
) -> AdModels:
    """The models, and a report of what they learned from and how well calibrated they are.

    A model is None if there is too little of its kind. `progress` counts queries.
    """
    split, measured = time_split(db), evaluation_queries(db)
    known = known_until(engine.snapshot.generation.manifest)
    window = ranker_window(split, known, options.window_days)
    logged, without = shown_of_log(db, window, measured, options)
    judged = with_like_ads(engine, judged_pairs(db, measured, options), options)
    total = len(logged) + len(judged)

    def tell(done: int) -> None:
        if progress:
            progress(done, total)

    found: dict[str, Calibrated | None] = {}
    report: dict[str, Any] = {"left_out": [asdict(each) for each in without]}
    for name, rows, before in (("engagement", logged, 0), ("relevance", judged, len(logged))):
        seen = observed(engine, rows, options, lambda done, before=before: tell(before + done))
        found[name] = fitted(seen, with_position=name == "engagement") if seen.enough() else None
        model = found[name]
        report[name] = {
            "queries": len(rows),
            "pairs": len(seen.trials),
            "successes": int(seen.successes.sum()),
            "reliability": None if model is None else measured_on(model, seen, seen.measures),
        }
    return AdModels(found["engagement"], found["relevance"], report)


def fitted(seen: Observed, with_position: bool) -> Calibrated:
    """A model of what was observed, without what it is measured on."""
    used = ~seen.measures
    names = (*feature_names(), *((POSITION,) if with_position else ()))
    X = inputs(seen, with_position)[used]
    return Calibrated.fit(names, X, seen.trials[used], seen.successes[used], seen.fold[used])


def inputs(seen: Observed, with_position: bool) -> np.ndarray:
    """Float32 (n, F or F + 1): what a model reads of each pair."""
    if not with_position:
        return seen.X
    return np.hstack((seen.X, np.log(seen.position)[:, None].astype(np.float32)))


def measured_on(model: Calibrated, seen: Observed, pairs: np.ndarray) -> dict[str, Any]:
    """Predicted against observed, by tenths of the trials of some pairs, bool (n,), and the
    calibration error."""
    X = inputs(seen, POSITION in model.names)[pairs]
    bins = reliability(model.predict(X), seen.trials[pairs], seen.successes[pairs])
    return {"error": calibration_error(bins), "deciles": [asdict(each) for each in bins]}


def shown_of_log(
    db: sqlite_utils.Database, window: Window, measured: set[str], options: RankingOptions
) -> tuple[Rows, list[LeftOut]]:
    """Query → (item, position, impressions, those of them with a long click) in a window.

    Actions of which no impression is known are left out: nobody knows what else was shown.
    """
    items = ", ".join(f"'{entity}'" for entity in ITEM_ENTITIES)
    rows = db.conn.execute(
        "SELECT query, entity, item_id, position, SUM(count * (action = 'impression')), "
        "SUM(count * (action = 'long_click')) FROM engagements "
        f"WHERE time >= ? AND time < ? AND entity IN ({items}) AND surface = 'search' "
        f"AND action IN ('impression', 'long_click') AND {rankers_may_see_logged('query')} "
        "GROUP BY query, entity, item_id, position",
        window,
    ).fetchall()
    unseen = sum(row[5] for row in rows if not row[4])
    found: dict[str, list[tuple[Item, float, float, float]]] = {}
    for query, entity, key, position, shown, long in rows:
        if shown and query not in measured:
            place = np.nan if position is None else float(position)
            found.setdefault(query, []).append(((entity, key), place, shown, min(long, shown)))
    why = "no impression of them is logged"
    return _some(found, options), some([LeftOut(unseen, "long clicks", why)])


def judged_pairs(db: sqlite_utils.Database, measured: set[str], options: RankingOptions) -> Rows:
    """Query → (item, no position, 1, whether judges call it relevant)."""
    rows = db.conn.execute(
        "SELECT query, entity, item_id, AVG(grade) FROM judgments "
        f"WHERE {rankers_may_see_judged('query')} AND entity IN ('pin', 'product') "
        "GROUP BY query, entity, item_id"
    ).fetchall()
    top = max((row[3] for row in rows), default=0.0)
    found: dict[str, list[tuple[Item, float, float, float]]] = {}
    for query, entity, key, grade in rows:
        if query not in measured:
            good = float(top > 0 and grade >= RELEVANT * top)
            found.setdefault(query, []).append(((entity, key), np.nan, 1.0, good))
    return _some(found, options)


def with_like_ads(engine: SearchEngine, rows: Rows, options: RankingOptions) -> Rows:
    """The judged pairs, and for each query the nearest of some random items, as irrelevant."""
    snapshot, found = engine.snapshot, {}
    queries = sorted(rows)
    for number, (text, query) in enumerate(zip(queries, _asked(engine, queries), strict=True)):
        rng, judged = np.random.default_rng((options.seed, number)), {row[0] for row in rows[text]}
        added = []
        for code, entity in enumerate(ITEM_ENTITIES):
            ids = snapshot.generation.tables[entity].ids
            some = np.flatnonzero(rng.random(len(ids)) < 1 / AMONG)
            if query.vector is not None and len(some):
                items = Items(np.full(len(some), code, np.uint8), some)
                cosines = np.nan_to_num(snapshot.index.cosines(query, items, LEARNED), nan=-1.0)
                some = some[np.argsort(-cosines, kind="stable")]
            keys = [(entity, ids[row]) for row in some[:LIKE_ADS].tolist()]
            added += [(key, np.nan, 1.0, 0.0) for key in keys if key not in judged]
        found[text] = [*rows[text], *added]
    return found


def _asked(engine: SearchEngine, queries: Sequence[str]) -> list[Query]:
    """The queries with their vectors."""
    snapshot = engine.snapshot
    asked = [snapshot.query(text) for text in queries]
    if not snapshot.embeds:
        return asked
    vectors = engine.cache.vectors(snapshot.encoder, [query.text for query in asked])
    return [query.with_vector(row) for query, row in zip(asked, vectors, strict=True)]


def observed(
    engine: SearchEngine,
    rows: Rows,
    options: RankingOptions,
    tell: Any = None,
) -> Observed:
    """The pairs of some queries with their features; items that the index lacks are left out."""
    sources, queries = list(SOURCES.values()), sorted(rows)
    width = len(feature_names())
    parts = [(np.zeros((0, width), np.float32), np.zeros((0, 4)))]
    for number, (text, query) in enumerate(zip(queries, _asked(engine, queries), strict=True)):
        as_new = _hash(text, options.seed + 1) < options.as_new
        X, kept = _looked_at(engine, query, rows[text], sources, as_new)
        fold = min(int(_hash(text, options.seed + 2) * FOLDS), FOLDS - 1)
        values = [[place, n, c, fold] for _, place, n, c in kept]
        parts.append((X, np.array(values, float).reshape(-1, 4)))
        if tell:
            tell(number + 1)
    X, columns = (np.concatenate(column) for column in zip(*parts, strict=True))
    position, trials, successes, fold = columns.T
    return Observed(X, position.astype(np.float32), trials, successes, fold.astype(np.int64))


def _looked_at(
    engine: SearchEngine, query: Query, rows: Sequence[Any], sources: list[Any], as_new: bool
) -> tuple[np.ndarray, list[Any]]:
    """The features of a query's items, float32 (m, F), and the rows of those that the index has."""
    snapshot, tables = engine.snapshot, engine.snapshot.generation.tables
    places = [tables[entity].row_of.get(key, -1) for (entity, key), *_ in rows]
    also = {}
    for entity in ITEM_ENTITIES:
        here = {at for at, row in zip(places, rows, strict=True) if at >= 0 and row[0][0] == entity}
        if here:
            found = np.array(sorted(here), np.int64)
            also[f"shown_{entity}"] = SourceResult(entity, found, np.zeros(len(found), np.float32))
    candidates = retrieve_whole(snapshot, query, sources, engine.config, also)
    candidates.columns[ONLY_AD] = only_ads(candidates, sources)
    if query.vector is not None:
        add_cosines(snapshot, candidates, query)
        as_the_best(candidates)
    X = features(snapshot, candidates, query, as_new)
    kept = [row for at, row in zip(places, rows, strict=True) if at >= 0]
    found_at = [
        candidates.find(row[0][0], at) for at, row in zip(places, rows, strict=True) if at >= 0
    ]
    return X[found_at], kept


def _some(found: dict[str, Any], options: RankingOptions) -> dict[str, Any]:
    chosen = sorted(found, key=lambda query: (_hash(query, options.seed), query))
    return {query: found[query] for query in chosen[: options.queries]}


def _hash(query: str, seed: int) -> float:
    """A number from 0 to 1 that only the query and the seed decide."""
    salt = seed.to_bytes(8, "little", signed=True)
    raw = query.encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(raw, digest_size=8, salt=salt).digest(), "little") / 2**64
