"""The steps of a refresh, in order.

| step      | is due if                                                | decided by               |
|-----------|----------------------------------------------------------|--------------------------|
| feedback  | the service has collected more than was imported         | last rows of its log     |
| boards    | boards, or saves before the end of training, changed     | note `boards_made`       |
| queries   | the log up to the end of training changed                | note `engaged_from`      |
| models *  | no text encoder was tuned or used, though one fits, or   | notes, `item_vectors`    |
|           | there are no graph vectors                               |                          |
| text      | texts changed since they were embedded                   | hashes beside vectors    |
| graph     | what the saved networks read of an item changed          | hashes beside vectors    |
| train *   | engagement of the training window, or the models of item | the checkpoint's         |
|           | vectors, changed                                         | manifest                 |
| index     | the catalogue, the checkpoint or the index's format      | the update itself        |
|           | changed                                                  |                          |
| rankers * | the log, judgments, the live checkpoint or the features  | the rankers' report      |
|           | changed                                                  |                          |
| ads *     | there are campaigns, and what their models learn from    | the models' report       |
|           | changed, as for the rankers                              |                          |

Steps with * are part of `refresh --train`. A new product changes nothing that is learned from: its
text is embedded, and the index updated.

The guarded rules read the whole catalogue. They are asked only if the catalogue's file, `CURRENT`
or the checkpoint was written to since the last refresh without a failure.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlite_utils

from omnisearch.data.catalogue.learned_from import encoders_learn_from
from omnisearch.data.catalogue.schema import get_meta
from omnisearch.data.catalogue.splits import NO_LIMIT, whole_log
from omnisearch.data.workspace.counts import counted
from omnisearch.data.workspace.errors import Busy, Corrupt, InputError, NothingToLearn
from omnisearch.data.workspace.locks import locked
from omnisearch.encoders.checkpoint_folder import nothing_learned
from omnisearch.enrichment.told import sentences
from omnisearch.pipeline import importing, recipe
from omnisearch.pipeline import refresh_rules as rules
from omnisearch.pipeline.refresh_rules import Run, catalogue

if TYPE_CHECKING:
    from omnisearch.encoders.training.step_report import StepReport

PATIENCE = 600.0  # seconds that the index step waits for other processes that publish

Result = tuple[bool, list[str]]  # whether anything was made anew, and sentences on it


@dataclass(frozen=True)
class Step:
    """One step.

    Attributes:
        command: does the same by hand.
        due: whether there is anything to do.
        guarded: `due` is asked only if something was written since the last refresh.
        training: it is part of `refresh --train` only.
        needs: a step that must not have failed.
    """

    name: str
    command: str
    due: Callable[[Run, sqlite_utils.Database], bool]
    run: Callable[[Run], Result]
    guarded: bool = False
    training: bool = False
    needs: str = ""

    def is_due(self, run: Run) -> bool:
        """Whether there is anything to do."""
        with catalogue(run.space) as db:
            return (not self.guarded or rules.unseen(run, db)) and self.due(run, db)


def _feedback(run: Run) -> Result:
    reports = importing.import_files(run.space, [importing.FEEDBACK], progress=run.progress)
    changed = sum(each.changed for each in reports)
    refused = sum(each.refused for each in reports)
    new = counted(changed, "new event or judgment", "new events and judgments")
    return True, [f"{new}, {counted(refused, 'row')} refused."]


def _enrich(run: Run, *names: str, **options: Any) -> Result:
    found = recipe.enrich(run.space, *names, progress=run.progress, **options)
    run.stale = None
    return True, [each for name, counts in found.items() for each in sentences(name, counts)]


def _boards(run: Run) -> Result:
    return _enrich(run, "boards")


def _queries(run: Run) -> Result:
    with catalogue(run.space) as db:
        days = (get_meta(db, "engaged_from") or {}).get("window_days")
        options = {"until": NO_LIMIT} if whole_log(db) else {}
    return _enrich(run, "queries", **options, **({"window_days": days} if days else {}))


def _models(run: Run) -> Result:
    with catalogue(run.space) as db:
        names = rules.new_models(db)
    _, told = _enrich(run, *names)
    with catalogue(run.space) as db:
        left = rules.new_models(db)
        if left:
            run.tried["models"] = encoders_learn_from(db)
    return left != names, told


def _text(run: Run) -> Result:
    from omnisearch.enrichment.text import refresh_texts

    with catalogue(run.space) as db:
        items = sum(each.items for each in run.look(db) if each.name == "text")
        refresh_texts(run.space, db, run.progress, run.changed(db))
    run.stale = None
    return True, [f"Embedded the texts of {items:,} new and changed items."]


def _graph(run: Run) -> Result:
    return _enrich(run, "graph")


def _train(run: Run) -> Result:
    with catalogue(run.space) as db:
        now = encoders_learn_from(db)
    name = rules.encoder_name(run.space)
    resume = rules.interrupted(run.space, name)

    def on_step(step: StepReport) -> None:
        if run.progress:
            run.progress(step.step, step.steps)

    def train(resume: bool) -> Path:
        preset = rules.preset(run.space)
        return recipe.train(
            run.space, preset, name=name, resume=resume, progress=run.progress, on_step=on_step
        )

    try:
        try:
            folder = train(resume)
        except (InputError, Corrupt):
            if not resume:
                raise
            folder = train(False)  # the catalogue or the settings have changed since it began
    except NothingToLearn:
        run.tried["train"] = now
        raise
    return True, [nothing_learned(folder) or f"Trained encoder {folder.name}."]


def _index(run: Run) -> Result:
    name, before = rules.encoder_name(run.space), rules.live(run.space).get("number")
    until = time.monotonic() + PATIENCE
    told: list[str] = []
    while True:
        try:
            number = recipe.update_index(run.space, name, run.progress, told.append)
            break
        except Busy:
            if time.monotonic() > until:
                raise
            told.clear()
            with locked(run.space.index_lock):  # waits until the other process has ended
                pass
    if number == before:
        return False, told
    return True, [*told, f"Published generation {number}."]


def _rankers(run: Run) -> Result:
    with catalogue(run.space) as db:
        now = rules.rankers_would_learn_from(run, db)
    try:
        _, folder = recipe.train_rankers(run.space, run.progress)
    except NothingToLearn:
        run.tried["rankers"] = now
        raise
    if folder is not None:
        return True, [f"Trained rankers {folder.name}."]
    run.tried["rankers"] = now
    refused = "The new rankers order held-out queries worse than simpler orders do, and are not"
    return True, [f"{refused} live; the present ones stay."]


def _ads(run: Run) -> Result:
    with catalogue(run.space) as db:
        now = rules.rankers_would_learn_from(run, db)
    try:
        models = recipe.train_ads(run.space, run.progress)
    except NothingToLearn:
        run.tried["ads"] = now
        raise
    learned = [name for name in ("engagement", "relevance") if getattr(models, name)]
    return True, [f"Trained the models of ads: {' and '.join(learned)}."]


_ENRICH = "omnisearch enrich"
STEPS = (
    Step("feedback", "omnisearch import feedback", rules.feedback_due, _feedback),
    Step("boards", f"{_ENRICH} boards", rules.boards_due, _boards, guarded=True),
    Step("queries", f"{_ENRICH} queries", rules.queries_due, _queries, guarded=True),
    Step("models", _ENRICH, rules.models_due, _models, training=True),
    Step("text", f"{_ENRICH} text", rules.text_due, _text, guarded=True),
    Step("graph", f"{_ENRICH} graph", rules.graph_due, _graph, guarded=True),
    Step("train", "omnisearch train", rules.train_due, _train, training=True),
    Step("index", "omnisearch index update", rules.index_due, _index, guarded=True),
    Step(
        *("rankers", "omnisearch rank train", rules.rankers_due, _rankers),
        training=True,
        needs="index",
    ),
    Step("ads", "omnisearch ads train", rules.ads_due, _ads, training=True, needs="index"),
)
