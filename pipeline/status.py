"""What a workspace contains, and which step comes next."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import sqlite_utils

from omnisearch.data.catalogue.schema import get_meta, open_catalogue
from omnisearch.data.catalogue.splits import time_split
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.artefacts import read_manifest, read_pointer
from omnisearch.data.workspace.errors import OmniError
from omnisearch.encoders.checkpoint_folder import best_folder
from omnisearch.encoders.untrained import is_untrained
from omnisearch.pipeline.refreshing import last_refresh
from omnisearch.pipeline.stale import stale

_TABLES = (
    *("pins", "products", "boards", "board_items"),
    *("queries", "engagements", "judgments"),
)


def workspace_status(workspace: Workspace) -> dict[str, Any]:
    """Counts of every table, item vectors, checkpoints, the live generation and rankers, as JSON.

    `lacking` counts the items without a current vector, for each kind that enrichment makes, as far
    as there are any. `checkpoints` were trained, `untrained` are a text encoder as it comes.
    `starter_ranker` is true while there are no rankers of the workspace's own. `last_refresh` tells
    of the last `omnisearch refresh`, None if there was none. `log` has the times of the first and
    the last event, and the windows of `time_split`; None without a log. `stale` has a sentence for
    each thing that was made of something else than is there now. `next` is the command to run next;
    None if every stage has been run.
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
            "log": _log(db),
            **_stale(workspace, db),
        }
    finally:
        db.conn.close()
    from omnisearch.indexer.segment import GENERATION
    from omnisearch.ranker.published import RANKERS

    names = sorted(path.name for path in workspace.checkpoints.glob("*"))
    ready = [name for name in names if workspace.best_checkpoint(name).exists()]
    untrained = [name for name in ready if is_untrained(workspace, name)]
    generation = read_pointer(workspace.current, GENERATION)
    rankers = read_pointer(workspace.current_rankers, RANKERS)
    found = {
        "catalogue": counts,
        "item_vectors": {f"{name} of {entity}": [rows, dim] for name, entity, rows, dim in vectors},
        "checkpoints": [name for name in ready if name not in untrained],
        "untrained": untrained,
        "generation": generation,
        "rankers": rankers,
        "starter_ranker": rankers is None,
        "last_refresh": _last_refresh(workspace),
        **notes,
    }
    indexed = generation is not None and _serves(workspace, generation, ready)
    return {**found, "next": _next(found, indexed)}


def _log(db: sqlite_utils.Database) -> dict[str, int] | None:
    first, last = db.conn.execute("SELECT MIN(time), MAX(time) FROM engagements").fetchone()
    return None if last is None else {"first": first, "last": last, **vars(time_split(db))}


def _serves(workspace: Workspace, generation: str, names: list[str]) -> bool:
    """Whether a generation has the encoder of one of these checkpoints, or there is none."""
    from omnisearch.indexer.segment import GENERATION

    try:
        build = read_manifest(workspace.generation(generation), GENERATION)["segments"][0]
    except (OmniError, LookupError, TypeError):  # damaged: searching says so
        build = generation
    kept = _content(workspace.generation(build) / "encoder" / "manifest.json")
    folders = []
    for name in names:
        with suppress(OmniError):  # damaged: whatever reads it says so
            folders.append(best_folder(workspace, name))
    return not folders or kept in [_content(folder / "manifest.json") for folder in folders]


def _content(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def _last_refresh(workspace: Workspace) -> dict[str, Any] | None:
    found = last_refresh(workspace)
    if found is None:
        return None
    done = [each.step for each in found.steps if each.outcome == "done"]
    return {"began": found.began, "ended": found.ended, "done": done, "failed": found.failed}


def _stale(workspace: Workspace, db: sqlite_utils.Database) -> dict[str, Any]:
    try:
        found = stale(workspace, db)
    except OmniError as error:  # damaged vectors
        return {"lacking": {}, "stale": [str(error)]}
    lacking = {f"{each.name} of {each.entity}": each.items for each in found if each.items}
    return {"lacking": lacking, "stale": list(map(str, found))}


def _next(found: dict[str, Any], indexed: bool) -> str | None:
    catalogue = found["catalogue"]
    if not catalogue["pins"] + catalogue["products"]:
        return "omnisearch import FILES"
    log, labels = catalogue["engagements"], catalogue["judgments"]
    steps = (
        (found["generation"], "omnisearch index build"),  # at once: it needs no training
        (found["engaged_until"] if log else found["item_vectors"], "omnisearch enrich"),
        (found["checkpoints"], "omnisearch train"),
        (indexed, "omnisearch index build"),
        (found["rankers"] or not (log or labels), "omnisearch rank train"),
    )
    return next((command for done, command in steps if not done), None)
