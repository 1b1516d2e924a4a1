"""Segments: the items that one build or update wrote, with all parts, in the folder of its
generation. The first segment of a generation is a build, the others are updates on top."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from omnisearch.data.catalogue.schema import ENTITIES, ITEM_ENTITIES
from omnisearch.data.catalogue.spaces import LEARNED
from omnisearch.data.workspace.artefacts import Kind
from omnisearch.data.workspace.paths import check_name
from omnisearch.data.workspace.reading import check_shape, reading
from omnisearch.data.workspace.steps import end_step
from omnisearch.encoders.no_encoder import NONE
from omnisearch.indexer.cluster.segment import RemoteSpace, RemoteTokens
from omnisearch.indexer.cluster.trips import Collections
from omnisearch.indexer.dead import CONTENT, TABLE, Part
from omnisearch.indexer.parts.content import CONTENT_FILE, read_content
from omnisearch.indexer.parts.hnsw_file import Expected
from omnisearch.indexer.parts.spelling import Spelling
from omnisearch.indexer.parts.spelling_file import open_spelled, open_spelling
from omnisearch.indexer.parts.suggest_open import SuggestedItems, open_suggested
from omnisearch.indexer.parts.table import ItemTable
from omnisearch.indexer.parts.table_open import open_table
from omnisearch.indexer.parts.terms import TermsOf, open_terms
from omnisearch.indexer.parts.token_index import SegmentTokens
from omnisearch.indexer.parts.tokens_tantivy import TantivyIndex
from omnisearch.indexer.parts.vectors import SegmentSpace, Space, open_present, open_space
from omnisearch.indexer.parts.words import Texts, Words, open_texts

GENERATION = Kind(
    "generation",
    8,
    again="Run `omnisearch index build`.",
    mend="Run `omnisearch index rollback --number N` with a number from `omnisearch index status`, "
    "or `omnisearch index build`.",
)

# Where a build is searched: in its files, or its vectors and words in a cluster.
LOCAL, QDRANT = "local", "qdrant"
# In the folder of a build that is not in the cluster yet. It can be no part of a generation, since
# the file is not in the manifest.
LOADING_FILE = "loading"

_NUMBER = (int, type(None))
_SPACE = {"entity": str, "space": str, "dim": int, "M": int, "vectors": int}
_MEASURED = (dict, type(None))
_MEASURED_NUMBER = (float, type(None))
_FLOOR = {"cosine": float, "nonsense": {str: float}, "real": {str: float}, "of": int}
_MANIFEST = {  # what is read of a manifest
    "number": int,
    "checkpoint": str,
    "checkpoint_name": str,
    "created_at": int,
    "engaged_until": _NUMBER,
    "synthetic": bool,
    "based_on": _NUMBER,
    "change": int,
    "log": [int],
    "build_due": bool,
    "segments": [int],
    "entities": {entity: {"rows": int, "own": int, "content": int} for entity in ENTITIES},
    "spaces": [_SPACE | {"recall": _MEASURED, "item_recall": _MEASURED}],
}


@dataclass(frozen=True)
class Segment:
    """An open segment. Only entity types that it has items of are in it; a build has all.

    Attributes:
        number: of its generation; manifest: of that.
        tables: as of a `Generation`, with places instead of rows.
        content: entity type → the ids, ascending, of the items whose words and vectors are in it;
            those of others in the tables are in a segment below.
        tokens, terms, texts, spaces: as of a `Generation`, with places among these ids.
        spelled: the words of each item for `spelling`; None if it has no content.
        suggested: what its items give to suggestions; None if that was left out.
        collections: those of the cluster that has its spaces and tokens; None if files have them.
    """

    number: int
    folder: Path
    manifest: dict[str, Any]
    tables: dict[str, ItemTable]
    content: dict[str, Sequence[str]]
    tokens: dict[str, SegmentTokens]
    terms: dict[str, TermsOf]
    texts: dict[str, Texts]
    spelled: dict[str, Words]
    spaces: dict[tuple[str, str], SegmentSpace]
    spelling: Spelling | None
    suggested: SuggestedItems | None
    collections: Collections | None = None

    def sizes(self) -> dict[Part, int]:
        """How many items are in each of its tables and contents."""
        tables = {(self.number, entity, TABLE): len(each) for entity, each in self.tables.items()}
        content = {(self.number, entity, CONTENT): len(ids) for entity, ids in self.content.items()}
        return tables | content

    def space(self, entity: str, name: str, dim: int) -> SegmentSpace:
        """One of its spaces, or one without any vector."""
        rows = len(self.content[entity])
        nothing = np.broadcast_to(np.float32(0), (rows, dim))
        return self.spaces.get((entity, name)) or Space(nothing, np.zeros(rows, bool), None)


def open_segment(
    folder: Path,
    manifest: dict[str, Any],
    spaces: bool = True,
    suggestions: bool = True,
    collections: Collections | None = None,
) -> Segment:
    """Open the segment in a generation's folder, whose files were compared with its manifest.

    Without `spaces`, what is searched by vectors is left out; without `suggestions`, these are.
    With `collections`, vectors and words are searched there and not in files.

    Raises:
        Corrupt: a file is not what the manifest says.
    """
    with reading("The manifest", folder / GENERATION.manifest, GENERATION.mend):
        rows, counts, graphs = described(manifest)
    here = _having(rows, manifest)
    items = [entity for entity in ITEM_ENTITIES if entity in _having(counts, manifest)]
    tables = {entity: open_table(folder / entity, entity) for entity in here}
    for entity, table in tables.items():
        if len(table) != rows[entity]:
            raise GENERATION.corrupt(
                f"The table of {entity} items has {len(table)} rows, not {rows[entity]}.", folder
            )
    content = {
        entity: _content(folder / entity, tables[entity].ids, counts[entity])
        for entity in _having(counts, manifest)
    }
    end_step()
    spelling = open_spelling(folder) if content else None
    words = len(spelling.vocabularies[0].ends) if spelling else 0
    terms = {entity: open_terms(folder / entity, counts[entity]) for entity in items}
    end_step()

    def tokens_of(entity: str) -> SegmentTokens:
        if collections is not None:
            return RemoteTokens(collections, entity, terms[entity])
        return TantivyIndex(folder / entity, counts[entity])

    def space_of(entity: str, name: str, expected: Expected) -> SegmentSpace:
        if collections is not None:
            present = open_present(folder / entity, name, expected)
            return RemoteSpace(collections, entity, name, expected.dim, present)
        graph = f"{entity}/{name}.hnsw" in manifest["files"]
        return open_space(folder / entity, name, expected, graph)

    return Segment(
        number=manifest["number"],
        folder=folder,
        manifest=manifest,
        tables=tables,
        content=content,
        tokens={entity: tokens_of(entity) for entity in items},
        terms=terms,
        texts={entity: open_texts(folder / entity, counts[entity]) for entity in items},
        spelled={entity: open_spelled(folder / entity, counts[entity], words) for entity in items},
        spaces={
            (entity, space): space_of(entity, space, expected)
            for (entity, space), expected in (graphs.items() if spaces else ())
        },
        spelling=spelling,
        suggested=open_suggested(folder, {entity: counts[entity] for entity in items})
        if suggestions and content
        else None,
        collections=collections,
    )


def _having(counts: Mapping[str, int], manifest: dict[str, Any]) -> list[str]:
    """The entity types of which a segment has any; of a build all."""
    return [entity for entity in ENTITIES if counts[entity] or manifest["based_on"] is None]


def _content(folder: Path, ids: Sequence[str], count: int) -> Sequence[str]:
    path = folder / CONTENT_FILE
    with reading("The list of items with content", path, GENERATION.mend):
        rows, _ = read_content(path, path.read_bytes(), len(ids), count)
    return ids if len(rows) == len(ids) else [ids[row] for row in rows.tolist()]


def described(
    manifest: dict[str, Any],
) -> tuple[dict[str, int], dict[str, int], dict[tuple[str, str], Expected]]:
    """The rows of the segment's tables, how many of these have their words and vectors in it, and
    the form of each of its spaces.

    Raises ValueError if they cannot be right.
    """
    check_shape(manifest, _MANIFEST)
    check_name(manifest["checkpoint"], "checkpoint")
    rows, counts = (
        {entity: manifest["entities"][entity][name] for entity in ENTITIES}
        for name in ("own", "content")
    )
    graphs = {
        (says["entity"], check_name(says["space"], "space")): Expected(
            says["dim"], counts[says["entity"]], says["M"]
        )
        for says in manifest["spaces"]
    }
    stored = {
        (path.parent.name, path.stem.removesuffix("-present"))
        for path in map(Path, manifest["files"])
        if path.stem.endswith("-present")
    }
    check_shape(manifest.get("word_weight"), _MEASURED_NUMBER)  # earlier builds have none
    if manifest.get("floor") is not None:
        check_shape(manifest["floor"], _FLOOR)
        check_shape(manifest["floor"].get("related", 0.0), float)  # earlier builds have none
    here, is_build = _having(rows, manifest), manifest["based_on"] is None
    if any(counts[key] > rows[key] or (is_build and counts[key] < rows[key]) for key in ENTITIES):
        raise ValueError("its content is not that of its tables")
    without = manifest["checkpoint"] == NONE
    learned = {(entity, LEARNED) for entity in _having(counts, manifest)}
    if stored != graphs.keys() or (bool(stored) if without else bool(learned - stored)):
        raise ValueError("its spaces are not those of its files")
    dims = {says["dim"] for says in manifest["spaces"]}
    if len(dims) > 1 or min(dims, default=1) < 1:
        raise ValueError("its spaces differ in their dimensions")
    if manifest["segments"] != sorted(set(manifest["segments"])) or not manifest["segments"]:
        raise ValueError("its segments do not ascend")
    if (manifest["number"] in manifest["segments"]) != bool(here):
        raise ValueError("its own segment is not among its segments")
    return rows, counts, graphs
