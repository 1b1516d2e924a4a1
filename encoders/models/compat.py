"""Compatibility encoders for embeddings that already exist, such as PinSage (§3.4.3)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class CompatEncoder(nn.Module):
    """Pre-existing vectors (n, dim_in) → unit vectors (n, dim).

    If the dimensions are equal nothing is learned here: only the query encoder adapts, and an
    existing index of the embedding can be used unchanged. Otherwise it is one linear layer.
    """

    def __init__(self, dim_in: int, dim: int) -> None:
        super().__init__()
        self.dim_in = dim_in
        self.projection = None if dim_in == dim else nn.Linear(dim_in, dim, bias=False)

    def forward(self, vectors: Tensor) -> Tensor:
        mapped = vectors if self.projection is None else self.projection(vectors)
        return F.normalize(mapped.float(), dim=1)
