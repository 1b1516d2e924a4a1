"""ItemSage's network (§3.3; Baltescu et al., KDD '22): a product from its modalities."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from omnisearch.encoders.config import START_TEMPERATURE
from omnisearch.encoders.models.hash_embedding import Levels, sum_bags
from omnisearch.enrichment.graph.item_tokens import ItemTokens

WIDTH, HEADS, LAYERS = 128, 4, 1
TASKS = ("query", "pin", "product")  # compared with products, each with its own temperature


class ItemSage(nn.Module):
    """A transformer over a product's tokens and a CLS token, whose output is the vector.

    The query encoder is small: the sum of the query's n-grams in the same hash embedding,
    LayerNorm, two layers, L2.
    """

    def __init__(
        self, vocabulary: int, modalities: int, dims: Mapping[str, int], dim: int, seed: int
    ) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.tokens = ItemTokens(vocabulary, modalities, dims, WIDTH, seed)
            self.cls = nn.Parameter(torch.randn(WIDTH) * WIDTH**-0.5)
            self.layers = nn.ModuleList(
                nn.TransformerEncoderLayer(
                    WIDTH, HEADS, 2 * WIDTH, dropout=0.0, batch_first=True, norm_first=True
                )
                for _ in range(LAYERS)
            )
            self.norm = nn.LayerNorm(WIDTH)
            self.out = nn.Linear(WIDTH, dim)
            self.query = nn.Sequential(
                nn.LayerNorm(WIDTH), nn.Linear(WIDTH, dim), nn.ReLU(), nn.Linear(dim, dim)
            )
        start = torch.full((len(TASKS),), math.log(START_TEMPERATURE))
        self.log_temperature = nn.Parameter(start)

    def forward(self, tokens: Tensor, present: Tensor) -> Tensor:
        """(n, dim) float32 unit rows.

        Args:
            tokens: (n, m + k, WIDTH). present: (n, m + k) bool; absent ones are not attended to.
        """
        rows = torch.cat((self.cls.expand(len(tokens), 1, -1), tokens), 1)
        absent = torch.cat((present.new_zeros(len(present), 1), ~present), 1)
        for layer in self.layers:
            rows = layer(rows, src_key_padding_mask=absent)
        return F.normalize(self.out(self.norm(rows[:, 0])), dim=1)

    def queries(self, levels: Levels) -> Tensor:
        """(n, dim) float32 unit rows for the texts of n queries."""
        return F.normalize(self.query(sum_bags(self.tokens.hash, levels)), dim=1)
