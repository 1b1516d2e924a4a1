"""The query tower for ONNX Runtime: with every build that needs one, and by `omnisearch export`."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from omnisearch.data.catalogue.items import head_queries
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.artefacts import read_manifest, verified
from omnisearch.data.workspace.errors import Corrupt, NotReady, OmniError
from omnisearch.encoders.no_encoder import NONE
from omnisearch.encoders.onnx.query_tower import EXPORT

if TYPE_CHECKING:
    import sqlite_utils

    from omnisearch.encoders.encoder import Encoder

_ALWAYS = 2**40  # later than any time in seconds
_SAMPLE = 500
# A build measures on as many rows of the log, the newest, and as many pairs of each kind.
_ROWS, _PAIRS = 50_000, 1_000


def export_queries(
    workspace: Workspace,
    db: sqlite_utils.Database,
    encoder: Encoder,
    pairs: int = 10_000,
    since: int = 0,
) -> dict[str, Any]:
    """Write the export of an encoder's query tower; returns its `export.json`.

    int8 is measured on at most `pairs` engaged pairs of each kind since a time, if an index of this
    encoder is live. Raises like `encoders.onnx.export.export_query_tower`.
    """
    from omnisearch.encoders.onnx.export import export_query_tower

    sample = head_queries(db, _SAMPLE, since)
    recall = _recall(workspace, db, encoder.checkpoint, pairs, since)
    return export_query_tower(workspace, encoder, sample, recall)


def export_if_needed(
    workspace: Workspace, db: sqlite_utils.Database, quick: bool = False
) -> str | None:
    """Write the export of the live index's checkpoint if there is no whole one.

    Returns a sentence on what was done, or on why it could not be: queries are then encoded by
    PyTorch. With `quick`, an export that is there is taken for whole if its files have their sizes.
    """
    from omnisearch.indexer.generation import GENERATION, Generation, live_number

    live = workspace.generation(live_number(workspace))
    checkpoint = read_manifest(live, GENERATION)["checkpoint"]
    if checkpoint == NONE:
        return None
    try:
        verified(workspace.export(checkpoint), EXPORT, lambda name: quick)
        return None
    except Corrupt:  # also where there is none
        pass
    began = time.monotonic()
    try:
        from omnisearch.engine.snapshot import trained_encoder

        encoder = trained_encoder(workspace, Generation.open(workspace, spaces=False))
        facts = export_queries(workspace, db, encoder, _PAIRS, _newest(db))
    except Exception as error:  # whatever a tracer or a runtime raises about a foreign backbone
        why = str(error) if isinstance(error, OmniError) else f"{type(error).__name__}: {error}"
        return (
            "The query encoder could not be exported for ONNX Runtime, so that PyTorch encodes "
            f"queries and a search from the command line takes seconds. {why}"
        )
    seconds = time.monotonic() - began
    return f"Exported the query encoder for ONNX Runtime ({facts['serves']}): {seconds:.1f} s."


def _newest(db: sqlite_utils.Database) -> int:
    """The time from which the log has about _ROWS rows."""
    newest = "SELECT time FROM engagements ORDER BY time DESC LIMIT 1 OFFSET ?"
    found = db.conn.execute(newest, [_ROWS]).fetchone()
    return int(found[0]) if found else 0


def _recall(
    workspace: Workspace, db: sqlite_utils.Database, checkpoint: str, pairs: int, since: int
) -> Callable[..., Any] | None:
    """The recall of a tower on this workspace; None if no index of this checkpoint is live."""
    from omnisearch.data.catalogue.pairs import window_pairs
    from omnisearch.evaluation.tower_recall import tower_recall
    from omnisearch.indexer.generation import Generation

    try:
        generation = Generation.open(workspace)
    except NotReady:
        return None
    if generation.checkpoint != checkpoint:
        return None
    return tower_recall(generation, window_pairs(db, (since, _ALWAYS), sample=pairs))
