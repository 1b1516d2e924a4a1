"""Training from a catalogue to a checkpoint, resumable at any time (§3.4, §3.5)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import sqlite_utils
import torch

from omnisearch.data.catalogue.learned_from import encoders_learn_from
from omnisearch.data.catalogue.left_out import LeftOut
from omnisearch.data.catalogue.schema import get_meta
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.artefacts import pointed, write_pointer
from omnisearch.data.workspace.errors import InputError
from omnisearch.data.workspace.locks import locked
from omnisearch.data.workspace.progress import Progress
from omnisearch.data.workspace.reading import reading
from omnisearch.encoders.checkpoint import (
    CHECKPOINT,
    TRAINING,
    TrainingState,
    arrays_of,
    load_parts,
    load_state,
    prune,
    publish_best,
    tensors_of,
    verify,
    write_checkpoint,
)
from omnisearch.encoders.checkpoint_folder import folder_of, name_at
from omnisearch.encoders.config import Config
from omnisearch.encoders.text_encoder import encoder_folder
from omnisearch.encoders.training.batches import BatchStream
from omnisearch.encoders.training.card import write_card
from omnisearch.encoders.training.learner import Learner, batches_ahead
from omnisearch.encoders.training.optim import optimiser_tensors, restore_optimisers
from omnisearch.encoders.training.parallel import Group, joined, this_device
from omnisearch.encoders.training.prepare import Prepared, prepare
from omnisearch.encoders.training.step_report import StepReport
from omnisearch.encoders.training.tensorboard_log import open_step_log
from omnisearch.encoders.training.validate import Validator, recurrence
from omnisearch.encoders.training.warm_start import warm_config, warm_start

OnStep = Callable[[StepReport], None]
TellLeftOut = Callable[[LeftOut], None]


@dataclass
class Progressing:
    """The progress of a training, stored in checkpoints as JSON."""

    run: str
    fingerprint: str
    step: int = 0
    best: float = -1.0
    best_folder: str = ""
    since_best: int = 0
    recalls: dict[str, float] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)


def train(
    workspace: Workspace,
    db: sqlite_utils.Database,
    config: Config,
    name: str = "default",
    resume: bool = False,
    progress: Progress | None = None,
    on_step: OnStep | None = None,
    tell: TellLeftOut | None = None,
) -> Path:
    """Train all encoders on the catalogue; returns the folder of the best checkpoint.

    With `resume`, the last unfinished training of this name continues from its last checkpoint,
    with the same losses as without the interruption; if there is none, a new one begins.
    `progress` is called while the catalogue is read, and again from 0 during the warm start;
    `on_step` after each step, `tell` with each thing that is not learned from.

    Under `torchrun` the processes share each batch (`parallel`); only the first one validates,
    writes, and calls `on_step`.

    Raises:
        InputError: another process is training under this name, or the catalogue or the config
            has changed since the checkpoint to resume.
        NotReady: there are no pairs to train on, or features that leak (`training_pairs`).
    """
    base = folder_of(workspace, name)
    config = warm_config(db, config)
    busy = InputError(
        "Another process is training under this name.",
        where=str(base),
        how="Wait until it has finished, or train under another --name.",
    )
    with joined() as group, _named(workspace, name, busy) if group.first else nullcontext():
        last = pointed(workspace.last_checkpoint(name), CHECKPOINT) if resume else None
        parts = None
        if last is not None:
            verify(last)
            parts = load_parts(last)
            _check_same(parts.config, config, last)
        elif config.backbone:
            encoder_folder(
                workspace, config.backbone
            )  # a wrong name is told before the log is read
        torch.manual_seed(config.seed)
        learned_from = encoders_learn_from(db)  # first: what comes in meanwhile is new
        prepared = prepare(workspace, db, config, parts, progress)
        if tell and group.first:
            for each in prepared.left_out:
                tell(each)
        made = _Training(
            *(workspace, name, db, config, prepared, learned_from, last, on_step, group, progress)
        )
        return made.run()


@contextmanager
def _named(workspace: Workspace, name: str, busy: InputError) -> Iterator[None]:
    """The folder of a name's checkpoints, locked; an error before the first one removes it."""
    base, lock = folder_of(workspace, name), workspace.training_lock(name)
    base.mkdir(parents=True, exist_ok=True)
    with locked(lock, busy):
        try:
            yield
        except BaseException:
            if [*base.iterdir()] == [lock]:
                lock.unlink()
                with suppress(OSError):  # the folder above has others
                    base.rmdir()
                    base.parent.rmdir()
            raise


def _check_same(old: Config, new: Config, folder: Path) -> None:
    before, now = asdict(old), asdict(new)
    changed = [key for key in before if before[key] != now[key] and key != "tensorboard"]
    if changed:
        raise InputError(
            f"The checkpoint was trained with a different {', '.join(changed)}.",
            where=str(folder),
            how="Resume with the same settings, or start again without --resume.",
        )


class _Training:
    """One training run: the loop and its state."""

    def __init__(
        self,
        workspace: Workspace,
        name: str,
        db: sqlite_utils.Database,
        config: Config,
        prepared: Prepared,
        learned_from: dict[str, Any],
        last: Path | None,
        on_step: OnStep | None,
        group: Group,
        progress: Progress | None,
    ) -> None:
        self.workspace, self.name, self.db = workspace, name, db
        self.config, self.on_step = config, on_step
        self.parts, self.data, self.group = prepared.parts, prepared.data, group
        self.device = this_device()
        self.model = self.parts.model
        self.learner = Learner(self.model, self.data, config, self.device, group)
        self.stream = BatchStream(
            self.data,
            config,
            prepared.pieces,
            prepared.pad,
            self.model.item.feature_dims,
            recurrence(prepared.valid),
            group,
        )
        self.validator = Validator(self.data, prepared.valid, config, prepared.pieces, prepared.pad)
        self.train_until = prepared.train_until
        self.learned_from = learned_from
        self.at = Progressing(uuid4().hex[:8], self.data.fingerprint())
        group.check_same(self.at.fingerprint, self.device)
        if last is not None:
            self._restore(last)
        elif config.warm_steps and group.first:
            warm_start(self.model, self.data.items, config, self.device, progress)
        group.share(self.model)

    def _restore(self, last: Path) -> None:
        state = load_state(last)
        if state.values["fingerprint"] != self.at.fingerprint:
            raise InputError(
                "The catalogue has changed since that checkpoint.",
                where=str(last),
                how="Start again without --resume.",
            )
        with reading("The training state", last / "training", TRAINING.again):
            self.at = Progressing(**state.values)
            moments = {k: v for k, v in state.tensors.items() if not k.startswith("counts:")}
            restore_optimisers(self.model, self.learner.optimisers, moments)
            self.learner.counts.restore(arrays_of(state.tensors, "counts"))

    def run(self) -> Path:
        wanted = self.config.tensorboard and self.group.first
        logs = self.workspace.tensorboard(self.name)
        with open_step_log(logs, self.at.step, wanted=wanted) as log:
            if self.config.warm_steps and not self.at.history:
                self._validate()  # the warm-started model may already be the best
            coming = batches_ahead(self.stream, self.at.step)
            with closing(coming):
                while not self._over():
                    report = self.learner.learn(*next(coming))
                    self.at.step = report.step
                    report = replace(report, recalls=self._after_step())
                    if self.group.first:
                        log.write(report)
                        if self.on_step:
                            self.on_step(report)
        best = self.workspace.checkpoints / self.name / self.at.best_folder
        if self.group.first:
            publish_best(self.workspace, self.name, best)
        return best

    def _over(self) -> bool:
        return self.at.step >= self.config.steps or self.at.since_best >= self.config.patience

    def _after_step(self) -> dict[str, float] | None:
        """Validate and save if due; returns the recalls of a validation."""
        step, config = self.at.step, self.config
        ends = step == config.steps
        if step % config.valid_every == 0 or ends:
            return self._validate()
        if config.save_every and step % config.save_every == 0:
            self._save()
        return None

    def _validate(self) -> dict[str, float]:
        """Validate and save in the first process; returns the recalls in all of them."""
        recalls = self.validator(self.model, self.device) if self.group.first else {}
        mean = sum(recalls.values()) / len(recalls) if recalls else 0.0
        mean = self.group.of_first(mean, self.device)
        better = mean > self.at.best or not self.validator.sets
        self.at.since_best = 0 if better else self.at.since_best + 1
        self.at.recalls = recalls
        self.at.history.append({"step": self.at.step, "recall": mean})
        if better:
            self.at.best, self.at.best_folder = mean, self._folder_name()
        self._save()
        return recalls

    def _folder_name(self) -> str:
        return name_at(self.at.run, self.at.step)

    def _save(self) -> None:
        if not self.group.first:
            return
        tensors = optimiser_tensors(self.model, self.learner.optimisers)
        tensors |= tensors_of(self.learner.counts.state(), "counts")
        tensors = {key: value.cpu() for key, value in tensors.items()}
        folder = self.workspace.checkpoints / self.name / self._folder_name()
        card = write_card(self.config, self._facts())
        state = TrainingState(asdict(self.at), tensors)
        write_checkpoint(folder, self.parts, card, state, self.learned_from)
        write_pointer(self.workspace.last_checkpoint(self.name), folder.name)
        prune(self.workspace, self.name, keep={self.at.best_folder})

    def _facts(self) -> dict[str, Any]:
        model = self.model
        return {
            "step": self.at.step,
            "recalls": self.at.recalls,
            "pairs": {name: len(pairs.queries) for name, pairs in self.data.pairs.items()},
            "items": {entity: len(ids) for entity, ids in self.data.items.ids.items()},
            "feature_dims": model.item.feature_dims,
            "compat_spaces": self.parts.compat_spaces,
            "temperatures": {task: model.temperature(task).item() for task in model.tasks},
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
            "device": self.device.type,
            "bf16": self.learner.stepper.bf16,
            "processes": self.group.size,
            "rotated": model.query.projection.is_rotated,
            "synthetic": bool(get_meta(self.db, "synthetic")),
            "train_until": self.train_until,
        }
