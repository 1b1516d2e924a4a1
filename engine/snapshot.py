"""What a search answers from: a generation, its encoder, and the rankers."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING

import numpy as np

from omnisearch.data.catalogue.campaigns import Campaign, load_campaigns
from omnisearch.data.catalogue.schema import ITEM_ENTITIES
from omnisearch.data.catalogue.splits import known_until
from omnisearch.data.text.exclusions import languages_of
from omnisearch.data.text.language import primary
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import Corrupt
from omnisearch.data.workspace.files import stamp
from omnisearch.data.workspace.memory import remembering
from omnisearch.data.workspace.steps import end_step
from omnisearch.encoders.no_encoder import NONE, NoEncoder
from omnisearch.encoders.onnx.query_tower import MANIFEST, QueryTower, open_export
from omnisearch.encoders.onnx.reranker import Reranker, open_reranker
from omnisearch.engine.ads.models import AdModels, load_models
from omnisearch.engine.ads.running import AdsOfItems
from omnisearch.engine.attributes import attribute_kinds
from omnisearch.engine.cluster.index import ClusterIndex
from omnisearch.engine.compounds import COMPOUNDING, Compounds
from omnisearch.engine.filters import OUT_OF_STOCK
from omnisearch.engine.index import Index
from omnisearch.engine.local_index import LocalIndex
from omnisearch.engine.query import Query, query_of, read_query
from omnisearch.engine.query_language import SpokenLanguages, checked_language, spoken_languages
from omnisearch.engine.rules.acting import Acting, RulesOfItems
from omnisearch.engine.rules.published import Rules, live_rules, load_rules
from omnisearch.engine.suggest import Suggester
from omnisearch.indexer.cluster.nodes import Unreachable
from omnisearch.indexer.generation import ENCODER, Generation, folder_of
from omnisearch.indexer.parts.layout import whole
from omnisearch.ranker.published import load_rankers
from omnisearch.ranker.starter import starter
from omnisearch.ranker.training import Rankers

if TYPE_CHECKING:
    from omnisearch.encoders.encoder import Encoder


@dataclass(frozen=True, eq=False)
class Snapshot:
    """An immutable view that a search keeps, even if a newer one is published meanwhile.

    Attributes:
        encoder: the query tower of the generation's checkpoint; `NoEncoder` if it has none.
        rankers: None if none were trained.
        now: the generation's own time, seconds since 1970, so that scores that depend on age do not
            change within a generation.
        rankers_id: the hash of the rankers, empty if there are none.
        reranker: the exported teacher, if the settings want one.
        kinds: attribute → the kind of its values, where the settings say one.
        models: changes when the encoder or the reranker has to be opened anew.
        rules: the shop's rules, if any are live.
        hides_out_of_stock: whether the settings hide what is out of stock.
        campaigns: all that were imported, also those that do not run now.
        ad_models: None if none were trained.
        ads_seen: changes when campaigns or their models do.
    """

    generation: Generation
    encoder: QueryTower
    rankers: Rankers | None
    now: int
    rankers_id: str = ""
    reranker: Reranker | None = None
    models: tuple[object, ...] = ()
    rules: Rules | None = None
    kinds: Mapping[str, str] = field(default_factory=dict)
    hides_out_of_stock: bool = False
    campaigns: tuple[Campaign, ...] = ()
    ad_models: AdModels | None = None
    ads_seen: tuple[object, ...] = ()

    @property
    def embeds(self) -> bool:
        """Whether there are embeddings to search, and an encoder for queries."""
        return self.encoder.checkpoint != NONE

    @cached_property
    def index(self) -> Index:
        """The indexes of the generation."""
        if self.generation.segments[0].collections is not None:
            return ClusterIndex(self.generation, self.kinds)
        return LocalIndex(self.generation, self.kinds)

    @cached_property
    def languages(self) -> frozenset[str]:
        """The languages of the catalogue whose exclusion words are recognised."""
        tables = self.generation.tables
        found = [tables[entity].language for entity in ITEM_ENTITIES if entity in tables]
        return languages_of(
            code
            for column in found
            for code, size in zip(column.vocab, column.sizes.tolist(), strict=True)
            if size
        )

    @cached_property
    def spoken(self) -> SpokenLanguages:
        """The languages that a query is taken to be in, if the log does not say."""
        return spoken_languages(self.generation.tables)

    @cached_property
    def compounds(self) -> Compounds:
        """The words of the catalogue that may be compounds, or parts of them."""
        return Compounds(self.generation.spelling, self.spoken)

    @cached_property
    def ruling(self) -> RulesOfItems | None:
        """The rules over the items of the generation."""
        if self.rules is None or not self.rules.rules:
            return None
        attributes, tables = self.index.attributes, self.generation.tables
        found = RulesOfItems(self.rules.rules, self.rules.matching, tables, attributes)
        found.for_all(time.time())
        return found

    @cached_property
    def ads_of_items(self) -> AdsOfItems | None:
        """The campaigns over the items of the generation; None without any."""
        return AdsOfItems(self.campaigns, self.generation) if self.campaigns else None

    def acting(self, query: Query) -> Acting | None:
        """The rules that act on the results of a query now; None if none does."""
        return self.ruling.acting(query, time.time()) if self.ruling else None

    @property
    def suggester(self) -> Suggester:
        """What suggests while somebody types: texts of items that a search for them may return.

        Made anew when a rule for all queries starts or ends.
        """
        return self._suggesting(self.ruling.for_all(time.time()).start if self.ruling else 0.0)

    @cached_property
    def _suggesting(self) -> Callable[[float], Suggester]:
        return remembering(self._suggester, 1)

    def _suggester(self, now: float) -> Suggester:
        attributes, hidden = self.index.attributes, dict[str, np.ndarray]()
        ruled = self.ruling.for_all(now).hidden if self.ruling else {}
        for entity in ITEM_ENTITIES:
            size = len(self.generation.tables[entity])
            hidden[entity] = ruled.get(entity, np.zeros(size, bool))
            if self.hides_out_of_stock and attributes.out_of_stock:
                (gone,) = OUT_OF_STOCK.conditions
                hidden[entity] = hidden[entity] | attributes.mask(gone, entity, size)
        return Suggester(self.generation.suggested_without(hidden), attributes)

    def query(self, text: str, language: str | None = None) -> Query:
        """A user's text as a query, without its vector.

        Args:
            language: the query's, as the caller knows it, such as 'de' or 'de-AT'. None takes the
                log's, or what `spoken` detects.

        Raises:
            InputError: like `read_query`, and if `language` is no code of a language.
        """
        typed, notes = read_query(text)
        known, source = self._logged(typed), "log"
        if language is not None:
            known, source = checked_language(language), "caller"
        detected, likely = (known, known) if known else self.spoken.detect(typed)
        own = (self.spoken.has, detected) if detected else (None, "")
        compounding = (known or likely) in COMPOUNDING
        try:
            searched, unspelled = (
                self.generation.spelling.respelled(typed, *own, compounding),
                False,
            )
        except Unreachable:  # a cluster has the words beside which others are chosen
            searched, unspelled = typed, True
        now = time.time()
        if searched != typed and self.ruling and any(self.ruling.synonyms(typed, now)):
            searched = typed  # what the shop has a synonym for is no mistake
        known = known or self._logged(searched)
        if known is None:
            known, source = detected, "detected"
        languages = languages_of([known]) if known else self.languages
        query = query_of(typed, searched, languages, notes, known or likely)
        query = replace(query, language=known, language_source=source if known else None)
        query = replace(query, unspelled=unspelled)
        query = self.compounds.added(query)
        if self.ruling is None:
            return query
        only = self.spoken.codes[0] if len(self.spoken.codes) == 1 else None
        return self.ruling.query(query, only, languages, now)

    def _logged(self, query: str) -> str | None:
        """The language of a query of the log."""
        table = self.generation.tables.get("query")
        if table is None or query not in table.row_of:
            return None
        code = int(table.language.codes[table.row_of[query]])
        return primary(table.language.vocab[code]) if code >= 0 else None


def open_snapshot(
    workspace: Workspace,
    token_backend: str,
    with_rankers: bool = True,
    threads: int = 0,
    number: int | None = None,
    rerank: bool = False,
    like: Snapshot | None = None,
    spaces: bool = True,
    later: bool = False,
    with_rules: bool = True,
    hides_out_of_stock: bool = False,
    with_ads: bool = True,
) -> Snapshot:
    """Open a generation, the live one by default, with its checkpoint and the rankers if wanted.

    Queries are encoded by the checkpoint's export if there is one; PyTorch is then not imported.

    Args:
        threads: of one call of an exported model; 0 uses all cores.
        rerank: open the exported teacher too, if there are rankers.
        like: an open snapshot; what both have, segments and models, is not opened again.
        spaces: False opens what is searched by words alone.
        later: open the query tower for the first query whose embedding is not cached.
        with_rules: False answers as without the shop's rules.
        hides_out_of_stock: as of `Snapshot`.
        with_ads: False answers as without campaigns.

    Raises:
        NotReady: there is no generation, or no exported teacher, or the models of ads are old.
        Corrupt: a file of it, of the rankers (also the starter ranker), of the rules or of the ads
            is damaged.
    """
    starter()
    before = None if like is None else like.generation
    generation = Generation.open(
        workspace,
        number,
        token_backend,
        like=before,
        spaces=spaces,
        encoder=not later,
        suggestions=not later,
    )
    export = workspace.export(generation.checkpoint)
    models = (generation.checkpoint, stamp(export / MANIFEST), stamp(workspace.reranker / MANIFEST))
    same = like if like is not None and like.models == models else None
    tower = LaterTower if later and generation.checkpoint != NONE else query_tower
    encoder: QueryTower = same.encoder if same else tower(workspace, generation, threads)
    snapshot = Snapshot(
        generation,
        encoder,
        None,
        data_time(generation),
        models=models,
        kinds=attribute_kinds(workspace),
        hides_out_of_stock=hides_out_of_stock,
    )
    if with_rankers and workspace.current_rankers.exists():
        named = workspace.current_rankers.read_text("utf-8", errors="replace")
        reranker = same.reranker if same else None
        if reranker is None and rerank:
            reranker = open_reranker(workspace, threads)
        if like is not None and like.rankers_id == named:
            rankers = like.rankers
        else:
            rankers = load_rankers(workspace)
        snapshot = replace(snapshot, rankers=rankers, rankers_id=named, reranker=reranker)
    if with_rules:
        snapshot = replace(snapshot, rules=_live_rules(workspace, like))
    if with_ads:
        snapshot = _with_live_ads(snapshot, workspace, like)
    # Made now: the first query, on an event loop, must not wait for it.
    for made in ("compounds", "ruling", "ads_of_items"):
        end_step()
        getattr(snapshot, made)
    end_step()
    if generation.suggestions:
        _ = snapshot.suggester
        end_step()
    return snapshot


def _live_rules(workspace: Workspace, like: Snapshot | None) -> Rules | None:
    number = live_rules(workspace)
    if like is not None and like.rules is not None and like.rules.number == number:
        return like.rules
    return load_rules(workspace, number)


def _with_live_ads(snapshot: Snapshot, workspace: Workspace, like: Snapshot | None) -> Snapshot:
    seen = stamp(workspace.campaigns), stamp(workspace.ad_models)
    if like is not None and like.ads_seen == seen:
        return replace(snapshot, campaigns=like.campaigns, ad_models=like.ad_models, ads_seen=seen)
    campaigns = tuple(load_campaigns(workspace).values())
    models = load_models(workspace) if campaigns else None
    return replace(snapshot, campaigns=campaigns, ad_models=models, ads_seen=seen)


def query_tower(workspace: Workspace, generation: Generation, threads: int = 0) -> QueryTower:
    """The query tower of a generation: the export of its checkpoint, or the checkpoint in PyTorch.

    Raises Corrupt if a file of the checkpoint is damaged.
    """
    if generation.checkpoint == NONE:
        return NoEncoder()
    export = open_export(workspace, generation.checkpoint, threads)
    return export or trained_encoder(workspace, generation)


class LaterTower:
    """The query tower of a generation, opened by the first query that is not cached."""

    def __init__(self, workspace: Workspace, generation: Generation, threads: int) -> None:
        self.checkpoint = generation.checkpoint
        self.dim: int = generation.segments[0].manifest["spaces"][0]["dim"]
        self._open = partial(query_tower, workspace, generation, threads)

    def queries(self, texts: Sequence[str], batch_size: int = 256) -> np.ndarray:
        return self._tower.queries(texts, batch_size)

    @cached_property
    def _tower(self) -> QueryTower:
        return self._open()


def trained_encoder(workspace: Workspace, generation: Generation) -> Encoder:
    """The generation's own copy of its checkpoint, in PyTorch."""
    from omnisearch.encoders.checkpoint import open_encoder

    folder = folder_of(workspace, generation.segments[0].number) / ENCODER
    encoder = open_encoder(folder, generation.checkpoint_name)
    if encoder.checkpoint != generation.checkpoint:
        raise Corrupt(
            f"Generation {generation.number} has vectors of checkpoint {generation.checkpoint} "
            f"and an encoder of {encoder.checkpoint}, which do not match.",
            where=str(folder),
            how="Run `omnisearch index build`.",
        )
    return encoder


def data_time(generation: Generation) -> int:
    """The time of the generation's data: `known_until`, else its newest item's time."""
    known = known_until(generation.manifest)
    if known:
        return known
    return max(
        (int(whole(each.created_at).max(initial=0)) for each in generation.tables.values()),
        default=0,
    )
