"""What a training tells after each step."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class StepReport:
    """What `on_step` gets after each step.

    Attributes:
        step: steps done, from 1.
        steps: of the whole training.
        losses: task → loss.
        pairs: in the step's batch, over all processes.
        seconds: the whole step took, without validation and saving.
        waited: seconds of these until the batch was there.
        norm: the gradient's norm before clipping.
        recalls: entity type → Recall@10, where this step was followed by a validation.
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
