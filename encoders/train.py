"""Training from a catalogue to a checkpoint, resumable at any moment (§3.4, §3.5)."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import sqlite_utils
import torch

from data.catalogue import get_meta
from data.errors import InputError
from data.workspace import Workspace, write_atomic
from encoders.batches import BatchStream
from encoders.board import open_board
from encoders.card import write_card
from encoders.checkpoint import (
    TrainingState,
    arrays_of,
    folder_of,
    load_parts,
    load_state,
    pointed,
    prune,
    publish_best,
    tensors_of,
    verify,
    write_checkpoint,
)
from encoders.config import Config
from encoders.logq import StreamCounts
from encoders.optim import (
    build_optimisers,
    clip_gradients,
    optimiser_tensors,
    restore_optimisers,
    schedule,
    set_rates,
)
from encoders.prepare import Prepared, prepare
from encoders.report import StepReport
from encoders.step import Stepper, count_and_correct, takes_bf16
from encoders.validate import Validator, recurrence
from encoders.warm import warm_config, warm_start

OnStep = Callable[[StepReport], None]


@dataclass
class Progressing:
    """Where a training stands; what a checkpoint keeps as JSON."""

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
    progress: Callable[[int, int], None] | None = None,
    on_step: OnStep | None = None,
) -> Path:
    """Train all encoders on the catalogue; returns the folder of the best checkpoint.

    With `resume`, the last unfinished training of this name goes on from its last checkpoint,
    and its further losses are those that it would have had; where there is none, a new one
    begins. `progress` is called while the catalogue is read, `on_step` after each step.

    Raises:
        InputError: another process trains under this name, or the catalogue or the config
            changed since the checkpoint that is to be resumed.
        NotReady: no pairs to train on, or features that leak (`data.pairs.training_pairs`).
    """
    base = folder_of(workspace, name)
    base.mkdir(parents=True, exist_ok=True)
    config = warm_config(db, config)
    with _only_one(base):
        last = pointed(base, "LAST") if resume else None
        parts = None
        if last is not None:
            verify(last)
            parts = load_parts(last)
            _check_same(parts.config, config, last)
        torch.manual_seed(config.seed)
        prepared = prepare(workspace, db, config, parts, progress)
        return _Training(base, db, config, prepared, last, on_step).run()


@contextmanager
def _only_one(base: Path) -> Iterator[None]:
    with (base / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(
                "Another process is training under this name.",
                where=str(base),
                how="Wait for it, or train under another --name.",
            ) from error
        yield


def _check_same(old: Config, new: Config, folder: Path) -> None:
    before, now = asdict(old), asdict(new)
    changed = [key for key in before if before[key] != now[key] and key != "tensorboard"]
    if changed:
        raise InputError(
            f"The checkpoint was trained with another {', '.join(changed)}.",
            where=str(folder),
            how="Resume with the same settings, or train anew without --resume.",
        )


class _Training:
    """One training run: the loop and what it holds."""

    def __init__(
        self,
        base: Path,
        db: sqlite_utils.Database,
        config: Config,
        prepared: Prepared,
        last: Path | None,
        on_step: OnStep | None,
    ) -> None:
        self.base, self.db, self.config, self.on_step = base, db, config, on_step
        self.parts, self.data = prepared.parts, prepared.data
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model = self.parts.model.to(self.device).train()
        self.bf16 = takes_bf16(config.precision, self.device)
        self.optimisers = build_optimisers(self.model, config)
        self.stream = BatchStream(
            self.data,
            config,
            prepared.pieces,
            prepared.pad,
            self.model.item.feature_dims,
            recurrence(prepared.valid),
        )
        self.datasets = sorted(self.data.pairs)
        self.counts = StreamCounts(len(self.datasets), config.sketch_bits)
        self.validator = Validator(self.data, prepared.valid, config, prepared.pieces, prepared.pad)
        self.train_until = prepared.train_until
        self.at = Progressing(uuid4().hex[:8], self.data.fingerprint())
        if last is not None:
            self._restore(last)
        elif config.warm_steps:
            warm_start(self.model, self.data.items, config, self.device)

    def _restore(self, last: Path) -> None:
        state = load_state(last)
        if state.values["fingerprint"] != self.at.fingerprint:
            raise InputError(
                "The catalogue has changed since that checkpoint.",
                where=str(last),
                how="Train anew without --resume.",
            )
        self.at = Progressing(**state.values)
        moments = {k: v for k, v in state.tensors.items() if not k.startswith("counts:")}
        restore_optimisers(self.model, self.optimisers, moments)
        self.counts.restore(arrays_of(state.tensors, "counts"))

    def run(self) -> Path:
        config = self.config
        stepper = Stepper(self.model, self.data.items, config, self.device, self.bf16)
        board = open_board(self.base / "tensorboard", self.at.step, wanted=config.tensorboard)
        # The thread makes the next batch while this one is learned.
        with ThreadPoolExecutor(1) as ahead, board as log:
            if self.config.warm_steps and not self.at.step:
                self._validate()  # what the joint training starts from may be the best there is
            coming = ahead.submit(self.stream.batch, self.at.step)
            while not self._over():
                started = time.perf_counter()
                batch = coming.result()
                coming = ahead.submit(self.stream.batch, self.at.step + 1)
                corrections = count_and_correct(self.counts, batch, self.datasets)
                losses = stepper.backward(batch, corrections)
                norm = clip_gradients(self.model.parameters(), config.clip)
                factor = schedule(self.at.step, config)
                set_rates(self.optimisers, factor)
                for optimiser in self.optimisers:
                    optimiser.step()
                self.at.step += 1
                rate = batch.pairs / (time.perf_counter() - started)
                recalls = self._after_step()
                loss = losses.pop("loss")
                report = StepReport(self.at.step, loss, losses, rate, factor, norm, recalls)
                log.write(report)
                if self.on_step:
                    self.on_step(report)
        best = self.base / self.at.best_folder
        publish_best(self.base, best)
        return best

    def _over(self) -> bool:
        return self.at.step >= self.config.steps or self.at.since_best >= self.config.patience

    def _after_step(self) -> dict[str, float] | None:
        """Validate and save where it is time to; returns the recalls of a validation."""
        step, config = self.at.step, self.config
        ends = step == config.steps
        if step % config.valid_every == 0 or ends:
            return self._validate()
        if config.save_every and step % config.save_every == 0:
            self._save()
        return None

    def _validate(self) -> dict[str, float]:
        """Validate, and save; returns the recalls."""
        recalls = self.validator(self.model, self.device)
        mean = sum(recalls.values()) / len(recalls) if recalls else 0.0
        better = mean > self.at.best or not recalls
        self.at.since_best = 0 if better else self.at.since_best + 1
        self.at.recalls = recalls
        self.at.history.append({"step": self.at.step, "recall": mean})
        if better:
            self.at.best, self.at.best_folder = mean, self._folder_name()
        self._save()
        return recalls

    def _folder_name(self) -> str:
        return f"{self.at.run}-{self.at.step:07d}"

    def _save(self) -> None:
        tensors = optimiser_tensors(self.model, self.optimisers)
        tensors |= tensors_of(self.counts.state(), "counts")
        tensors = {key: value.cpu() for key, value in tensors.items()}
        folder = self.base / self._folder_name()
        card = write_card(self.config, self._facts())
        write_checkpoint(folder, self.parts, card, TrainingState(asdict(self.at), tensors))
        write_atomic(self.base / "LAST", folder.name.encode())
        prune(self.base, keep={self.at.best_folder})

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
            "bf16": self.bf16,
            "synthetic": bool(get_meta(self.db, "synthetic")),
            "train_until": self.train_until,
        }
