"""Text and features of an item as tokens of one width: the input of both graph networks."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from omnisearch.encoders.models.hash_embedding import HashEmbedding, sum_bags
from omnisearch.enrichment.graph.network_inputs import Batch


class ItemTokens(nn.Module):
    """One token per modality of text and per continuous feature.

    A text's token is the sum of its n-grams' hash embeddings (§3.4.2), then LayerNorm; a feature's
    is a linear map of the standardised feature. A learned vector of their kind is added to both;
    absent ones are rows of zeros.

    Attributes:
        modalities: the number of text tokens, m.
        means, scales: (sum of dims,) for standardising features.
    """

    means: Tensor
    scales: Tensor

    def __init__(
        self, vocabulary: int, modalities: int, dims: Mapping[str, int], width: int, seed: int
    ) -> None:
        super().__init__()
        self.modalities, self.dims, self.width = modalities, dict(dims), width
        self.seed = seed
        rows = min(30_000, max(1_000, vocabulary))
        self.hash = HashEmbedding(vocabulary, rows, width, seed)
        self.norm = nn.LayerNorm(width)
        linear = {name: nn.Linear(dim, width) for name, dim in dims.items()}
        for layer in linear.values():
            nn.init.orthogonal_(layer.weight)
        self.linear = nn.ModuleDict(linear)
        self.kind = nn.Parameter(torch.zeros(len(self), width))
        self.register_buffer("means", torch.zeros(sum(dims.values())))
        self.register_buffer("scales", torch.ones(sum(dims.values())))

    def __len__(self) -> int:
        return self.modalities + len(self.dims)

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """(n, m + k, width) tokens and (n, m + k) bool: which are present."""
        sums = sum_bags(self.hash, batch.levels).view(-1, self.modalities, self.width)
        present = torch.cat((sums.detach().ne(0).any(2), batch.present), 1)
        parts = [self.norm(sums)]
        for name, mean, scale in zip(self.dims, *self._moments(), strict=True):
            standard = (batch.features[name] - mean) / scale
            parts.append(self.linear[name](standard)[:, None])
        return (torch.cat(parts, 1) + self.kind) * present[:, :, None], present

    def _moments(self) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        sizes = list(self.dims.values())
        return self.means.split(sizes), self.scales.split(sizes)

    def standardise(self, moments: Mapping[str, tuple[Tensor, Tensor]]) -> None:
        """Set the (mean, scale) of each feature, as returned by `inputs.moments`."""
        if moments:
            self.means.copy_(torch.cat([moments[name][0] for name in self.dims]))
            self.scales.copy_(torch.cat([moments[name][1] for name in self.dims]))
