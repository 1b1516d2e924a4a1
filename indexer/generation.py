"""Generations: immutable folders, each a complete version of the index.

`generations/<number>/` holds `manifest.json`, and the generation's own segment: for each entity
type a folder with its table, its tokens and their index, and its spaces. An update's generation
names earlier folders whose segments lie under its own, and which of their items no longer count.
The workspace's `CURRENT` names the live one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from omnisearch.data.catalogue.schema import ENTITIES, ITEM_ENTITIES
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.artefacts import read_manifest, read_number, verified
from omnisearch.data.workspace.errors import Corrupt, NotReady
from omnisearch.data.workspace.files import sha256_file
from omnisearch.data.workspace.reading import reading
from omnisearch.data.workspace.steps import end_step
from omnisearch.indexer.cluster.config import cluster_config
from omnisearch.indexer.cluster.nodes import Nodes
from omnisearch.indexer.cluster.stamps import check_loaded
from omnisearch.indexer.cluster.trips import Collections
from omnisearch.indexer.dead import DEAD_FILE, load_dead
from omnisearch.indexer.parts.spelling import Spelling
from omnisearch.indexer.parts.suggest import Entries
from omnisearch.indexer.parts.suggest_open import (
    QUERIES_FILE,
    SUGGESTIONS,
    open_queries,
    stacked_suggestions,
)
from omnisearch.indexer.parts.table import ItemTable
from omnisearch.indexer.parts.token_index import TokenIndex
from omnisearch.indexer.parts.tokens import check_backend
from omnisearch.indexer.parts.tokens_tantivy import TANTIVY_FOLDER
from omnisearch.indexer.parts.words import Texts
from omnisearch.indexer.segment import GENERATION, QDRANT, Segment, described, open_segment
from omnisearch.indexer.stacking import Contents, Spaces, contents_of, tables_of

ENCODER = "encoder"  # the query encoder of these vectors, kept with them
_OF_SPACES = (".npy", ".hnsw")  # the ends of their files' names
_OPEN_TRIES = 3


@dataclass(frozen=True)
class Generation:
    """An open generation, for reading. Safe to use from several threads.

    Attributes:
        number: the folder's name; higher is newer.
        checkpoint: of the encoder of these vectors, NONE without one; checkpoint_name: the name it
            was trained under.
        manifest: counts, parameters, measured recall; see docs/reference/generations.md.
        segments: what it consists of, the oldest first.
        spaces: (entity, space) → Space: 'learned' for all, 'pinsage' for pins and 'itemsage' for
            products if these embeddings exist. Empty without an encoder.
        tokens: 'pin' and 'product' → TokenIndex.
        texts: 'pin' and 'product' → the words of each item's text.
        tables: 'pin', 'product' and 'query' → ItemTable.
        spelling: the words of all items, for correcting queries.
        suggestions: the queries of the log, and titles, brands and categories of each segment;
            empty if they were left out.
        contents: what its items are found by, which an update of their tables alone leaves as it
            is.
    """

    number: int
    checkpoint: str
    checkpoint_name: str
    manifest: dict[str, Any]
    segments: tuple[Segment, ...]
    spaces: Spaces
    tokens: dict[str, TokenIndex]
    texts: dict[str, Texts]
    tables: dict[str, ItemTable]
    spelling: Spelling
    suggestions: tuple[Entries, ...]
    contents: Contents

    @property
    def floor(self) -> float | None:
        """The cosine below which an item is no nearer to a query than to noise, as its build
        measured it (`indexer.floor`); None if it did not."""
        measured = self.segments[0].manifest.get("floor")
        return None if measured is None else measured["cosine"]

    @property
    def word_weight(self) -> float | None:
        """The starter ranker's weight of words, as the catalogue's texts have it
        (`enrichment.word_weight`); None for the usual one."""
        return self.manifest.get("word_weight")

    @property
    def related_floor(self) -> float | None:
        """The cosine below which a query is not related to another; that of items where the build
        has measured no other."""
        measured = self.segments[0].manifest.get("floor")
        return None if measured is None else measured.get("related", measured["cosine"])

    def suggested_without(self, hidden: Mapping[str, np.ndarray]) -> tuple[Entries, ...]:
        """`suggestions` as if some items were not there.

        Args:
            hidden: entity type → bool (n,) over the rows of its table.
        """
        if not self.suggestions or not any(mask.any() for mask in hidden.values()):
            return self.suggestions
        segments = self.contents.segments
        gone: list[dict[str, np.ndarray]] = [{} for _ in segments]
        for entity in ITEM_ENTITIES:
            n, layout = len(self.tables[entity]), self.contents.layouts[entity]
            unseen = np.append(hidden.get(entity, np.zeros(n, bool)), True)  # -1: dead
            having = [at for at, each in enumerate(segments) if entity in each.content]
            for part, at in enumerate(having):
                rows = np.arange(n) if layout is None else layout.rows[part]
                gone[at][entity] = np.flatnonzero(unseen[rows])
        parts = [each.suggested for each in segments if each.suggested]
        return (self.suggestions[0], *stacked_suggestions(parts, gone))

    @classmethod
    def open(
        cls,
        workspace: Workspace,
        number: int | None = None,
        token_backend: str = "tantivy",  # noqa: S107
        verify: bool = True,
        like: Generation | None = None,
        spaces: bool = True,
        encoder: bool = True,
        suggestions: bool = True,
    ) -> Generation:
        """Open a generation, the live one by default.

        Every file is first compared with the manifest's sha256; `verify=False` skips this, but not
        the bounds checks of what hnswlib reads. Segments that the generation `like` has open are
        taken from it.

        Args:
            spaces: False neither compares nor opens what is searched by vectors.
            encoder: False does not compare the files of the encoder, which has a manifest of its
                own, with which whoever opens it compares them.
            suggestions: False neither compares nor opens what is suggested.

        Raises:
            NotReady: the generation does not exist. Corrupt: a file is damaged.
            InputError: an unknown token backend.
        """
        check_backend(token_backend)
        for attempt in range(_OPEN_TRIES):
            chosen = live_number(workspace) if number is None else number
            try:
                left_out = (not spaces, not encoder, not suggestions)
                return _open(workspace, chosen, token_backend, verify, like, *left_out)
            except Corrupt:
                # Newer generations may have been published since CURRENT was read.
                moved = number is None and live_number(workspace) != chosen
                if not moved or attempt == _OPEN_TRIES - 1:
                    raise
        raise AssertionError("unreachable")


def live_number(workspace: Workspace) -> int:
    """The live generation's number; raises NotReady if none was published."""
    number = read_number(workspace.current, GENERATION)
    if number is None:
        raise NotReady(
            "There is no index yet.",
            where=str(workspace.root),
            how="Run `omnisearch index build`.",
        )
    return number


def folder_of(workspace: Workspace, number: int) -> Path:
    """The folder of a generation; raises NotReady if it does not exist."""
    folder = workspace.generation(number)
    if not folder.is_dir():
        raise NotReady(
            f"There is no generation {number}.",
            where=str(workspace.generations),
            how="`omnisearch index status` lists them; `omnisearch index rollback` puts one back.",
        )
    return folder


def _open(
    workspace: Workspace,
    number: int,
    backend: str,
    verify: bool,
    like: Generation | None,
    no_spaces: bool,
    no_encoder: bool,
    no_suggestions: bool,
) -> Generation:
    def unread(name: str, remote: bool) -> bool:
        if name.startswith(f"{ENCODER}/"):
            return no_encoder
        if name.startswith(f"{SUGGESTIONS}/"):
            return no_suggestions
        if remote and is_remote(name):
            return True
        return no_spaces and Path(name).suffix in _OF_SPACES

    def read(folder: Path) -> dict[str, Any]:
        says = read_manifest(folder, GENERATION)
        if not verify:
            return says
        return verified(folder, GENERATION, partial(unread, remote=says.get("backend") == QDRANT))

    folder = folder_of(workspace, number)
    manifest = read(folder)
    with reading("The manifest", folder / GENERATION.manifest, GENERATION.mend):
        described(manifest)
    known = {segment.number: segment for segment in like.segments} if like else {}
    segments = []
    for each in manifest["segments"]:
        says, where = manifest, folder
        if each != number:
            where = workspace.generation(each)
            says = read_manifest(where, GENERATION)
            if each in known and known[each].manifest == says:
                segments.append(known[each])
                continue
            says = read(where)
        there = None
        if says.get("backend") == QDRANT and not no_spaces:
            there = Collections(_nodes(workspace, like), each)
            stamp = sha256_file(where / GENERATION.manifest)
            check_loaded(there.nodes, each, list(ENTITIES), stamp)
        end_step()
        segments.append(open_segment(where, says, not no_spaces, not no_suggestions, there))
    end_step()
    queries = () if no_suggestions else (_queries(folder, manifest, like),)
    with reading("The generation", folder, GENERATION.mend):
        _check_segments(manifest, segments)
        sizes = {part: size for each in segments for part, size in each.sizes().items()}
        dead = load_dead((folder / DEAD_FILE).read_bytes(), sizes)
        end_step()
        parts = contents_of(segments, dead, backend, like.contents if like else None)
        tables = tables_of(segments, dead, parts, like.tables if like else None)
        for entity, table in tables.items():
            if len(table) != manifest["entities"][entity]["rows"]:
                raise ValueError(f"it has {len(table)} {entity} items")
        end_step()
        return Generation(
            number=number,
            checkpoint=manifest["checkpoint"],
            checkpoint_name=manifest["checkpoint_name"],
            manifest=manifest,
            segments=tuple(segments),
            spaces=parts.spaces,
            tokens=parts.tokens,
            texts=parts.texts,
            tables=tables,
            spelling=parts.spelling,
            suggestions=queries and (*queries, *parts.suggestions),
            contents=parts,
        )


def is_remote(name: str) -> bool:
    """Whether a file of a build is not read where a cluster has what is in it."""
    path = Path(name)
    if path.parent.name == TANTIVY_FOLDER:
        return True
    return path.suffix in _OF_SPACES and not path.stem.endswith("-present")


def _nodes(workspace: Workspace, like: Generation | None) -> Nodes:
    """The nodes of the workspace's cluster; those of `like`, if they are the same."""
    config = cluster_config(workspace)
    for segment in like.segments if like else ():
        if segment.collections is not None and segment.collections.nodes.config == config:
            return segment.collections.nodes
    return Nodes(config)


def _queries(folder: Path, manifest: dict[str, Any], like: Generation | None) -> Entries:
    """The queries to suggest: those of the generation `like`, if they are the same file's."""
    own = manifest["files"].get(QUERIES_FILE)
    if like and like.suggestions and own == like.manifest["files"].get(QUERIES_FILE):
        return like.suggestions[0]
    return open_queries(folder)


def _check_segments(manifest: dict[str, Any], segments: list[Segment]) -> None:
    numbers = [segment.number for segment in segments]
    if numbers != manifest["segments"] or segments[0].manifest["based_on"] is not None:
        raise ValueError("its segments are not those of its manifest")
    if {segment.manifest["checkpoint"] for segment in segments} != {manifest["checkpoint"]}:
        raise ValueError("its segments are of several checkpoints")
