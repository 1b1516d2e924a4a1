"""The report of a training after each step."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class StepReport:
    """The argument of `on_step` after each step.

    Attributes:
        step: number of steps done, from 1.
        steps: total steps of the training.
        losses: task → loss.
        pairs: in the step's batch, over all processes.
        seconds: duration of the step, without validation and saving.
        waited: seconds of it spent waiting for the batch.
        norm: the gradient's norm before clipping.
        recalls: entity type → Recall@10, if a validation followed this step.
    """

    step: int
    steps: int
    loss: float
    losses: dict[str, float]
    pairs: int
    seconds: float
    waited: float
    lr_factor: float
    norm: float
    recalls: dict[str, float] | None = None

    @property
    def pairs_per_second(self) -> float:
        return self.pairs / self.seconds
