"""Searches whose retrieval, L1 and L2 take the query's embedding from different checkpoints.

Everything else is the engine's own: token sources, features, rankers, bounds of the blend. An
embedding fills the features of the learned space (`learned`, `learned_gap`, `learned_rr`),
whichever checkpoint it is of, and no other feature of the rankers holds a cosine.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace

import numpy as np

from omnisearch.data.catalogue.schema import ITEM_ENTITIES, open_catalogue
from omnisearch.data.catalogue.spaces import LEARNED
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import NotReady
from omnisearch.encoders.encoder import Encoder
from omnisearch.engine.blend import Shares
from omnisearch.engine.candidates import Candidates, best_first
from omnisearch.engine.index import TOKENS, Items, SourceRequest, SourceResult
from omnisearch.engine.local_index import LocalIndex
from omnisearch.engine.query import Query
from omnisearch.engine.ranking import HEADS, Ranking, add_cosines, blended, features
from omnisearch.engine.ranking_data import RankingOptions, collect
from omnisearch.engine.retrieval import retrieve_whole
from omnisearch.engine.search import SearchEngine
from omnisearch.engine.snapshot import Snapshot
from omnisearch.engine.sources import SOURCES
from omnisearch.evaluation.reproduce.runs import entity_vectors
from omnisearch.indexer.generation import Generation
from omnisearch.ranker.training import Rankers, train_rankers

DEPTH = SOURCES.named("learned_pins").depth


class Embedding:
    """The query-item cosines of one checkpoint over the rows of a generation's tables, exact.

    Those of SearchSage, which has no item tower, are cosines with PinSage and ItemSage vectors.
    """

    def __init__(self, workspace: Workspace, encoder: Encoder, generation: Generation) -> None:
        self._encoder, self._asked = encoder, dict[str, np.ndarray]()
        self._vectors: dict[str, np.ndarray] = {}  # entity → (n, dim), NaN where an item has none
        space = "learned" if encoder.config.weight_learned else "compat"
        with closing(open_catalogue(workspace.catalogue)) as db:
            for entity in ITEM_ENTITIES:
                ids, vectors = entity_vectors(workspace, db, encoder, entity)[space]
                rows = [generation.tables[entity].row_of[key] for key in ids]
                shape = len(generation.tables[entity]), encoder.dim
                self._vectors[entity] = np.full(shape, np.nan, np.float32)
                self._vectors[entity][rows] = vectors

    def cosines(self, text: str, entity: str) -> np.ndarray:
        """Float32 (n,): of all rows of a table with a query; NaN where an item has no vector."""
        if text not in self._asked:
            self._asked[text] = self._encoder.queries([text])[0]
        return self._vectors[entity] @ self._asked[text]

    def first(self, text: str, entity: str, depth: int) -> SourceResult:
        """The rows with the highest cosines."""
        scores = self.cosines(text, entity)
        rows = best_first(scores)[: min(depth, np.count_nonzero(~np.isnan(scores)))]
        return SourceResult(entity, rows, scores[rows])


class StackIndex(LocalIndex):
    """The index of a generation, with one embedding that retrieves and one that rankers see."""

    def __init__(self, generation: Generation, retrieves: Embedding, ranks: Embedding) -> None:
        super().__init__(generation)
        self._retrieves, self._ranks = retrieves, ranks

    def search(self, requests: Iterable[SourceRequest]) -> Iterator[SourceResult]:
        """As of `LocalIndex`; there is nothing in the spaces of pre-existing embeddings."""
        for request in requests:
            if request.space == TOKENS:
                yield from super().search([request])
            else:
                depth = request.depth if request.space == LEARNED else 0
                yield self._retrieves.first(request.query.text, request.entity, depth)

    def cosines(self, query: Query, items: Items, space: str) -> np.ndarray:
        column = np.full(len(items), np.nan, np.float32)
        for entity in ITEM_ENTITIES if space == LEARNED else ():
            part = items.part(entity)
            column[part] = self._ranks.cosines(query.text, entity)[items.row[part]]
        return column

    def columns(self, query: Query, items: Items, names: Iterable[str]) -> dict[str, np.ndarray]:
        """As of `LocalIndex`, and `learned_rank`: in what the rankers' embedding would retrieve."""
        rank = np.full(len(items), np.nan, np.float32)
        for entity in ITEM_ENTITIES:
            found = self._ranks.first(query.text, entity, DEPTH).rows
            place = np.full(len(self._tables[entity]), np.nan, np.float32)
            place[found] = np.arange(1, len(found) + 1)
            part = items.part(entity)
            rank[part] = place[items.row[part]]
        return super().columns(query, items, names) | {"learned_rank": rank}


@dataclass(frozen=True)
class Stack:
    """Which embedding each stage has, by its name in `Stacks.embeddings`."""

    retrieval: str
    l1: str
    l2: str


class Stacks:
    """All stacks over one generation.

    Args:
        engine: over a generation, for everything but embeddings; its checkpoint is not used.
        control: the embedding that retrieves while rankers are trained.
    """

    def __init__(
        self, engine: SearchEngine, embeddings: Mapping[str, Embedding], control: str
    ) -> None:
        self._engine, self._config = engine, engine.config
        self._sources = [each for each in SOURCES.values() if each.space in (TOKENS, LEARNED)]
        self._snapshots = {
            (one, two): stacked(engine.snapshot, embeddings[one], embeddings[two])
            for one in embeddings
            for two in embeddings
        }
        self._rankers = {name: self._trained(control, name) for name in embeddings}

    def _trained(self, retrieves: str, ranks: str) -> Rankers:
        """Rankers of one embedding, on what the control retrieves for the log's queries."""
        whole = self._engine
        engine = SearchEngine(
            whole.workspace, self._snapshots[retrieves, ranks], whole.cache, whole.config
        )
        with closing(open_catalogue(self._engine.workspace.catalogue)) as db:
            data = collect(engine, db, RankingOptions())
        if not len(data):
            raise NotReady("There is nothing to train the rankers on.", where="table7")
        return train_rankers(data)

    def pages(self, text: str, stacks: Mapping[str, Stack], k: int) -> dict[str, list[str]]:
        """Stack → the ids of its first k results."""
        found: dict[str, list[str]] = {}
        merged: dict[str, Candidates] = {}
        seen: dict[tuple[str, str], np.ndarray] = {}
        snapshot = next(iter(self._snapshots.values()))
        query = snapshot.query(text).with_vector(np.zeros(1, np.float32))  # embeddings have theirs

        def read(retrieves: str, ranks: str) -> np.ndarray:
            """The features of what one embedding retrieves, as rankers of another see it."""
            of = self._snapshots[retrieves, ranks]
            if retrieves not in merged:
                merged[retrieves] = retrieve_whole(of, query, self._sources, self._config)
            if (retrieves, ranks) not in seen:
                candidates = replace(merged[retrieves], columns={**merged[retrieves].columns})
                add_cosines(of, candidates, query)
                seen[retrieves, ranks] = features(of, candidates, query)
            return seen[retrieves, ranks]

        for name, stack in stacks.items():
            first = self._rankers[stack.l1].l1.score(read(stack.retrieval, stack.l1))
            X, candidates = read(stack.retrieval, stack.l2), merged[stack.retrieval]
            heads = candidates.best_of(self._sources, "rank") <= HEADS
            kept = np.zeros(len(candidates), bool)
            kept[best_first(first)[: self._config.l1_keep]] = True
            rows = np.flatnonzero(kept | heads)
            scores = np.full(len(candidates), np.nan, np.float32)
            weight = self._config.relevance_weight
            scores[rows] = self._rankers[stack.l2].l2.score(X[rows], weight)
            order = best_first(scores)[: len(rows)]
            ranking = Ranking(candidates, order, scores, np.zeros(len(order), bool), len(order))
            shares = Shares(self._config.ad_share, self._config.min_share)
            ranking = blended(snapshot, query, ranking, shares, k)
            items, _ = ranking.first(range(min(k, len(ranking.order))))
            found[name] = ids_of(snapshot, items)
        return found


def stacked(snapshot: Snapshot, retrieves: Embedding, ranks: Embedding) -> Snapshot:
    """A snapshot in which one embedding retrieves, and another is seen by rankers and models."""
    made = replace(snapshot, rankers=None, rules=None)
    # In place of what the cached property would make of the generation alone.
    made.__dict__["index"] = StackIndex(snapshot.generation, retrieves, ranks)
    return made


def ids_of(snapshot: Snapshot, items: Items) -> list[str]:
    """The catalogue's ids of items."""
    tables = [snapshot.generation.tables[entity].ids for entity in ITEM_ENTITIES]
    return [tables[c][r] for c, r in zip(items.entity.tolist(), items.row.tolist(), strict=True)]
