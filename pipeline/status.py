"""What a workspace contains, and which step comes next."""

from __future__ import annotations

from typing import Any

import sqlite_utils

from omnisearch.data.catalogue.schema import get_meta, open_catalogue
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.artefacts import read_pointer
from omnisearch.data.workspace.errors import OmniError
from omnisearch.pipeline.stale import stale

_TABLES = (
    *("pins", "products", "boards", "board_items"),
    *("queries", "engagements", "judgments"),
)


def workspace_status(workspace: Workspace) -> dict[str, Any]:
    """Counts of every table, item vectors, checkpoints, the live generation and rankers, as JSON.

    `lacking` counts the items without a current vector, for each kind that enrichment makes, as far
    as there are any. `stale` has a sentence for each thing that was made of something else than is
    there now. `next` is the command to run next; None if every stage has been run.
    """
    db = open_catalogue(workspace.catalogue)
    try:
        counts = {
            name: db.conn.execute(f"SELECT COUNT(*) FROM {name}").fetchone()[0] for name in _TABLES
        }
        vectors = db.conn.execute("SELECT name, entity, rows, dim FROM item_vectors").fetchall()
        notes = {
            "synthetic": bool(get_meta(db, "synthetic")),
            "derived_from_labels": get_meta(db, "derived_from_labels", []),
            "engaged_until": get_meta(db, "engaged_until"),
            **_stale(workspace, db),
        }
    finally:
        db.conn.close()
    from omnisearch.indexer.generation import GENERATION
    from omnisearch.ranker.published import RANKERS

    names = sorted(path.name for path in workspace.checkpoints.glob("*"))
    trained = [name for name in names if workspace.best_checkpoint(name).exists()]
    found = {
        "catalogue": counts,
        "item_vectors": {f"{name} of {entity}": [rows, dim] for name, entity, rows, dim in vectors},
        "checkpoints": trained,
        "generation": read_pointer(workspace.current, GENERATION),
        "rankers": read_pointer(workspace.current_rankers, RANKERS),
        **notes,
    }
    return {**found, "next": _next(found)}


def _stale(workspace: Workspace, db: sqlite_utils.Database) -> dict[str, Any]:
    try:
        found = stale(workspace, db)
    except OmniError as error:  # damaged vectors
        return {"lacking": {}, "stale": [str(error)]}
    lacking = {f"{each.name} of {each.entity}": each.items for each in found if each.items}
    return {"lacking": lacking, "stale": list(map(str, found))}


def _next(found: dict[str, Any]) -> str | None:
    catalogue = found["catalogue"]
    if not catalogue["pins"] + catalogue["products"]:
        return "omnisearch import FILES"
    log, labels = catalogue["engagements"], catalogue["judgments"]
    steps = (
        (found["engaged_until"] if log else found["item_vectors"], "omnisearch enrich"),
        (found["checkpoints"], "omnisearch train"),
        (found["generation"], "omnisearch index build"),
        (found["rankers"] or not (log or labels), "omnisearch rank train"),
    )
    return next((command for done, command in steps if not done), None)
