"""Generations: immutable folders, each a complete version of the index.

`generations/<number>/` holds `manifest.json`, and for each entity type a folder with its table,
its stored tokens and token index, and its spaces. The workspace's `CURRENT` names the live one.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omnisearch.data.catalogue.schema import ENTITIES, ITEM_ENTITIES
from omnisearch.data.catalogue.spaces import LEARNED
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.artefacts import Kind, read_manifest, read_number, verified
from omnisearch.data.workspace.errors import Corrupt, NotReady
from omnisearch.data.workspace.paths import check_name
from omnisearch.data.workspace.reading import check_shape, reading
from omnisearch.indexer.parts.hnsw_file import Expected
from omnisearch.indexer.parts.spelling import Spelling, open_spelling
from omnisearch.indexer.parts.table import ItemTable, open_table
from omnisearch.indexer.parts.token_index import TokenIndex
from omnisearch.indexer.parts.tokens import open_tokens
from omnisearch.indexer.parts.vectors import Space, open_space
from omnisearch.indexer.parts.words import Texts, open_texts

GENERATION = Kind(
    "generation",
    5,
    again="Run `omnisearch index build`.",
    mend="Run `omnisearch index rollback --number N` with a number from `omnisearch index status`, "
    "or `omnisearch index build`.",
)

_OPEN_TRIES = 3
_NUMBER = (int, type(None))
_SPACE = {"entity": str, "space": str, "dim": int, "M": int, "vectors": int}
_MANIFEST = {  # what is read of a manifest; `recall` is an object or null
    "checkpoint": str,
    "checkpoint_name": str,
    "created_at": int,
    "engaged_until": _NUMBER,
    "synthetic": bool,
    "based_on": _NUMBER,
    "entities": {entity: {"rows": int, "live": int} for entity in ENTITIES},
    "spaces": [_SPACE | {"recall": (dict, type(None))}],
}


@dataclass(frozen=True)
class Generation:
    """An open generation, for reading. Safe to use from several threads.

    Attributes:
        number: the folder's name; higher is newer.
        checkpoint: of the encoder of these vectors; checkpoint_name: the name it was trained under.
        manifest: counts, parameters, measured recall; see docs/reference/generations.md.
        spaces: (entity, space) → Space: 'learned' for all, 'pinsage' for pins and 'itemsage' for
            products if these embeddings exist.
        tokens: 'pin' and 'product' → TokenIndex.
        texts: 'pin' and 'product' → the words of each item's text.
        tables: 'pin', 'product' and 'query' → ItemTable.
        spelling: the words of all items, for correcting queries.
    """

    number: int
    checkpoint: str
    checkpoint_name: str
    manifest: dict[str, Any]
    spaces: dict[tuple[str, str], Space]
    tokens: dict[str, TokenIndex]
    texts: dict[str, Texts]
    tables: dict[str, ItemTable]
    spelling: Spelling

    @classmethod
    def open(
        cls,
        workspace: Workspace,
        number: int | None = None,
        token_backend: str = "tantivy",  # noqa: S107
        verify: bool = True,
    ) -> Generation:
        """Open a generation, the live one by default.

        Every file is first compared with the manifest's sha256; `verify=False` skips this, but not
        the bounds checks of what hnswlib reads.

        Raises:
            NotReady: the generation does not exist. Corrupt: a file is damaged.
            InputError: an unknown token backend.
        """
        for attempt in range(_OPEN_TRIES):
            chosen = live_number(workspace) if number is None else number
            folder = folder_of(workspace, chosen)
            try:
                return _open(folder, chosen, token_backend, verify)
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


def _open(folder: Path, number: int, token_backend: str, verify: bool) -> Generation:
    manifest = (verified if verify else read_manifest)(folder, GENERATION)
    with reading("The manifest", folder / GENERATION.manifest, GENERATION.mend):
        rows, graphs = _described(manifest)
    tables = {entity: open_table(folder / entity, entity) for entity in ENTITIES}
    for entity, table in tables.items():
        if len(table) != rows[entity]:
            raise GENERATION.corrupt(
                f"The table of {entity} items has {len(table)} rows, not {rows[entity]}.", folder
            )
    return Generation(
        number=number,
        checkpoint=manifest["checkpoint"],
        checkpoint_name=manifest["checkpoint_name"],
        manifest=manifest,
        spaces={
            (entity, space): open_space(folder / entity, space, expected)
            for (entity, space), expected in graphs.items()
        },
        tokens={
            entity: open_tokens(folder / entity, rows[entity], token_backend)
            for entity in ITEM_ENTITIES
        },
        texts={entity: open_texts(folder / entity, rows[entity]) for entity in ITEM_ENTITIES},
        tables=tables,
        spelling=open_spelling(folder),
    )


def _described(manifest: dict[str, Any]) -> tuple[dict[str, int], dict[tuple[str, str], Expected]]:
    """The rows of each entity type and the form of each space; raises if they cannot be right."""
    check_shape(manifest, _MANIFEST)
    check_name(manifest["checkpoint"], "checkpoint")
    rows = {entity: manifest["entities"][entity]["rows"] for entity in ENTITIES}
    graphs = {
        (says["entity"], check_name(says["space"], "space")): Expected(
            says["dim"], rows[says["entity"]], says["M"]
        )
        for says in manifest["spaces"]
    }
    stored = {
        (path.parent.name, path.stem.removesuffix("-present"))
        for path in map(Path, manifest["files"])
        if path.stem.endswith("-present")
    }
    if stored != graphs.keys() or {(entity, LEARNED) for entity in ENTITIES} - stored:
        raise ValueError("its spaces are not those of its files")
    if len({says["dim"] for says in manifest["spaces"]}) != 1 or manifest["spaces"][0]["dim"] < 1:
        raise ValueError("its spaces differ in their dimensions")
    return rows, graphs
