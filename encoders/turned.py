"""The last layer of both towers: trained in one basis, read in another."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class TurnedLinear(nn.Linear):
    """A linear layer and a fixed rotation of what it gives.

    Adam and its kin rescale each number of a gradient on its own, so how fast a layer learns
    depends on the basis it is written in. A warm start is written in principal directions, where
    it learns best, and is read where embeddings that exist already lie (`encoders.align`).

    Attributes:
        turn: (out, out), its rows orthonormal; the identity unless it is set. Not trained. None
            once it is folded.
    """

    turn: Tensor | None

    def __init__(self, size_in: int, size_out: int) -> None:
        super().__init__(size_in, size_out)
        self.register_buffer("turn", torch.eye(size_out))

    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        return y if self.turn is None else F.linear(y, self.turn)

    def turned_back(self, y: Tensor) -> Tensor:
        """(n, out) outputs as they were before the turn; prefixes are trained there."""
        return y if self.turn is None else y @ self.turn

    @property
    def is_turned(self) -> bool:
        return self.turn is not None and not torch.equal(
            self.turn, torch.eye(len(self.turn), device=self.turn.device)
        )

    @torch.no_grad()
    def fold(self) -> None:
        """Turn the weights themselves: the same outputs by one product, for inference."""
        if self.turn is not None:
            self.weight.copy_(self.turn @ self.weight)
            self.bias.copy_(self.turn @ self.bias)
            self.turn = None
