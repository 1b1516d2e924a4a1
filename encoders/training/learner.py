"""A training step's update of the model: gradients, clipping, learning rates, optimisers."""

from __future__ import annotations

import math
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor

import torch

from omnisearch.data.workspace.errors import InputError
from omnisearch.encoders.config import Config
from omnisearch.encoders.models.model import OmniModel
from omnisearch.encoders.models.query import takes_bf16
from omnisearch.encoders.training.batches import Batch, BatchStream, pinned
from omnisearch.encoders.training.dataset import TrainingData
from omnisearch.encoders.training.logq import StreamCounts
from omnisearch.encoders.training.optim import build_optimisers, clip_gradients, schedule, set_rates
from omnisearch.encoders.training.parallel import ALONE, Group
from omnisearch.encoders.training.step import Stepper, count_and_correct
from omnisearch.encoders.training.step_report import StepReport


class Learner:
    """The model, its optimisers and the counts behind logQ.

    Attributes:
        counts: of the pairs of all batches, identical in every process.
    """

    def __init__(
        self,
        model: OmniModel,
        data: TrainingData,
        config: Config,
        device: torch.device,
        group: Group = ALONE,
    ) -> None:
        self.model, self.config = model.to(device).train(), config
        bf16 = takes_bf16(config.precision, device)
        self.stepper = Stepper(self.model, data.items, config, device, bf16, group)
        self.optimisers = build_optimisers(self.model, config)
        self.datasets = sorted(data.pairs)
        self.counts = StreamCounts(len(self.datasets), config.sketch_bits)

    def learn(self, batch: Batch, waited: float = 0.0) -> StepReport:
        """One step over a batch; `waited` is the seconds spent waiting for it."""
        began = time.perf_counter()
        corrections = count_and_correct(self.counts, batch, self.datasets)
        losses = self.stepper.backward(batch, corrections)
        norm = clip_gradients(self.model.parameters(), self.config.clip)
        if not math.isfinite(norm):
            raise InputError(
                "The training diverged: its gradient is no longer finite.",
                where=f"step {batch.step + 1}",
                how="Train again with a lower lr, or with precision fp32.",
            )
        factor = schedule(batch.step, self.config)
        set_rates(self.optimisers, factor)
        for optimiser in self.optimisers:
            optimiser.step()
        loss = losses.pop("loss")
        seconds = waited + time.perf_counter() - began
        return StepReport(
            step=batch.step + 1,
            steps=self.config.steps,
            loss=loss,
            losses=losses,
            pairs=batch.pairs,
            seconds=seconds,
            waited=waited,
            lr_factor=factor,
            norm=norm,
        )


def batches_ahead(stream: BatchStream, step: int) -> Generator[tuple[Batch, float], None, None]:
    """The batches from a step on, each with the seconds spent waiting for it.

    A thread prepares the next batch during each step.
    """

    def make(number: int) -> Batch:
        batch = stream.batch(number)
        return pinned(batch) if torch.cuda.is_available() else batch

    with ThreadPoolExecutor(1) as ahead:
        coming = ahead.submit(make, step)
        while True:
            began = time.perf_counter()
            batch = coming.result()
            step += 1
            coming = ahead.submit(make, step)
            yield batch, time.perf_counter() - began
