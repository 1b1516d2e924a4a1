"""What one engine answers from at a time: a generation, its encoder, and the rankers."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from omnisearch.data.catalogue.schema import ITEM_ENTITIES
from omnisearch.data.text.normalise import normalise_query
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import Corrupt
from omnisearch.engine.filters import Filters, allowed_rows
from omnisearch.ranker.published import load_rankers
from omnisearch.ranker.training import Rankers

_MASKS_KEPT = 32
_NO_LIMIT = 2**40  # later than any time in seconds

Masks = dict[str, np.ndarray | None]  # entity type → allowed rows, None for all


@dataclass
class Live:
    """An immutable view that a search holds on to while another may be put in its place.

    Attributes:
        generation: `omnisearch.indexer.generation.Generation`.
        encoder: the query tower of its checkpoint, exported or as it was trained.
        rankers: None where none were trained.
        arrays: (entity, space) → float32 (n, d), rows as in the entity's table.
        rankers_id: the hash that names the rankers, empty without any.
        now: the generation's own time, seconds since 1970: scores that depend on age must not
            move within a generation.
    """

    generation: Any
    encoder: Any
    rankers: Rankers | None
    now: int
    rankers_id: str = ""
    arrays: Mapping[tuple[str, str], np.ndarray] = field(init=False)
    _masks: OrderedDict[Filters, Masks] = field(init=False, default_factory=OrderedDict)
    _lock: threading.Lock = field(init=False, default_factory=threading.Lock)

    def __post_init__(self) -> None:
        # Gathers on a memmap cost twice those on a plain view of the same pages.
        self.arrays = {
            key: np.asarray(space.vectors) for key, space in self.generation.spaces.items()
        }
        # Rows by id are made when first asked for: here, and not during the first search.
        len(self.generation.tables["query"].row_of)

    def searched(self, query: str) -> str:
        """A query as it is searched: normalised, its words spelled as the catalogue does."""
        return str(self.generation.spelling.respelled(normalise_query(query)))

    def masks(self, filters: Filters | None) -> Masks:
        """The allowed rows of each entity type; those of recent filters are kept."""
        if filters is None or filters == Filters():
            return dict.fromkeys(ITEM_ENTITIES)
        with self._lock:
            if filters in self._masks:
                self._masks.move_to_end(filters)
                return self._masks[filters]
        tables = self.generation.tables
        masks = {
            entity: allowed_rows(filters, entity, tables[entity])
            for entity in ITEM_ENTITIES
            if entity in tables
        }
        with self._lock:
            self._masks[filters] = masks
            while len(self._masks) > _MASKS_KEPT:
                self._masks.popitem(last=False)
        return masks


def open_live(
    workspace: Workspace, token_backend: str, with_rankers: bool = True, threads: int = 0
) -> Live:
    """The live generation with the checkpoint it was built from, and the rankers if wanted.

    Queries are encoded by the checkpoint's export where there is one (`omnisearch export onnx`);
    PyTorch is not even imported then.

    Args:
        threads: of one call of an exported query tower; 0 takes all cores.

    Raises:
        NotReady: there is no generation.
        Corrupt: a file of it or of the rankers was damaged.
    """
    from omnisearch.encoders.onnx.query_tower import open_export
    from omnisearch.indexer.generation import Generation

    generation = Generation.open(workspace, token_backend=token_backend)
    encoder = open_export(workspace, generation.checkpoint, threads)
    if encoder is None:
        encoder = _trained_encoder(workspace, generation)
    live = Live(generation, encoder, None, data_time(generation))
    pointer = workspace.rankers / "CURRENT"
    if not with_rankers or not pointer.exists():
        return live
    named = pointer.read_text("utf-8", errors="replace")
    return replace(live, rankers=load_rankers(workspace), rankers_id=named)


def _trained_encoder(workspace: Workspace, generation: Any) -> Any:
    """The generation's own copy of its checkpoint, in PyTorch."""
    from omnisearch.encoders.checkpoint import open_encoder
    from omnisearch.indexer.generation import folder_of
    from omnisearch.indexer.publish import ENCODER

    folder = folder_of(workspace, generation.number) / ENCODER
    encoder = open_encoder(folder, generation.checkpoint_name)
    if encoder.checkpoint != generation.checkpoint:
        raise Corrupt(
            f"Generation {generation.number} holds vectors of checkpoint {generation.checkpoint} "
            f"and an encoder of {encoder.checkpoint}: they do not compare.",
            where=str(folder),
            how="Run `omnisearch index build`.",
        )
    return encoder


def known_until(generation: Any) -> int:
    """Until when (exclusive) the generation's counts and engaged queries read the log; 0 unknown,
    or without end."""
    until = generation.manifest.get("engaged_until")
    return until if isinstance(until, int) and until < _NO_LIMIT else 0


def data_time(generation: Any) -> int:
    """The time of the generation's data: `known_until`, else that of its newest item."""
    newest = [int(table.created_at.max(initial=0)) for table in generation.tables.values()]
    return known_until(generation) or max(newest, default=0)
