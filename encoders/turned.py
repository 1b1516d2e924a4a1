"""The last layer of both towers: trained in one basis, read in another."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class TurnedLinear(nn.Linear):
    """A linear layer and a fixed rotation of what it gives.

    Adam and its kin rescale each number of a gradient on its own, so how fast a layer learns
    depends on the basis it is written in. A warm start is written in principal directions, where
    it learns best, and is read where embeddings that exist already lie (`encoders.align`). Prefixes
    of shorter sizes are those of y @ turn, the vectors from before the turn.

    Attributes:
        turn: (out, out), its rows orthonormal; the identity unless it is set. Not trained.
    """

    turn: Tensor

    def __init__(self, size_in: int, size_out: int) -> None:
        super().__init__(size_in, size_out)
        self.register_buffer("turn", torch.eye(size_out))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(super().forward(x), self.turn)
