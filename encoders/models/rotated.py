"""The last layer of both towers: trained in one basis, used in another."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class RotatedLinear(nn.Linear):
    """A linear layer and a fixed rotation of its outputs.

    Adam and similar optimisers rescale each coordinate of a gradient separately, so how fast a
    layer learns depends on its basis. A warm start trains in principal directions, and the
    rotation aligns the outputs with existing embeddings (`omnisearch.encoders.training.align`).

    Attributes:
        rotation: (out, out) with orthonormal rows; the identity by default. Not trained.
        folded: whether the rotation is folded into the weights, for inference.
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
        """(n, out) outputs before the rotation, whose shorter prefixes are trained."""
        return y @ self.rotation

    @property
    def is_rotated(self) -> bool:
        identity = torch.eye(len(self.rotation), device=self.rotation.device)
        return not torch.equal(self.rotation, identity)

    @torch.no_grad()
    def fold(self) -> None:
        """Fold the rotation into the weights: the same outputs with one product."""
        if not self.folded:
            self.weight.copy_(self.rotation @ self.weight)
            self.bias.copy_(self.rotation @ self.bias)
            self.folded = True
