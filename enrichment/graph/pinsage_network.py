"""PinSage's network (§3.3; Ying et al., KDD '18, §3.2): a pin from itself and its neighbours."""

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


class Convolution(nn.Module):
    """A pin's state s and its neighbours' states s_u, convolved with importance pooling.

    pooled   n = sum_u w_u ReLU(Q s_u + q), w the neighbours' shares of the walks' visits
    joined   ReLU(W [s; n] + w), L2
    """

    def __init__(self) -> None:
        super().__init__()
        self.neighbour = nn.Linear(HIDDEN, HIDDEN)
        self.join = nn.Linear(2 * HIDDEN, HIDDEN)

    def messages(self, states: Tensor) -> Tensor:
        """(n, HIDDEN) the pins' messages to their neighbours."""
        return F.relu(self.neighbour(states))

    def forward(self, states: Tensor, pooled: Tensor) -> Tensor:
        """(n, HIDDEN) the next states, unit rows; `pooled` (n, HIDDEN) are of `pool`."""
        return F.normalize(F.relu(self.join(torch.cat((states, pooled), 1))), dim=1)


class PinSage(nn.Module):
    """One or two graph convolutions, then two layers, L2.

    own      z = A tokens + a
    state    h = ReLU(z), then convolved once or twice: the second convolution reads the neighbours'
             states as the first has left them, and so pins two neighbourhoods away
    out      G2 ReLU(G1 h + g) + S z, L2

    S z is not part of PinSage. It begins strong, and A and S preserve angles: training adjusts the
    geometry of the pictures, which a query tower learns easily, instead of replacing it.

    A pin without neighbours has n = 0; training hides some pins' neighbours, so that z alone
    suffices.
    """

    def __init__(
        self, vocabulary: int, dims: Mapping[str, int], dim: int, seed: int, convolutions: int
    ) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.tokens = ItemTokens(vocabulary, 1, dims, WIDTH, seed)
            self.own = nn.Linear(len(self.tokens) * WIDTH, HIDDEN)
            self.convolutions = nn.ModuleList(Convolution() for _ in range(convolutions))
            self.out = nn.Sequential(nn.Linear(HIDDEN, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, dim))
            self.skip = nn.Linear(HIDDEN, dim, bias=False)
            nn.init.orthogonal_(self.own.weight)
            nn.init.orthogonal_(self.skip.weight, SKIP)
        self.log_temperature = nn.Parameter(torch.tensor(math.log(START_TEMPERATURE)))

    @property
    def layers(self) -> list[Convolution]:
        """The convolutions in their order."""
        return [layer for layer in self.convolutions if isinstance(layer, Convolution)]

    def selves(self, tokens: Tensor) -> Tensor:
        """(n, HIDDEN) the pins without their neighbours, z, for (n, m, WIDTH) tokens."""
        return self.own(tokens.flatten(1))

    def forward(self, selves: Tensor, states: Tensor) -> Tensor:
        """(n, dim) float32 unit rows, for (n, HIDDEN) z and (n, HIDDEN) convolved states."""
        return F.normalize(self.out(states) + self.skip(selves), dim=1)


def pool(messages: Tensor, rows: Tensor, weights: Tensor) -> Tensor:
    """Importance pooling: (n, d) sums of weights[i, t] * messages[rows[i, t]].

    Args:
        messages: (u, d). rows: (n, T) int64. weights: (n, T) float32.
    """
    return F.embedding_bag(rows, messages, mode="sum", per_sample_weights=weights)
