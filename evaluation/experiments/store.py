"""The experiments of a workspace: `experiments/<name>.json`, the running one in `CURRENT`.

An experiment is 'recording' from its creation: searches of users are logged, all by what is live,
so that their earlier behaviour is known. While it is 'running' users get their variants. One
experiment runs at a time. `stop` ends it at once in every process that serves the workspace.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson

from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.artefacts import write_pointer
from omnisearch.data.workspace.errors import InputError
from omnisearch.data.workspace.files import write_atomic
from omnisearch.data.workspace.locks import publish_lock
from omnisearch.data.workspace.reading import load_json, reading
from omnisearch.evaluation.experiments.definition import Experiment, experiment_of

STATES = ("recording", "running", "stopped")
_AGAIN = "Put back a copy of the file, or remove it and create the experiment again."
_STEP = {"time": int, "state": str, "traffic": float}
_FORM = {"format": int, "experiment": {"name": str, "variants": [dict]}, "history": [_STEP]}
_FORMAT = 1
_KEY_BYTES = 32


@dataclass(frozen=True)
class Step:
    """A change of an experiment: since `time` (seconds since 1970) it has this state."""

    time: int
    state: str
    traffic: float


@dataclass(frozen=True)
class Kept:
    """An experiment and what became of it, oldest step first."""

    experiment: Experiment
    history: tuple[Step, ...]

    @property
    def state(self) -> str:
        return self.history[-1].state

    @property
    def traffic(self) -> float:
        """Percent of the users who take part now."""
        return self.history[-1].traffic if self.state == "running" else 0.0

    @property
    def began(self) -> int | None:
        """When it was started first; None before."""
        return next((step.time for step in self.history if step.state == "running"), None)


def create(workspace: Workspace, experiment: Experiment) -> Kept:
    """Keep a new experiment; searches of users are logged from now on.

    Raises InputError if there is one of this name.
    """
    folder = workspace.experiments
    folder.mkdir(exist_ok=True)
    path = folder / f"{experiment.name}.json"
    with publish_lock(workspace):
        if path.exists():
            raise InputError(
                f"There is an experiment {experiment.name!r} already.",
                where=str(path),
                how="Give this one another name: what users saw under the old one is logged.",
            )
        _key(workspace)
        kept = Kept(experiment, (Step(int(time.time()), "recording", 0.0),))
        _write(path, kept)
    return kept


def start(workspace: Workspace, name: str, traffic: float = 100.0, at: int | None = None) -> Kept:
    """Give users their variants, or change how many do take part.

    Args:
        traffic: percent of the users; above 0, at most 100.
        at: when, in seconds since 1970; now by default.

    Raises:
        InputError: another experiment is running, there is none of this name, it was stopped, or
            `traffic` is out of range or lower than it is.
    """
    if not 0 < traffic <= 100:
        raise InputError(f"traffic must be above 0 and at most 100, got {traffic}.")
    with _changing(workspace, name) as kept:
        live = running(workspace)
        if live is not None and live.experiment.name != name:
            raise InputError(
                f"The experiment {live.experiment.name!r} is running.",
                how=f"One runs at a time: `omnisearch experiment stop {live.experiment.name}`.",
            )
        if kept.state == "stopped":
            raise InputError(
                f"The experiment {name!r} was stopped: its users have had other results since.",
                how="Create one with another name, which shares users out anew.",
            )
        if traffic < kept.traffic:
            raise InputError(
                f"{kept.traffic:g}% of the users take part: fewer would tear them from theirs.",
                how="Stop it, and create one with another name.",
            )
        kept = _stepped(workspace, kept, "running", traffic, at)
        write_pointer(workspace.current_experiment, f"{name}.json")
    return kept


def stop(workspace: Workspace, name: str) -> Kept:
    """End an experiment: everybody gets what is live.

    Raises InputError if there is none of this name.
    """
    with _changing(workspace, name) as kept:
        live = running_name(workspace)
        if live == name:
            workspace.current_experiment.unlink(missing_ok=True)
        return kept if kept.state == "stopped" else _stepped(workspace, kept, "stopped", 0.0)


def load(workspace: Workspace, name: str) -> Kept:
    """An experiment by its name.

    Raises:
        InputError: there is none. Corrupt: its file is damaged.
    """
    path = workspace.experiments / f"{name}.json"
    if os.sep in name or not path.is_file():
        known = ", ".join(each.experiment.name for each in every(workspace))
        raise InputError(
            f"There is no experiment {name!r}.",
            where=str(workspace.experiments),
            how=f"There are: {known}." if known else "Create one: `omnisearch experiment create`.",
        )
    return _read(path)


def every(workspace: Workspace) -> list[Kept]:
    """All experiments, by the time of their creation; raises Corrupt."""
    found = [_read(path) for path in workspace.experiments.glob("[!.]*.json")]
    return sorted(found, key=lambda kept: kept.history[0].time)


def running_name(workspace: Workspace) -> str | None:
    """The name of the running experiment."""
    try:
        pointed = workspace.current_experiment.read_text("utf-8", "replace").strip()
    except FileNotFoundError:
        return None
    return pointed.removesuffix(".json")


def running(workspace: Workspace) -> Kept | None:
    """The running experiment; raises Corrupt, and InputError if its file is missing."""
    name = running_name(workspace)
    return None if name is None else load(workspace, name)


def key_of(workspace: Workspace) -> bytes | None:
    """The key under which users' ids are hashed; None before the first experiment."""
    path = workspace.experiments / "KEY"
    if not path.exists():
        return None
    with reading("The key of users' hashes", path, _AGAIN):
        key = path.read_bytes()
        if len(key) != _KEY_BYTES:
            raise ValueError(f"it has {len(key)} bytes instead of {_KEY_BYTES}")
        return key


def _key(workspace: Workspace) -> None:
    path = workspace.experiments / "KEY"
    if not path.exists():
        write_atomic(path, _drawn())
        path.chmod(0o600)


def _drawn() -> bytes:
    return os.urandom(_KEY_BYTES)


@contextmanager
def _changing(workspace: Workspace, name: str) -> Iterator[Kept]:
    with publish_lock(workspace):
        yield load(workspace, name)


def _stepped(
    workspace: Workspace, kept: Kept, state: str, traffic: float, at: int | None = None
) -> Kept:
    step = Step(int(time.time()) if at is None else at, state, float(traffic))
    kept = replace(kept, history=(*kept.history, step))
    _write(workspace.experiments / f"{kept.experiment.name}.json", kept)
    return kept


def _write(path: Path, kept: Kept) -> None:
    values = {
        "format": _FORMAT,
        "experiment": kept.experiment.to_json(),
        "history": [vars(step) for step in kept.history],
    }
    write_atomic(path, orjson.dumps(values, option=orjson.OPT_INDENT_2))


def _read(path: Path) -> Kept:
    with reading("The experiment", path, _AGAIN):
        values: dict[str, Any] = load_json(path.read_bytes(), _FORM)
        if values["format"] != _FORMAT or not values["history"]:
            raise ValueError("it is of another version")
        steps = tuple(Step(**{name: each[name] for name in _STEP}) for each in values["history"])
        if any(step.state not in STATES for step in steps):
            raise ValueError("its state is unknown")
        told = values["experiment"]
        variants = {}
        for each in told["variants"]:
            given = {name: value for name, value in each.items() if value is not None}
            variants[given.pop("name")] = given
        try:
            experiment = experiment_of({**told, "variants": variants}, str(path))
        except InputError as error:
            raise ValueError(str(error)) from error
        return Kept(experiment, steps)
