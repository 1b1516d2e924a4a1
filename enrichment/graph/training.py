"""Training the graph networks: the loss over pairs, and the steps."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from omnisearch.data.workspace.progress import Progress
from omnisearch.encoders.models.hash_embedding import HashEmbedding
from omnisearch.encoders.training.optim import LazyAdam, clip_gradients, set_rates

EPOCHS, FEWEST, MOST = 4, 100, 150  # draws per pair; bounds of the number of steps
RATE, TABLE_RATE = 1e-3, 1e-3
_WARM = 0.1  # share of the steps of warm-up; then the rates fall to 0
_CLIP = 1.0
_TEMPERATURES = (math.log(0.02), 0.0)


def pair_loss(
    sources: Tensor, targets: Tensor, log_share: Tensor, masked: Tensor, log_temperature: Tensor
) -> Tensor:
    """Softmax over the batch's targets with logQ correction (§3.5): row i's positive is target i.

    Args:
        sources: (b, d) unit rows. targets: (c, d) unit rows, c >= b.
        log_share: (c,) log of how often each target is drawn.
        masked: (b, c) bool, which targets are not negatives of which rows.
        log_temperature: scalar, learned.
    """
    logits = sources @ targets.T / log_temperature.clamp(*_TEMPERATURES).exp() - log_share
    own = torch.arange(len(sources))
    masked = masked.index_put((own, own), torch.tensor(False))
    return nn.functional.cross_entropy(logits.masked_fill(masked, -torch.inf), own)


def steps_for(edges: int, pairs: int) -> int:
    """The number of steps of `pairs` pairs each, for this many edges."""
    return min(MOST, max(FEWEST, EPOCHS * edges // pairs))


def minimise(
    net: nn.Module,
    steps: int,
    loss: Callable[[np.random.Generator, int], Tensor],
    seed: int,
    progress: Progress | None,
) -> None:
    """Minimise the loss in `steps` steps: AdamW, and a lazy Adam for hash embeddings.

    Each step has a generator seeded by the seed and the step. `loss` is also given the epoch, from
    0: the number of steps is bounded, so an epoch is the EPOCHS-th part of them. The network is
    left in evaluation mode.
    """
    sparse = [p for m in net.modules() if isinstance(m, HashEmbedding) for p in m.parameters()]
    known = {id(p) for p in sparse}
    dense = [p for p in net.parameters() if id(p) not in known]
    optimisers = [
        torch.optim.AdamW(dense, lr=RATE, weight_decay=0.01),
        LazyAdam(sparse, lr=TABLE_RATE),
    ]
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group["peak_lr"] = group["lr"]
    net.train()
    warm = max(1.0, _WARM * steps)
    for step in range(steps):
        set_rates(optimisers, min((step + 1) / warm, (steps - step) / max(steps - warm, 1.0)))
        net.zero_grad(set_to_none=True)
        loss(np.random.default_rng([seed, step]), EPOCHS * step // steps).backward()
        clip_gradients(net.parameters(), _CLIP)
        for optimiser in optimisers:
            optimiser.step()
        if progress:
            progress(step + 1, steps)
    net.eval()
