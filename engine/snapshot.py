"""What a search answers from: a generation, its encoder, and the rankers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from omnisearch.data.catalogue.schema import ITEM_ENTITIES
from omnisearch.data.catalogue.splits import known_until
from omnisearch.data.text.exclusions import languages_of
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import Corrupt
from omnisearch.encoders.onnx.query_tower import QueryTower, open_export
from omnisearch.engine.index import Index
from omnisearch.engine.local_index import LocalIndex
from omnisearch.engine.query import Query, query_of, read_query
from omnisearch.indexer.generation import Generation
from omnisearch.ranker.published import load_rankers
from omnisearch.ranker.training import Rankers

if TYPE_CHECKING:
    from omnisearch.encoders.encoder import Encoder


@dataclass(frozen=True, eq=False)
class Snapshot:
    """An immutable view that a search keeps, even if a newer one is published meanwhile.

    Attributes:
        encoder: the query tower of the generation's checkpoint.
        rankers: None if none were trained.
        now: the generation's own time, seconds since 1970, so that scores that depend on age do not
            change within a generation.
        rankers_id: the hash of the rankers, empty if there are none.
    """

    generation: Generation
    encoder: QueryTower
    rankers: Rankers | None
    now: int
    rankers_id: str = ""

    @cached_property
    def index(self) -> Index:
        """The indexes of the generation."""
        return LocalIndex(self.generation)

    @cached_property
    def languages(self) -> frozenset[str]:
        """The languages of the catalogue whose exclusion words are recognised."""
        tables = self.generation.tables
        found = [tables[entity].language.vocab for entity in ITEM_ENTITIES if entity in tables]
        return languages_of(code for vocabulary in found for code in vocabulary)

    def query(self, text: str) -> Query:
        """A user's text as a query, without its vector; raises like `read_query`."""
        typed, notes = read_query(text)
        searched = self.generation.spelling.respelled(typed)
        query = query_of(typed, searched, self.languages, notes)
        return replace(query, language=self._language(query))

    def _language(self, query: Query) -> str | None:
        table = self.generation.tables.get("query")
        if table is None:
            return None
        row = table.row_of.get(query.typed, table.row_of.get(query.text))
        code = -1 if row is None else int(table.language.codes[row])
        return table.language.vocab[code] if code >= 0 else None


def open_snapshot(
    workspace: Workspace,
    token_backend: str,
    with_rankers: bool = True,
    threads: int = 0,
    number: int | None = None,
) -> Snapshot:
    """Open a generation, the live one by default, with its checkpoint and the rankers if wanted.

    Queries are encoded by the checkpoint's export if there is one (`omnisearch export onnx`);
    PyTorch is then not imported.

    Args:
        threads: of one call of an exported query tower; 0 uses all cores.

    Raises:
        NotReady: there is no generation.
        Corrupt: a file of it or of the rankers is damaged.
    """
    generation = Generation.open(workspace, number, token_backend)
    encoder: QueryTower | None = open_export(workspace, generation.checkpoint, threads)
    if encoder is None:
        encoder = trained_encoder(workspace, generation)
    snapshot = Snapshot(generation, encoder, None, data_time(generation))
    if not with_rankers or not workspace.current_rankers.exists():
        return snapshot
    named = workspace.current_rankers.read_text("utf-8", errors="replace")
    return replace(snapshot, rankers=load_rankers(workspace), rankers_id=named)


def trained_encoder(workspace: Workspace, generation: Generation) -> Encoder:
    """The generation's own copy of its checkpoint, in PyTorch."""
    from omnisearch.encoders.checkpoint import open_encoder
    from omnisearch.indexer.generation import folder_of
    from omnisearch.indexer.publish import ENCODER

    folder = folder_of(workspace, generation.number) / ENCODER
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
    newest = [int(table.created_at.max(initial=0)) for table in generation.tables.values()]
    return known_until(generation.manifest) or max(newest, default=0)
