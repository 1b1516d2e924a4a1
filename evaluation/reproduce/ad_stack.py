"""Ads whose retrieval, engagement model and relevance model take the query's embedding from
different checkpoints (§5.3).

Everything else is the engine's own: campaigns, words of ads, features, calibrated models, the
auction. The results among which ads stand are those of one embedding in all stacks.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, replace

import numpy as np

from omnisearch.data.catalogue.campaigns import Campaign
from omnisearch.data.catalogue.schema import ITEM_ENTITIES, open_catalogue
from omnisearch.data.catalogue.spaces import LEARNED
from omnisearch.data.workspace.errors import NotReady
from omnisearch.engine.ad_sources import retrieve_ads
from omnisearch.engine.ad_training import train_ad_models
from omnisearch.engine.ads.ad_index import AdIndex
from omnisearch.engine.ads.models import AdModels
from omnisearch.engine.ads.running import AdsOfItems, Running
from omnisearch.engine.auction import auction, only_ads
from omnisearch.engine.candidates import Candidates
from omnisearch.engine.filters import Filters
from omnisearch.engine.index import TOKENS, Items
from omnisearch.engine.query import Query
from omnisearch.engine.ranking import ONLY_AD, add_cosines, as_the_best, features
from omnisearch.engine.ranking_data import RankingOptions
from omnisearch.engine.retrieval import retrieve_whole
from omnisearch.engine.search import SearchEngine
from omnisearch.engine.sources import AD_SOURCES, SOURCES
from omnisearch.evaluation.reproduce.stack import Embedding, ids_of, stacked
from omnisearch.indexer.generation import Generation


class EmbeddedAds(AdIndex):
    """The advertised items as `AdIndex` has them, with the cosines of an embedding."""

    def __init__(self, of: AdIndex, generation: Generation, embedding: Embedding) -> None:
        super().__init__(of.items, generation)
        self._embedding = embedding

    def cosines(self, query: Query, least: float) -> np.ndarray:
        items, found = self.items, np.full(len(self.items), np.nan, np.float32)
        for entity in ITEM_ENTITIES:
            part = items.part(entity)
            found[part] = self._embedding.cosines(query.text, entity)[items.row[part]]
        return found


@dataclass(frozen=True)
class AdStack:
    """Which embedding each stage has, by its name in `AdStacks.embeddings`."""

    retrieval: str
    engagement: str
    relevance: str


class AdStacks:
    """All stacks over one generation.

    Args:
        engine: over a generation, for everything but embeddings; its checkpoint is not used.
        control: the embedding that retrieves results, among which the ads of all stacks stand.
        now: when ads are shown, seconds since 1970.
    """

    def __init__(
        self,
        engine: SearchEngine,
        embeddings: Mapping[str, Embedding],
        control: str,
        campaigns: list[Campaign],
        now: float,
    ) -> None:
        self._engine, self._control, self._now = engine, control, now
        self._sources = [each for each in SOURCES.values() if each.space in (TOKENS, LEARNED)]
        self._snapshots = {
            name: stacked(engine.snapshot, embeddings[control], embeddings[name])
            for name in embeddings
        }
        generation = engine.snapshot.generation
        self._ads = AdsOfItems(campaigns, generation)
        self._indexes = {
            name: EmbeddedAds(self._ads.index, generation, embedding)
            for name, embedding in embeddings.items()
        }
        self._models = {name: self._trained(name) for name in embeddings}

    def _trained(self, name: str) -> AdModels:
        """The models that read the cosines of an embedding."""
        whole = self._engine
        engine = SearchEngine(whole.workspace, self._snapshots[name], whole.cache, whole.config)
        with closing(open_catalogue(whole.workspace.catalogue)) as db:
            models = train_ad_models(engine, db, RankingOptions())
        if models.engagement is None or models.relevance is None:
            raise NotReady(
                "There is too little to train the models of ads on.",
                where="table8",
                how="Take a larger world: `pins` in the file of the table.",
            )
        return models

    def ads(
        self, text: str, language: str, country: str, stacks: Mapping[str, AdStack]
    ) -> dict[str, list[str]]:
        """Stack → the ids of its ads for a query, the most valuable first."""
        of_control = self._snapshots[self._control]
        query = of_control.query(text, language).with_vector(np.zeros(1, np.float32))
        running = self._ads.running(self._now, country, query.language)
        if running is None:
            return {name: [] for name in stacks}
        found: dict[str, Candidates] = {}
        seen: dict[tuple[str, str], np.ndarray] = {}

        def read(retrieves: str, ranks: str) -> np.ndarray:
            """The features of what one embedding retrieves, as a model of another reads it."""
            if (retrieves, ranks) not in seen:
                of, candidates = self._snapshots[ranks], found[retrieves]
                candidates = replace(candidates, columns={**candidates.columns})
                add_cosines(of, candidates, query)
                as_the_best(candidates)
                seen[retrieves, ranks] = features(of, candidates, query)
            return seen[retrieves, ranks]

        shown = {}
        for name, stack in stacks.items():
            if stack.retrieval not in found:
                found[stack.retrieval] = self._found(query, running, stack.retrieval)
            candidates = found[stack.retrieval]
            placed = auction(
                candidates,
                read(stack.retrieval, stack.engagement),
                read(stack.retrieval, stack.relevance),
                running,
                self._models[stack.engagement].engagement,
                self._models[stack.relevance].relevance,
                self._engine.config.ad_relevance,
            )
            items = Items(candidates.entity[placed.order], candidates.row[placed.order])
            shown[name] = ids_of(of_control, items)
        return shown

    def _found(self, query: Query, running: Running, name: str) -> Candidates:
        """The control's results, and the ads that an embedding retrieves."""
        of, config = self._snapshots[self._control], self._engine.config
        ads = replace(running, index=self._indexes[name])
        depths = {source.name: config.depth(source) for source in AD_SOURCES}
        # No floor: cosines of different embeddings are not alike, and the gate comes.
        also = retrieve_ads(of.index, query, ads, depths, Filters(), None, floor=-1.0)
        candidates = retrieve_whole(of, query, self._sources, config, also)
        candidates.columns[ONLY_AD] = only_ads(candidates, self._sources)
        return candidates
