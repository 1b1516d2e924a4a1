"""Hash embeddings: each token is a weighted sum of two rows of one small table (§3.4.2)."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from omnisearch.encoders.models.ngrams import Bags
from omnisearch.encoders.models.ragged import Ragged

_PRIME = 2**31 - 1  # above every token id, and a * id stays below 2**63
HASHES = 2
_TOKENS_AT_ONCE = 512  # rows per block of the backward pass on a CPU, to fit in its cache
_TOKENS_ON_GPU = 65_536


class HashEmbedding(nn.Module):
    """Embeds token ids: w[id, 0] * table[h0(id)] + w[id, 1] * table[h1(id)].

    h(i) = ((a * i + b) mod p) mod rows. Gradients of `table` and `weights` are sparse: only rows
    used by the batch are computed and stored.

    Attributes:
        table: (rows, dim).
        weights: (vocabulary, 2), learned.
        a, b: (2,) int64, drawn from the seed and kept in the checkpoint.
    """

    a: Tensor
    b: Tensor

    def __init__(self, vocabulary: int, rows: int, dim: int, seed: int = 0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.table = nn.Parameter(torch.empty(rows, dim))  # counted before it is filled
        with torch.no_grad():
            self.table.normal_(generator=generator).mul_(dim**-0.5)
        self.weights = nn.Parameter(torch.ones(max(vocabulary, 1), HASHES))
        self.register_buffer("a", torch.randint(1, _PRIME, (HASHES,), generator=generator))
        self.register_buffer("b", torch.randint(0, _PRIME, (HASHES,), generator=generator))

    def hashes(self, tokens: Tensor) -> Tensor:
        """(t, 2) int64 rows of the table for (t,) int64 token ids."""
        mixed = (tokens[:, None] * self.a + self.b) % _PRIME
        return mixed % self.table.shape[0]

    def forward(self, tokens: Tensor) -> Tensor:
        """(t, dim) embeddings of (t,) int64 token ids, which must be distinct."""
        return _HashRows.apply(self.table, self.weights, tokens, self.hashes(tokens))


class _HashRows(torch.autograd.Function):
    """The weighted sum above, with sparse gradients."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, weights: Tensor, tokens: Tensor, hashes: Tensor) -> Tensor:
        used = weights.index_select(0, tokens)
        ctx.save_for_backward(table, used, tokens, hashes)
        ctx.vocabulary = weights.shape[0]
        return F.embedding_bag(hashes, table, mode="sum", per_sample_weights=used)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        table, used, tokens, hashes = ctx.saved_tensors
        gradient = gradients[0].contiguous()
        in_order, order = hashes.flatten().sort(stable=True)
        rows, counts = torch.unique_consecutive(in_order, return_counts=True)
        values = F.embedding_bag(
            torch.div(order, HASHES, rounding_mode="floor"),
            gradient,
            counts.cumsum(0) - counts,
            mode="sum",
            per_sample_weights=used.flatten()[order],
        )
        to_table = torch.sparse_coo_tensor(
            rows[None], values, table.shape, is_coalesced=True, check_invariants=False
        )
        size = _TOKENS_AT_ONCE if table.is_cpu else _TOKENS_ON_GPU
        to_used = torch.cat(
            [
                torch.einsum("td,thd->th", part, F.embedding(where, table))
                for part, where in zip(gradient.split(size), hashes.split(size), strict=True)
            ]
        )
        # Bags list distinct tokens in ascending order, so this is already coalesced.
        to_weights = torch.sparse_coo_tensor(
            tokens[None],
            to_used,
            (ctx.vocabulary, HASHES),
            is_coalesced=True,
            check_invariants=False,
        )
        return to_table, to_weights, None, None


class Levels:
    """The levels of `Bags` as tensors, with their transposes for the backward pass."""

    def __init__(self, bags: Bags, *, backward: bool) -> None:
        self.tokens = torch.from_numpy(bags.tokens)
        self.levels = [
            (_tensors(level), _tensors(level.transposed(columns)) if backward else None)
            for level, columns in zip(bags.levels, bags.columns, strict=True)
        ]

    def to(self, device: torch.device) -> Levels:
        """A copy on a device; pinned memory is copied asynchronously."""
        return (
            self if device.type == "cpu" else self._each(lambda t: t.to(device, non_blocking=True))
        )

    def pinned(self) -> Levels:
        """A copy in pinned memory."""
        return self._each(Tensor.pin_memory)

    def _each(self, moved: Callable[[Tensor], Tensor]) -> Levels:
        found = copy(self)
        found.tokens = moved(self.tokens)
        found.levels = [
            tuple(None if pair is None else (moved(pair[0]), moved(pair[1])) for pair in level)  # type: ignore[misc]
            for level in self.levels
        ]
        return found


def _tensors(ragged: Ragged) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(ragged.flat), torch.from_numpy(ragged.offsets)


def sum_bags(embedding: HashEmbedding, levels: Levels) -> Tensor:
    """(n, dim) sums of the embeddings of all tokens of each item."""
    rows = embedding(levels.tokens)
    for forward, backward in reversed(levels.levels):
        rows = _SumRows.apply(rows, forward, backward)
    return rows


class _SumRows(torch.autograd.Function):
    """Row i of the result is the sum of the rows that a Ragged lists in its row i.

    Forward and backward are one `embedding_bag` call each, the second on the transpose: on a CPU
    several times faster than the scattered additions of `embedding_bag`'s own backward.
    """

    @staticmethod
    def forward(
        ctx: Any,
        rows: Tensor,
        forward: tuple[Tensor, Tensor],
        backward: tuple[Tensor, Tensor] | None,
    ) -> Tensor:
        ctx.transposed = backward
        return _sum(rows, *forward)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        if ctx.transposed is None:
            raise RuntimeError("These levels were made without transposes (backward=False).")
        return _sum(gradients[0].contiguous(), *ctx.transposed), None, None


def _sum(rows: Tensor, indices: Tensor, offsets: Tensor) -> Tensor:
    if not len(indices):
        return rows.new_zeros(len(offsets) - 1, rows.shape[1])
    return F.embedding_bag(indices, rows, offsets, mode="sum", include_last_offset=True)
