"""The graph embeddings, and what `omnisearch enrich graph` does with each of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlite_utils

from omnisearch.data.catalogue.items import count
from omnisearch.data.catalogue.spaces import SPACES
from omnisearch.data.catalogue.vectors import open_vectors
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.counts import counted
from omnisearch.data.workspace.progress import Progress
from omnisearch.encoders.untrained import any_trained
from omnisearch.enrichment.graph.itemsage import embed_itemsage, fit_itemsage
from omnisearch.enrichment.graph.pinsage import embed_pinsage, fit_pinsage
from omnisearch.enrichment.vector_provenance import imported

# Space → its functions to train and embed, in order: ItemSage learns from PinSage's vectors.
EMBEDDINGS = {
    "pinsage": (fit_pinsage, embed_pinsage),
    "itemsage": (fit_itemsage, embed_itemsage),
}


@dataclass(frozen=True)
class Outcome:
    """`how`: 'imported' (unchanged), 'embedded' (by the saved network), 'trained' or 'nothing'."""

    vectors: int
    how: str

    def __str__(self) -> str:
        return f"{counted(self.vectors, 'vector')} ({self.how})" if self.vectors else "no vectors"


def embed_graph(
    workspace: Workspace,
    db: sqlite_utils.Database,
    again: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """The enricher 'graph': `refresh` each of EMBEDDINGS.

    Returns an Outcome for each name, and `train_again`: whether there are trained encoders, which
    have learned to map queries to the previous network's vectors.
    """
    made = {name: refresh(workspace, db, name, again, progress) for name in EMBEDDINGS}
    trained = any(outcome.how == "trained" for outcome in made.values())
    return {**made, "train_again": trained and any_trained(workspace)}


def refresh(
    workspace: Workspace,
    db: sqlite_utils.Database,
    name: str,
    again: bool = False,
    progress: Progress | None = None,
) -> Outcome:
    """Embed all items with the saved network; train one first if none is saved, or if `again`.

    Imported vectors are kept unless `again`. A network is trained again if a continuous feature
    that it reads is gone or has another size.
    """
    entity, (fit, embed) = SPACES[name].entity, EMBEDDINGS[name]
    if not count(db, entity):
        return Outcome(0, "nothing")
    if imported(db, name, entity) and not again:
        feature = open_vectors(workspace, db, name, entity)
        return Outcome(len(feature.ids) if feature else 0, "imported")
    feature = None if again else embed(workspace, db)
    if feature is not None:
        return Outcome(len(feature.ids), "embedded")
    feature = fit(workspace, db, progress=progress)
    return Outcome(len(feature.ids), "trained" if feature.ids else "nothing")
