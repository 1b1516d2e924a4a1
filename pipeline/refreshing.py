"""`refresh`: what was made of something else than is there now is made anew, step by step.

Each step of `refresh_steps.STEPS` is atomic, and decides by what the workspace holds whether there
is anything to do. A refresh that is killed is continued by the next one.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import orjson

from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import Busy, NothingToLearn
from omnisearch.pipeline.opened import WorkspaceLike, root_of

if TYPE_CHECKING:
    from omnisearch.data.workspace.progress import Progress
    from omnisearch.pipeline.refresh_rules import Run
    from omnisearch.pipeline.refresh_steps import Step

_STEP = {"step": str, "outcome": str, "told": [str], "seconds": float}
_REPORT = {"began": str, "ended": (str, type(None)), "train": bool, "steps": [_STEP]}
_NOTED = {"report": _REPORT, "seen": (dict, type(None)), "tried": dict}
PARTLY = 6  # exit status: a step failed, the others were done


@dataclass(frozen=True)
class Outcome:
    """What became of a step.

    Attributes:
        outcome: 'done', 'unchanged' (there was nothing to do), 'failed', or 'left out' (a step that
            it needs has failed).
        told: sentences: what was done, or why it failed and what to do.
    """

    step: str
    outcome: str
    told: list[str]
    seconds: float


@dataclass
class Refreshed:
    """The report of a refresh.

    Attributes:
        began, ended: ISO 8601, UTC; `ended` is None until it has, and stays so if it was killed.
        train: whether trainings were part of it.
        steps: in order, those that it has come to.
    """

    began: str
    train: bool
    ended: str | None = None
    steps: list[Outcome] = field(default_factory=list)

    @property
    def failed(self) -> list[str]:
        """The names of the steps that failed."""
        return [each.step for each in self.steps if each.outcome == "failed"]

    @property
    def exit_code(self) -> int:
        """0, or PARTLY if a step has failed."""
        return PARTLY if self.failed else 0


def refresh(
    workspace: WorkspaceLike,
    *,
    train: bool = False,
    progress: Progress | None = None,
) -> Refreshed:
    """Import feedback, enrich, embed texts and update the index, each only if there is need.

    With `train`, encoders, rankers and models of ads are trained too if what they learn from has
    changed. A step that fails is in the report, and the others are run all the same. The report is
    kept in the workspace (`last_refresh`).

    Raises:
        NotReady: nothing was imported yet.
        Busy: another refresh of this workspace is running.
        Corrupt: the catalogue is damaged.
    """
    from omnisearch.data.catalogue.schema import open_catalogue
    from omnisearch.data.workspace.locks import locked
    from omnisearch.pipeline.refresh_rules import Run, seen_now
    from omnisearch.pipeline.refresh_steps import STEPS

    space = Workspace.open(root_of(workspace), writing=True)
    busy = Busy(
        "Another refresh of this workspace is running.",
        where=str(space.root),
        how="Nothing is to be done: the other one, or the next, does what this one would do.",
    )
    with locked(space.refresh_lock, busy):
        open_catalogue(space.catalogue).conn.close()  # damage ends it here
        noted = _noted(space)
        run = Run(space, noted.get("seen"), noted.get("tried", {}), progress)
        found = Refreshed(_now(), train)
        for step in STEPS:
            if step.training and not train:
                continue
            _write(space, found, run)
            found.steps.append(_outcome(step, run, found.failed))
        seen = {**seen_now(space, run.imports), "change": run.change}
        run.seen = None if found.failed else seen
        found.ended = _now()
        _write(space, found, run)
    return found


def last_refresh(workspace: Workspace) -> Refreshed | None:
    """The report of the last refresh; None if there is none, or if it cannot be read."""
    report = _noted(workspace).get("report")
    if report is None:
        return None
    steps = [Outcome(**{name: each[name] for name in _STEP}) for each in report["steps"]]
    return Refreshed(report["began"], report["train"], report["ended"], steps)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _noted(workspace: Workspace) -> dict[str, Any]:
    """What the last refresh noted; nothing if that cannot be read, and all is looked at again."""
    from omnisearch.data.workspace.reading import load_json

    try:
        return dict(load_json(workspace.refresh_report.read_bytes(), _NOTED))
    except (OSError, ValueError):
        return {}


def _write(workspace: Workspace, found: Refreshed, run: Run) -> None:
    from omnisearch.data.workspace.files import write_atomic

    values = {"report": asdict(found), "seen": run.seen, "tried": run.tried}
    write_atomic(workspace.refresh_report, orjson.dumps(values, option=orjson.OPT_INDENT_2))


def _outcome(step: Step, run: Run, failed: list[str]) -> Outcome:
    """Run a step if it is due."""
    from omnisearch.data.workspace.causes import explained

    began = time.perf_counter()
    if step.needs in failed:
        outcome, told = "left out", [f"The step {step.needs} has failed."]
    else:
        try:
            done, told = step.run(run) if step.is_due(run) else (False, [])
            outcome = "done" if done else "unchanged"
        except NothingToLearn as error:
            outcome, told = "unchanged", [str(error)]
        except Exception as error:  # a library may raise anything; the other steps are run
            outcome, told = "failed", [str(explained(error, step.command))]
    return Outcome(step.name, outcome, told, round(time.perf_counter() - began, 2))
