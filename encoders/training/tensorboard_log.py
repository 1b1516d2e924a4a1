"""TensorBoard logs of a training, where its extra is installed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from omnisearch.data.workspace.errors import InputError
from omnisearch.encoders.training.step_report import StepReport


class Board:
    """Writes the reports of steps as scalars; without a writer it does nothing."""

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
def open_board(folder: Path, step: int, *, wanted: bool) -> Iterator[Board]:
    """A board that writes into `folder`, going on after `step`; one that does nothing if unwanted.

    Raises:
        InputError: it is wanted, and TensorBoard is not installed.
    """
    if not wanted:
        yield Board(None)
        return
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise InputError(
            "TensorBoard is not installed.",
            where="train.tensorboard",
            how="Run `pip install omnisearchsage[tensorboard]`, or leave the setting out.",
        ) from error
    with SummaryWriter(str(folder), purge_step=step + 1) as writer:
        yield Board(writer)
