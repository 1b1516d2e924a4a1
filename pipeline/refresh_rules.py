"""When each step of a refresh is due: what the workspace records of what was made of what.

Nothing here changes anything, and nothing here imports PyTorch but the search for a new text
encoder, which is a part of `refresh --train`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import sqlite_utils

from omnisearch.data.catalogue.campaigns import load_campaigns
from omnisearch.data.catalogue.changes import changed_since, latest_change
from omnisearch.data.catalogue.feedback import last_feedback
from omnisearch.data.catalogue.learned_from import encoders_learn_from, rankers_learn_from
from omnisearch.data.catalogue.schema import get_meta, open_catalogue, table_of
from omnisearch.data.catalogue.spaces import SPACES
from omnisearch.data.catalogue.splits import whole_log
from omnisearch.data.importers.feedback import READ
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import Corrupt, NotReady
from omnisearch.data.workspace.progress import Progress
from omnisearch.engine.ads.models import load_models
from omnisearch.enrichment import ENRICHERS
from omnisearch.enrichment.boards import outdated_boards
from omnisearch.enrichment.engaged_queries import outdated_queries
from omnisearch.enrichment.inputs import MODALITIES
from omnisearch.indexer.segment import GENERATION
from omnisearch.pipeline.stale import Stale, stale
from omnisearch.ranker.features import feature_names


@dataclass
class Run:
    """One refresh.

    Attributes:
        seen: what `seen_now` gave at the end of the last refresh, None if a step of it failed.
        tried: step → what it would learn from, when it came to nothing; it is not tried again.
        imports, change: the last ones that the steps after 'feedback' have seen.
        stale: what is stale, read once until something is made anew.
    """

    space: Workspace
    seen: dict[str, Any] | None
    tried: dict[str, Any]
    progress: Progress | None = None
    imports: int | None = None
    change: int = 0
    stale: list[Stale] | None = None

    def changed(self, db: sqlite_utils.Database) -> dict[str, list[str]] | None:
        """Entity type → the items that changed since the last refresh; None: any may have."""
        since = self.seen.get("change") if self.seen else None
        if not isinstance(since, int) or since > latest_change(db):
            return None
        return changed_since(db, since)

    def look(self, db: sqlite_utils.Database) -> list[Stale]:
        """What is stale of the items that changed."""
        if self.stale is None:
            self.stale = stale(self.space, db, self.changed(db))
        return self.stale


@contextmanager
def catalogue(space: Workspace) -> Iterator[sqlite_utils.Database]:
    """The open catalogue, closed at the end."""
    db = open_catalogue(space.catalogue)
    try:
        yield db
    finally:
        db.conn.close()


# What was written since the last refresh


def unseen(run: Run, db: sqlite_utils.Database) -> bool:
    """Whether anything was written since the last refresh that the guarded rules might read."""
    imports: int = db.conn.execute("SELECT COALESCE(MAX(id), 0) FROM imports").fetchone()[0]
    if run.imports is None:
        run.imports, run.change = imports, latest_change(db)
    now = seen_now(run.space, imports)
    return run.seen is None or any(run.seen.get(name) != value for name, value in now.items())


def seen_now(space: Workspace, imports: int | None) -> dict[str, Any]:
    """The last import that was seen, size and time of files, and the index's format, as JSON."""
    log = space.catalogue.with_name(f"{space.catalogue.name}-wal")
    paths = (space.catalogue, log, space.current, space.best_checkpoint(encoder_name(space)))
    files = [_written(path) for path in paths]
    return {"imports": imports, "files": files, "format": GENERATION.format}


def _written(path: Path) -> list[int] | None:
    """Size and time of a file; None if it is empty or missing."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    return [found.st_size, found.st_mtime_ns] if found.st_size else None


# Feedback and enrichment


def feedback_due(run: Run, db: sqlite_utils.Database) -> bool:
    return last_feedback(run.space) not in (None, get_meta(db, READ))


def boards_due(run: Run, db: sqlite_utils.Database) -> bool:
    if get_meta(db, "boards_made") is None:
        return _any(db, "board_items")
    return outdated_boards(db)


def queries_due(run: Run, db: sqlite_utils.Database) -> bool:
    if get_meta(db, "engaged_until") is None:
        return _any(db, "engagements")
    return outdated_queries(db) or whole_log(db) > get_meta(db, "engaged_until")


def models_due(run: Run, db: sqlite_utils.Database) -> bool:
    return bool(new_models(db)) and run.tried.get("models") != encoders_learn_from(db)


def new_models(db: sqlite_utils.Database) -> list[str]:
    """The enrichers that train a model, or use one for the first time, and are due."""
    made = {row[0] for row in db.conn.execute("SELECT DISTINCT name FROM item_vectors")}
    names = ["tune"] if "text" in made else ["tune", "text"]
    found = [name for name in names if ENRICHERS[name].default_options(db) is not None]
    lacking = any(
        name not in made and _any(db, table_of(SPACES[name].entity)) for name in MODALITIES
    )
    linked = _any(db, "board_items") or _any(db, "engagements")
    return [*found, "graph"] if lacking and linked else found


def text_due(run: Run, db: sqlite_utils.Database) -> bool:
    return any(each.name == "text" and each.items for each in run.look(db))


def graph_due(run: Run, db: sqlite_utils.Database) -> bool:
    return any(
        each.name in MODALITIES and run.space.current_network(each.name).exists()
        for each in run.look(db)
    )


def _any(db: sqlite_utils.Database, table: str) -> bool:
    return db.conn.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchone() is not None


# Trainings and the index


def train_due(run: Run, db: sqlite_utils.Database) -> bool:
    now = encoders_learn_from(db)
    return now not in (best(run.space).get("learned_from"), run.tried.get("train"))


def index_due(run: Run, db: sqlite_utils.Database) -> bool:
    return True  # the update itself finds out what changed


def rankers_due(run: Run, db: sqlite_utils.Database) -> bool:
    folder = _pointed(run.space.current_rankers)
    report, features = (
        _json(folder / "report.json"),
        _json(folder / "manifest.json").get("features"),
    )
    made_of = [report.get("checkpoint"), report.get("learned_from")]
    now = rankers_would_learn_from(run, db)
    same = now == made_of and features == list(feature_names())
    return not same and now != run.tried.get("rankers")


def rankers_would_learn_from(run: Run, db: sqlite_utils.Database) -> list[Any]:
    """The checkpoint and the data that rankers would be made of now, as JSON."""
    return [live(run.space).get("checkpoint"), rankers_learn_from(db)]


def ads_due(run: Run, db: sqlite_utils.Database) -> bool:
    if not load_campaigns(run.space):
        return False
    try:
        models = load_models(run.space)
    except (Corrupt, NotReady):  # the training replaces them
        models = None
    report = models.report if models else {}
    now = rankers_would_learn_from(run, db)
    return now not in ([report.get("checkpoint"), report.get("learned_from")], run.tried.get("ads"))


def encoder_name(space: Workspace) -> str:
    """The name of the checkpoint that the live generation was made with."""
    return str(live(space).get("checkpoint_name") or "default")


def live(space: Workspace) -> dict[str, Any]:
    """The manifest of the live generation; {} without one, or if it cannot be read."""
    number = _pointed(space.current).name
    return _json(space.generation(number) / "manifest.json")


def best(space: Workspace) -> dict[str, Any]:
    """The manifest of the present checkpoint; {} without one, or if it cannot be read."""
    return _json(_best_folder(space) / "manifest.json")


def preset(space: Workspace) -> str:
    """The preset that the present checkpoint was trained with; 'demo' without one."""
    config = _json(_best_folder(space) / "config.json").get("config")
    return str(config.get("preset", "demo")) if isinstance(config, dict) else "demo"


def interrupted(space: Workspace, name: str) -> bool:
    """Whether the last training of this name has not ended: its run is not that of BEST."""
    last, best = _pointed(space.last_checkpoint(name)), _pointed(space.best_checkpoint(name))
    return last.is_dir() and last.name.split("-")[0] != best.name.split("-")[0]


def _best_folder(space: Workspace) -> Path:
    return _pointed(space.best_checkpoint(encoder_name(space)))


def _pointed(pointer: Path) -> Path:
    """The folder that a pointer names, which may not exist: whoever uses it says so."""
    try:
        return pointer.with_name(pointer.read_text("utf-8").strip() or ".none")
    except (OSError, ValueError):
        return pointer.with_name(".none")


def _json(path: Path) -> dict[str, Any]:
    """A JSON object; {} if it cannot be read: what it describes is made anew."""
    try:
        found = orjson.loads(path.read_bytes())
        return found if isinstance(found, dict) else {}
    except (OSError, ValueError):
        return {}
