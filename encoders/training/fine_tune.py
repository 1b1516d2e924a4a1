"""The loop that fine-tunes a pretrained transformer for a few hundred steps."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from transformers import get_cosine_schedule_with_warmup

from omnisearch.data.workspace.progress import Progress

_WEIGHT_DECAY, _CLIP = 0.01, 1.0


def fine_tune(
    model: nn.Module,
    steps: int,
    rate: float,
    backward: Callable[[int], None],
    progress: Progress | None = None,
) -> None:
    """Train all weights in place by AdamW; the rate rises over a tenth of the steps, then falls.

    Args:
        rate: the highest learning rate.
        backward: adds the gradients of a step, counted from 0.
        progress: called with the steps done.
    """
    model.train()
    torch.manual_seed(0)
    optimiser = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=_WEIGHT_DECAY)
    schedule = get_cosine_schedule_with_warmup(optimiser, steps // 10, steps)
    for step in range(steps):
        optimiser.zero_grad()
        backward(step)
        torch.nn.utils.clip_grad_norm_(model.parameters(), _CLIP)
        optimiser.step()
        schedule.step()
        if progress:
            progress(step + 1, steps)
    model.eval()
