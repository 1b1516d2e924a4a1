"""The gradients and losses of one step, to compare ways of computing them."""

from __future__ import annotations

import torch

from omnisearch.encoders.config import Config
from omnisearch.encoders.training.batches import BatchStream
from omnisearch.encoders.training.logq import StreamCounts
from omnisearch.encoders.training.parallel import ALONE, Group
from omnisearch.encoders.training.prepare import Prepared
from omnisearch.encoders.training.step import Stepper, count_and_correct


def stream_of(prepared: Prepared, config: Config, **options) -> BatchStream:
    dims = prepared.parts.model.item.feature_dims
    return BatchStream(prepared.data, config, prepared.pieces, prepared.pad, dims, **options)


def gradients(
    prepared: Prepared, config: Config, step: int = 3, group: Group = ALONE
) -> dict[str, torch.Tensor]:
    """The gradients of one step, dense, and each task's loss under 'loss of <task>'."""
    model = prepared.parts.model.train()
    model.zero_grad(set_to_none=True)
    batch = stream_of(prepared, config, group=group).batch(step)
    counts = StreamCounts(4, config.sketch_bits)
    corrections = count_and_correct(counts, batch, sorted(prepared.data.pairs))
    device = torch.device("cpu")
    stepper = Stepper(model, prepared.data.items, config, device, False, group)
    losses = stepper.backward(batch, corrections)
    found = {f"loss of {task}": torch.tensor(loss) for task, loss in losses.items()}
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            found[name] = parameter.grad.to_dense().clone()
    return found
