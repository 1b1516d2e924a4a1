"""The learned item encoder, one module for both pins and products (§3.4.2, Figure 3)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from omnisearch.encoders.config import Config
from omnisearch.encoders.models.hash_embedding import HashEmbedding, Levels, sum_bags
from omnisearch.encoders.models.rotated import RotatedLinear


class ItemEncoder(nn.Module):
    """Text n-grams and continuous features → unit vectors.

    The summed hash embeddings go through a LayerNorm, are concatenated with the continuous
    features (sorted by name, zeros where absent, each scaled to a root mean square of 1), and go
    through a three-layer MLP: Linear, ReLU, LayerNorm, twice, then Linear and L2 normalisation.

    Attributes:
        feature_dims: continuous feature → dimension, sorted by name.
        feature_scale: (sum of dims,) factors that scale each feature to a root mean square of 1.
    """

    feature_scale: Tensor

    def __init__(self, config: Config, vocabulary: int, feature_dims: Mapping[str, int]) -> None:
        super().__init__()
        self.feature_dims = dict(sorted(feature_dims.items()))
        width = sum(self.feature_dims.values())
        self.hash = HashEmbedding(vocabulary, config.table_rows, config.table_dim, config.seed)
        self.text_norm = nn.LayerNorm(config.table_dim)
        self.mlp = nn.Sequential(
            nn.Linear(config.table_dim + width, config.item_hidden),
            nn.ReLU(),
            nn.LayerNorm(config.item_hidden),
            nn.Linear(config.item_hidden, config.item_hidden),
            nn.ReLU(),
            nn.LayerNorm(config.item_hidden),
            RotatedLinear(config.item_hidden, config.dim),
        )
        self.register_buffer("feature_scale", torch.ones(width))

    def forward(self, levels: Levels, features: Tensor) -> Tensor:
        """(n, dim) float32 unit rows.

        Args:
            levels: the text of n items.
            features: (n, sum of feature_dims) float32, zeros where absent.
        """
        text = self.text_norm(sum_bags(self.hash, levels))
        mixed = self.mlp(torch.cat((text, features * self.feature_scale), dim=1))
        return F.normalize(mixed.float(), dim=1)

    def inputs_of(self, feature: str) -> slice:
        """The slice of a continuous feature in the MLP's inputs."""
        start = self.text_norm.normalized_shape[0]
        for name, dim in self.feature_dims.items():
            if name == feature:
                return slice(start, start + dim)
            start += dim
        raise KeyError(feature)
