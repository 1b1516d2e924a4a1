"""PinSage's network (§3.3; Ying et al., KDD '18): a pin from itself and its neighbours."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from omnisearch.encoders.config import START_TEMPERATURE
from omnisearch.enrichment.graph.item_tokens import ItemTokens

WIDTH, HIDDEN = 128, 256
SKIP = 8.0  # initial strength of S relative to the rest


class PinSage(nn.Module):
    """One graph convolution with importance pooling, then two layers, L2.

    own      z = A tokens + a
    pooled   n = sum_u w_u ReLU(Q ReLU(z_u) + q), w the neighbours' shares of the walks' visits
    joined   h = ReLU(W [ReLU(z); n] + w), L2
    out      G2 ReLU(G1 h + g) + S z, L2

    S z is not part of PinSage. It begins strong, and A and S preserve angles: training adjusts the
    geometry of the pictures, which a query tower learns easily, instead of replacing it.

    A pin without neighbours has n = 0; training hides some pins' neighbours, so that z alone
    suffices.
    """

    def __init__(self, vocabulary: int, dims: Mapping[str, int], dim: int, seed: int) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.tokens = ItemTokens(vocabulary, 1, dims, WIDTH, seed)
            self.own = nn.Linear(len(self.tokens) * WIDTH, HIDDEN)
            self.neighbour = nn.Linear(HIDDEN, HIDDEN)
            self.join = nn.Linear(2 * HIDDEN, HIDDEN)
            self.out = nn.Sequential(nn.Linear(HIDDEN, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, dim))
            self.skip = nn.Linear(HIDDEN, dim, bias=False)
            nn.init.orthogonal_(self.own.weight)
            nn.init.orthogonal_(self.skip.weight, SKIP)
        self.log_temperature = nn.Parameter(torch.tensor(math.log(START_TEMPERATURE)))

    def selves(self, tokens: Tensor) -> Tensor:
        """(n, HIDDEN) the pins' own states z, for (n, m, WIDTH) tokens."""
        return self.own(tokens.flatten(1))

    def messages(self, selves: Tensor) -> Tensor:
        """(n, HIDDEN) the pins' messages to their neighbours."""
        return F.relu(self.neighbour(F.relu(selves)))

    def forward(self, selves: Tensor, pooled: Tensor) -> Tensor:
        """(n, dim) float32 unit rows."""
        joined = F.normalize(F.relu(self.join(torch.cat((F.relu(selves), pooled), 1))), dim=1)
        return F.normalize(self.out(joined) + self.skip(selves), dim=1)


def pool(messages: Tensor, rows: Tensor, weights: Tensor) -> Tensor:
    """Importance pooling: (n, d) sums of weights[i, t] * messages[rows[i, t]].

    Args:
        messages: (u, d). rows: (n, T) int64. weights: (n, T) float32.
    """
    return F.embedding_bag(rows, messages, mode="sum", per_sample_weights=weights)
