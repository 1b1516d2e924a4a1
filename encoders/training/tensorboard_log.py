"""TensorBoard logs of a training, if the extra is installed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from omnisearch.data.workspace.errors import MissingExtra
from omnisearch.encoders.training.step_report import StepReport


class StepLog:
    """Writes step reports as scalars; does nothing without a writer."""

    def __init__(self, writer: Any | None) -> None:
        self._writer = writer

    def write(self, report: StepReport) -> None:
        if self._writer is None:
            return
        scalars = {
            "loss/total": report.loss,
            "pairs per second": report.pairs_per_second,
            "learning rate factor": report.lr_factor,
            "gradient norm": report.norm,
        }
        scalars |= {f"loss/{task}": loss for task, loss in report.losses.items()}
        scalars |= {f"Recall@10/{key}": value for key, value in (report.recalls or {}).items()}
        for name, value in scalars.items():
            self._writer.add_scalar(name, value, report.step)


@contextmanager
def open_step_log(folder: Path, step: int, *, wanted: bool) -> Iterator[StepLog]:
    """A log that writes into `folder`, continuing after `step`; does nothing if not wanted.

    Raises:
        InputError: it is wanted, but TensorBoard is not installed.
    """
    if not wanted:
        yield StepLog(None)
        return
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise MissingExtra(
            "TensorBoard",
            "tensorboard",
            where="train.tensorboard",
            how="Or leave the setting out.",
        ) from error
    with SummaryWriter(str(folder), purge_step=step + 1) as writer:
        yield StepLog(writer)
