"""From sources to an order: retrieval, exact cosines, features, L1, L2 and the blend."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np

from omnisearch.data.catalogue.schema import ITEM_ENTITIES
from omnisearch.engine.blend import Shares, blend
from omnisearch.engine.candidates import KINDS, Candidates, best_first, merge, rrf, unlearned
from omnisearch.engine.config import EngineConfig
from omnisearch.engine.filters import Filters
from omnisearch.engine.given import Given
from omnisearch.engine.item_columns import item_columns, word_columns
from omnisearch.engine.snapshot import Live
from omnisearch.engine.sources import COMPAT_SPACES, SOURCES, Asked, retrieve
from omnisearch.engine.systems import System
from omnisearch.ranker.features import QueryInfo, feature_matrix
from omnisearch.ranker.training import Rankers


class Stages:
    """Milliseconds by stage; `lap` closes the stage that began at the lap before."""

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
        candidates: all of them, with every column that was computed.
        order: int64 (m,) positions in `candidates`, best first: the feed, or its beginning.
        scores: float32 (n,) of all candidates; NaN for those that the system did not score.
        bounded: bool (m,), whether a bound of the blend decided the place.
        total: the length of the whole feed.
        features: float32 (n, F), what the rankers saw; None where they were not asked.
    """

    candidates: Candidates
    order: np.ndarray
    scores: np.ndarray
    bounded: np.ndarray
    total: int
    features: np.ndarray | None = None

    def first(self, places: range) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The entity codes, rows and scores of those places of the order."""
        chosen = self.order[places.start : places.stop]
        candidates = self.candidates
        return candidates.entity[chosen], candidates.row[chosen], self.scores[chosen]


def retrieve_all(
    query: Asked,
    system: System,
    config: EngineConfig,
    filters: Filters | None,
    given: Given,
) -> Candidates:
    """The merged candidates of a system's sources, those left out that `given` does not allow."""
    live = given.live
    masks = {} if given.rescuing else live.masks(filters)
    for source in SOURCES:
        wanted = source.kind in system.kinds and source.entity in system.entities
        if wanted and source.name not in given.found and not given.skips(source):
            allowed = masks.get(source.entity)
            given.found[source.name] = retrieve(live.generation, source, query, config, allowed)
    given.retrieved = True
    return merge(given.found.values())


def add_cosines(live: Live, candidates: Candidates, vector: np.ndarray) -> None:
    """Columns `learned` and `compat`: exact cosines of all candidates, whichever source had them.

    One gather and one product for each entity type and space. NaN where the item has no vector.
    """
    for name, space_of in (
        ("learned", dict.fromkeys(ITEM_ENTITIES, "learned")),
        ("compat", COMPAT_SPACES),
    ):
        column = np.full(len(candidates), np.nan, np.float32)
        for entity in ITEM_ENTITIES:
            key, part = (entity, space_of[entity]), candidates.part(entity)
            if key in live.arrays and part.start != part.stop:
                rows = candidates.row[part]
                found = np.take(live.arrays[key], rows, axis=0) @ vector
                column[part] = np.where(live.generation.spaces[key].present[rows], found, np.nan)
        candidates.columns[name] = column


def features(live: Live, candidates: Candidates, query: Asked, as_new: bool = False) -> np.ndarray:
    """Float32 (n, F): what the rankers see of the candidates (`omnisearch.ranker.features`).

    With `as_new`, as if nobody had searched for this before: no item was engaged by the query.
    """
    columns = {
        "entity": candidates.entity,
        "learned": candidates.columns["learned"],
        "compat": candidates.columns["compat"],
        "bm25": candidates.columns["token_score"],
        "learned_rank": candidates.columns["learned_rank"],
        "compat_rank": candidates.columns["compat_rank"],
        "bm25_rank": candidates.columns["token_rank"],
        **item_columns(live.generation, candidates, query),
    }
    if as_new:
        columns["engaged_match"] = np.zeros(len(candidates), np.float32)
    return feature_matrix(columns, QueryInfo.of(query.text, live.now))


def rank_candidates(
    live: Live,
    candidates: Candidates,
    query: Asked,
    system: System,
    config: EngineConfig,
    stages: Stages,
) -> Ranking:
    """Order the candidates as a system does.

    Without trained rankers 'l1' and 'full' order by cosine and shared words (`unlearned`),
    without the query's vector by reciprocal rank fusion of what was found. L1 keeps
    `config.l1_keep` candidates, and 'full' orders these by L2; the blend comes after.
    """
    columns = candidates.columns
    if system.order == "rrf":
        columns["rrf"] = rrf(candidates, system.kinds, config.rrf_k)
    if system.order not in ("l1", "full"):
        return _by(candidates, columns[system.order], len(candidates))
    if query.vector is not None:
        add_cosines(live, candidates, query.vector)
    stages.lap("cosines")
    if query.vector is None:
        columns["rrf"] = rrf(candidates, KINDS, config.rrf_k)
        ranking = _by(candidates, columns["rrf"], config.l1_keep)
        stages.lap("l1")
    elif live.rankers is None:
        columns |= word_columns(live.generation, candidates, query.text)
        columns["fused"] = unlearned(candidates)
        ranking = _by(candidates, columns["fused"], config.l1_keep)
        stages.lap("l1")
    else:
        X = features(live, candidates, query)
        stages.lap("features")
        columns["l1"] = live.rankers.l1.score(X).astype(np.float32)
        ranking = _by(candidates, columns["l1"], config.l1_keep)
        stages.lap("l1")
        if system.order == "full":
            ranking = _by_l2(live.rankers, ranking, X, config.relevance_weight)
            stages.lap("l2")
        ranking = replace(ranking, features=X)
    return ranking


def blended(live: Live, ranking: Ranking, shares: Shares, places: int) -> Ranking:
    """The ranking with the first `places` of its order blended (see `omnisearch.engine.blend`)."""
    candidates = ranking.candidates
    ads = np.zeros(len(candidates), bool)
    for entity in ITEM_ENTITIES:
        part = candidates.part(entity)
        if part.start != part.stop:
            ads[part] = live.generation.tables[entity].is_ad[candidates.row[part]]
    order, bounded = blend(ranking.order, candidates.entity, ads, shares, places)
    return replace(ranking, order=order, bounded=bounded)


def _by(candidates: Candidates, scores: np.ndarray, keep: int) -> Ranking:
    order = best_first(scores)
    known = len(order) - int(np.count_nonzero(np.isnan(scores)))
    order = order[: min(known, keep)]
    return Ranking(candidates, order, scores, np.zeros(len(order), bool), len(order))


def _by_l2(rankers: Rankers, kept: Ranking, X: np.ndarray, relevance_weight: float) -> Ranking:
    """Reorder what L1 kept by L2; the rest have NaN."""
    rows = np.sort(kept.order)  # (entity, row) order, so that equal scores keep it
    scores = np.full(len(kept.candidates), np.nan, np.float32)
    scores[rows] = rankers.l2.score(X[rows], relevance_weight)
    kept.candidates.columns["l2"] = scores
    return _by(kept.candidates, scores, len(rows))
