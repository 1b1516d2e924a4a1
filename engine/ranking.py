"""From candidates to an order: exact cosines, features, L1, L2 and the blend."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from omnisearch.data.catalogue.schema import ITEM_ENTITIES
from omnisearch.data.catalogue.soft_labels import teacher_text
from omnisearch.data.catalogue.spaces import LEARNED, SPACES, spaces_of
from omnisearch.encoders.onnx.reranker import Reranker
from omnisearch.engine.ads.placed import NO_ADS, Placed
from omnisearch.engine.blend import Shares, blend, most_ads
from omnisearch.engine.candidates import Candidates, best_first, by_signal, rrf
from omnisearch.engine.config import EngineConfig
from omnisearch.engine.context import COSINES, SearchContext
from omnisearch.engine.index import Index, Items
from omnisearch.engine.query import Query
from omnisearch.engine.rules.acting import Pin
from omnisearch.engine.rules.rule import MOST_PLACES
from omnisearch.engine.snapshot import Snapshot
from omnisearch.engine.sources import SOURCES, Source
from omnisearch.indexer.cluster.nodes import Unreachable
from omnisearch.ranker.features import QueryInfo, columns_read, feature_matrix
from omnisearch.ranker.starter import starter
from omnisearch.ranker.training import Rankers

HEADS = 10  # first results of each source that L1 does not cut
# A query of so many words is the name of a kind of thing if more items have it.
KIND_WORDS, NAMESAKES = 2, 3
ONLY_AD = "only_ad"  # the column of what only sources of ads have found: no result by itself


class Stages:
    """Milliseconds by stage; `lap` ends the stage that began at the previous lap."""

    def __init__(self) -> None:
        self.ms: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.ms[name] = self.ms.get(name, 0.0) + (now - self._last) * 1000
        self._last = now


@dataclass(frozen=True)
class Ranking:
    """A query's candidates in the order of a system.

    Attributes:
        candidates: all of them, with every computed column.
        order: int64 (m,) positions in `candidates`, best first: the feed, or its beginning.
        scores: float32 (n,) of all candidates; NaN if the system did not score one.
        bounded: bool (m,), whether a bound of the blend decided the position.
        total: the length of the whole feed.
        features: float32 (n, F), the input of the rankers; None if they were not used.
        ads: those of campaigns that may take places of the feed.
    """

    candidates: Candidates
    order: np.ndarray
    scores: np.ndarray
    bounded: np.ndarray
    total: int
    features: np.ndarray | None = None
    ads: Placed = NO_ADS

    def first(self, places: range) -> tuple[Items, np.ndarray]:
        """The items at these positions of the order, and their scores."""
        chosen = self.order[places.start : places.stop]
        candidates = self.candidates
        scores = np.nan_to_num(self.scores[chosen])  # a pinned item may have none
        return Items(candidates.entity[chosen], candidates.row[chosen]), scores


def add_cosines(snapshot: Snapshot, candidates: Candidates, query: Query) -> None:
    """Add columns of exact cosines in every space for all candidates, and `compat`: the cosine in
    the first compatibility space of each entity type."""
    columns = candidates.columns
    for space in (LEARNED, *SPACES):
        columns[space] = snapshot.index.cosines(query, candidates, space)
    columns["compat"] = np.full(len(candidates), np.nan, np.float32)
    for entity in ITEM_ENTITIES:
        part = candidates.part(entity)
        for space in spaces_of(entity)[:1]:
            columns["compat"][part] = columns[space][part]


def features(
    snapshot: Snapshot, candidates: Candidates, query: Query, as_new: bool = False
) -> np.ndarray:
    """Float32 (n, F): the features of the candidates (`ranker.features`).

    With `as_new`, as if the query were new: no item was engaged by it.
    """
    columns: dict[str, np.ndarray] = {"entity": candidates.entity, **candidates.columns}
    for signal, sources in by_signal(SOURCES.values()).items():
        columns[f"{signal}_rank"] = candidates.best_of(sources, "rank")
        if signal not in columns:
            columns[signal] = candidates.best_of(sources, "score")
    columns |= snapshot.index.columns(query, candidates, columns_read() - columns.keys())
    if as_new:
        columns["engaged_match"] = np.zeros(len(candidates), np.float32)
    return feature_matrix(columns, QueryInfo(query.length, snapshot.now))


def rank_candidates(
    snapshot: Snapshot,
    candidates: Candidates,
    query: Query,
    order: str,
    sources: Sequence[Source],
    config: EngineConfig,
    context: SearchContext,
    stages: Stages,
) -> Ranking:
    """Order the candidates of a system's sources by its `order`.

    Without trained rankers 'l1' and 'full' order by the starter ranker (`ranker.starter`), and
    without the query's vector, or a cluster that answers, by reciprocal rank fusion. L1 keeps
    `config.l1_keep` candidates, and the first HEADS of each source; 'full' orders them by L2, and
    the first `config.rerank` of these again by the exported teacher, if there is time for it. Both
    put the items first whose name or code is typed: no ranker has learned what it has not seen. The
    blend comes later.
    """
    if order == "score":
        return _by(candidates, candidates.best_of(sources, "score"), len(candidates))
    if order == "rrf":
        candidates.columns["rrf"] = rrf(candidates, sources, config.rrf_k)
        return _by(candidates, candidates.columns["rrf"], len(candidates))
    candidates.columns["named"] = np.zeros(len(candidates), int)
    # Those of the features too: all are read from the same words.
    candidates.columns |= snapshot.index.columns(query, candidates, {"named", *columns_read()})
    if ONLY_AD in candidates.columns:
        candidates.columns["named"][candidates.columns[ONLY_AD]] = 0
    ranking = _learned(snapshot, candidates, query, order, sources, config, context, stages)
    if "l2" in candidates.columns and snapshot.reranker and context.may_begin("rerank"):
        ranking = _reranked(snapshot.reranker, snapshot.index, query, ranking, config.rerank)
        stages.lap("rerank")
    named = candidates.columns["named"]
    if query.length <= KIND_WORDS and np.count_nonzero(named) > NAMESAKES:
        return ranking  # they are what somebody looks for, and not which item
    places = np.argsort(-named[ranking.order], kind="stable")
    return replace(ranking, order=ranking.order[places])


def _learned(
    snapshot: Snapshot,
    candidates: Candidates,
    query: Query,
    order: str,
    sources: Sequence[Source],
    config: EngineConfig,
    context: SearchContext,
    stages: Stages,
) -> Ranking:
    """The order by L1 ('l1') or by L2 ('full'), by scores alone."""
    columns, rankers = candidates.columns, snapshot.rankers
    kept = (candidates.best_of(sources, "rank") <= HEADS) | (columns["named"] > 0)
    late = query.vector is None and snapshot.embeds  # the encoder was
    if not late:
        try:
            add_cosines(snapshot, candidates, query)
        except Unreachable:
            context.left_out.append(COSINES)
            late = True
    if late:
        columns["rrf"] = rrf(candidates, sources, config.rrf_k)
        ranking = _by(candidates, columns["rrf"], config.l1_keep, kept)
        stages.lap("l1")
        return ranking
    if ONLY_AD in columns:
        as_the_best(candidates)
    stages.lap("cosines")
    X = features(snapshot, candidates, query)
    stages.lap("features")
    l1 = rankers.l1 if rankers else starter(snapshot.generation.word_weight)
    columns["l1"] = l1.score(X).astype(np.float32)
    ranking = _by(candidates, columns["l1"], config.l1_keep, kept)
    stages.lap("l1")
    if rankers and order == "full" and rankers.order == "l2":
        ranking = _by_l2(rankers, ranking, X, config.relevance_weight)
        stages.lap("l2")
    return replace(ranking, features=X)


def blended(
    snapshot: Snapshot,
    query: Query,
    ranking: Ranking,
    shares: Shares,
    places: int,
    pins: Sequence[Pin] = (),
) -> Ranking:
    """The ranking with the first `places` of its order blended (see `engine.blend`).

    Pins whose items are not among the candidates are left out; those to places beyond the end are
    the last. Of the ranking's ads as many are placed as the share permits in the whole feed.
    """
    candidates = ranking.candidates
    if not len(candidates):
        return ranking
    ads = candidates.columns.get("is_ad")
    if ads is None:
        ads = snapshot.index.columns(query, candidates, ("is_ad",))["is_ad"]
    found = [(pin.place, at) for pin in pins if (at := candidates.find(pin.entity, pin.row)) >= 0]
    order, placed = ranking.order, ranking.ads
    if found:
        order = order[~np.isin(order, [at for _, at in found])]
    if len(placed.order):
        sold = np.zeros(len(candidates), bool)
        sold[placed.order] = True
        others = int(np.count_nonzero(~sold[order])) + len(found)
        placed = placed.first(most_ads(others, len(placed.order), shares.ad_share))
        sold[:] = False
        sold[placed.order] = True
        order, ads = order[~sold[order]], ads | sold
    total = len(order) + len(found) + len(placed.order)
    last = total - len(found) + 1
    pinned = {min(place, last + number): at for number, (place, at) in enumerate(found)}
    order, bounded = blend(
        order, candidates.entity, ads, shares, places, pinned, placed.order.tolist()
    )
    return replace(ranking, order=order, bounded=bounded, total=total, ads=placed)


def moved(ranking: Ranking, moves: np.ndarray) -> Ranking:
    """The ranking with each candidate moved down by int64 (n,) `moves` places, up if negative.

    An item goes that many places if no other moves; where two want one place, the one that moves up
    more goes first.
    """
    by = moves[ranking.order]
    # By where it goes, then by how it moves, then by where it was: almost in order, so quick.
    again = np.argsort((np.arange(len(by)) + by) * 4 * MOST_PLACES + by, kind="stable")
    return replace(ranking, order=ranking.order[again], bounded=ranking.bounded[again])


def _by(
    candidates: Candidates, scores: np.ndarray, keep: int, also: np.ndarray | None = None
) -> Ranking:
    """The first `keep` by score, and after them those of `also` (bool (n,)) that are cut."""
    order = best_first(scores)
    order = order[: len(order) - int(np.count_nonzero(np.isnan(scores)))]
    if ONLY_AD in candidates.columns:
        order = order[~candidates.columns[ONLY_AD][order]]
    first, rest = order[:keep], order[keep:]
    order = first if also is None else np.concatenate((first, rest[also[rest]]))
    return Ranking(candidates, order, scores, np.zeros(len(order), bool), len(order))


def as_the_best(candidates: Candidates) -> None:
    """Let what only sources of ads found be no nearer than the nearest of the others.

    Features compare a candidate with the best of its entity type: no ad must change what they say
    of the others.
    """
    only = candidates.columns[ONLY_AD]
    for name in (LEARNED, "compat"):
        column = candidates.columns[name]
        for entity in ITEM_ENTITIES:
            part = candidates.part(entity)
            own, mine = column[part], only[part]
            if mine.any():
                best = np.fmax.reduce(own, where=~mine, initial=-np.inf)
                own[mine] = np.minimum(own[mine], best) if np.isfinite(best) else np.nan


def _reranked(
    reranker: Reranker, index: Index, query: Query, ranking: Ranking, most: int
) -> Ranking:
    """Reorder the first by the mean of L2's score and the teacher's grade, both standardised."""
    first = ranking.order[:most]
    items = Items(ranking.candidates.entity[first], ranking.candidates.row[first])
    texts = [teacher_text(fields) for fields in index.display(items)]
    grades = reranker.grades([(query.text, text) for text in texts])
    ranking.candidates.columns["teacher"] = np.full(len(ranking.scores), np.nan, np.float32)
    ranking.candidates.columns["teacher"][first] = grades
    both = together(ranking.scores[first], grades)
    again = first[np.argsort(-both, kind="stable")]
    return replace(ranking, order=np.concatenate((again, ranking.order[most:])))


def together(scores: np.ndarray, grades: np.ndarray) -> np.ndarray:
    """(n,) sums of scores and of a teacher's grades (as log odds), each standardised."""
    within = np.clip(grades, 1e-4, 1 - 1e-4)
    return _standard(scores) + _standard(np.log(within / (1 - within)))


def _standard(scores: np.ndarray) -> np.ndarray:
    return (scores - scores.mean()) / max(float(scores.std()), 1e-6)


def _by_l2(rankers: Rankers, kept: Ranking, X: np.ndarray, relevance_weight: float) -> Ranking:
    """Reorder by L2 the candidates that L1 kept; the others get NaN."""
    rows = np.sort(kept.order)  # (entity, row) order breaks ties
    scores = np.full(len(kept.candidates), np.nan, np.float32)
    scores[rows] = rankers.l2.score(X[rows], relevance_weight)
    kept.candidates.columns["l2"] = scores
    return _by(kept.candidates, scores, len(rows))
