"""The multi-task sampled softmax loss with logQ correction (§3.5)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Sampling:
    """How the candidates of one task's loss were sampled.

    The loss covers b pairs, or only the r of them that this process computes (`own`); the
    positives of all b are candidates in either case, and r is b if `own` is None.

    Attributes:
        log_positive: (r,) log P(p | q) of each row.
        log_in_batch: (b,) log P(n) of each pair's entity as a negative of other rows.
        log_random: (m,) log P(n) of the random negatives.
        mask_in_batch: (r, b) bool, true where column j is not a negative of row i; a row's own
            positive is ignored.
        mask_random: (r, m) bool, the same for the random negatives.
        valid: (b,) bool, or None for all: pairs whose entity has a vector in this task's space.
        own: (r,) int64 positions of the rows in the pairs, or None for all in order.
    """

    log_positive: Tensor
    log_in_batch: Tensor
    log_random: Tensor
    mask_in_batch: Tensor
    mask_random: Tensor
    valid: Tensor | None = None
    own: Tensor | None = None


def sampled_softmax(
    queries: Tensor,
    positives: Tensor,
    negatives: Tensor,
    temperature: Tensor,
    sampling: Sampling,
) -> Tensor:
    """The in-batch term plus the random-negative term (formulas 2 to 5), averaged over the pairs.

    If only some rows are computed, the result is their share of that average.

    Logits are cosines over the temperature, minus log P(p | q) for the positive and log P(n) for
    negatives. The positive is in the denominator of both terms.

    Args:
        queries: (r, d) unit rows.
        positives: (b, d) unit rows.
        negatives: (m, d) unit rows; if m is 0, that term is 0.
    """
    rows = torch.arange(len(queries), device=queries.device)
    own = rows if sampling.own is None else sampling.own
    cosines = queries @ positives.T
    positive = cosines[rows, own] / temperature - sampling.log_positive
    in_batch = cosines / temperature - sampling.log_in_batch
    in_batch = in_batch.masked_fill(sampling.mask_in_batch, -torch.inf)
    in_batch = in_batch.index_put((rows, own), positive)
    random = queries @ negatives.T / temperature - sampling.log_random
    random = random.masked_fill(sampling.mask_random, -torch.inf)
    losses = in_batch.logsumexp(1) - positive
    losses = losses + torch.cat((positive[:, None], random), 1).logsumexp(1) - positive
    if sampling.valid is None:
        return losses.sum() / len(positives)
    return (losses * sampling.valid[own]).sum() / sampling.valid.sum().clamp(min=1)


def nested_loss(
    queries: Tensor,
    positives: Tensor,
    negatives: Tensor,
    temperature: Tensor,
    sampling: Sampling,
    sizes: Mapping[int, float],
) -> Tensor:
    """The weighted sum of `sampled_softmax` over prefixes of the vectors.

    `sizes` maps prefix lengths to weights; each prefix is L2-normalised again.
    """
    total = queries.new_zeros(())
    for size, weight in sizes.items():
        source, target, random = (
            F.normalize(part[:, :size], dim=1) for part in (queries, positives, negatives)
        )
        total = total + weight * sampled_softmax(source, target, random, temperature, sampling)
    return total


def false_negatives(
    queries: Tensor, entities: Tensor, candidates: Tensor, own: Tensor | None = None
) -> Tensor:
    """(r, m) bool: which candidates are not negatives of which rows.

    A candidate is masked if it is the row's own positive or another positive of the same query in
    the batch.

    Args:
        queries, entities: (b,) int64 query and entity numbers of each pair.
        candidates: (m,) int64 entity numbers.
        own: (r,) int64 positions of the rows in the pairs, or None for all in order.
    """
    _, query = queries.unique(return_inverse=True)
    known, entity = entities.unique(return_inverse=True)
    positive = queries.new_zeros((int(query.max()) + 1, len(known) + 1), dtype=torch.bool)
    positive[query, entity] = True
    column = torch.searchsorted(known, candidates)
    hit = known[column.clamp(max=len(known) - 1)] == candidates
    column = torch.where(hit, column, len(known))  # the last column is all False
    return positive[query if own is None else query[own]][:, column]
