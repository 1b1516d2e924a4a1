"""The last layer of both towers: trained in one basis, read in another."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class RotatedLinear(nn.Linear):
    """A linear layer and a fixed rotation of what it gives.

    Adam and its kin rescale each number of a gradient on its own, so how fast a layer learns
    depends on the basis it is written in. A warm start is written in principal directions, and is
    read where embeddings that exist already lie (`omnisearch.encoders.training.align`).

    Attributes:
        rotation: (out, out), its rows orthonormal; the identity unless it is set. Not trained.
        folded: whether the weights are rotated themselves; for inference.
    """

    rotation: Tensor

    def __init__(self, size_in: int, size_out: int) -> None:
        super().__init__(size_in, size_out)
        self.register_buffer("rotation", torch.eye(size_out))
        self.folded = False

    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        return y if self.folded else F.linear(y, self.rotation)

    def unrotated(self, y: Tensor) -> Tensor:
        """(n, out) outputs as they were before the rotation: there shorter prefixes are trained."""
        return y @ self.rotation

    @property
    def is_rotated(self) -> bool:
        identity = torch.eye(len(self.rotation), device=self.rotation.device)
        return not torch.equal(self.rotation, identity)

    @torch.no_grad()
    def fold(self) -> None:
        """Rotate the weights themselves: the same outputs by one product."""
        if not self.folded:
            self.weight.copy_(self.rotation @ self.weight)
            self.bias.copy_(self.rotation @ self.bias)
            self.folded = True
