"""One training step: encode a batch, sum the tasks' losses, compute gradients.

A batch's items and queries are encoded in chunks, shared among the processes; the loss gives the
gradients of the vectors, which are backpropagated through each chunk's graph. With cached gradients
the chunks are encoded twice: first without a graph, then one by one with it. Each chunk seeds
dropout from (seed, step, chunk), so both passes drop the same units, and the gradients equal those
of plain backpropagation for any number of processes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from omnisearch.data.catalogue.pseudo_queries import PSEUDO
from omnisearch.data.catalogue.spaces import spaces_of
from omnisearch.encoders.config import Config
from omnisearch.encoders.models.model import OmniModel
from omnisearch.encoders.models.query import QueryChunk
from omnisearch.encoders.training.batches import Batch, Part
from omnisearch.encoders.training.chunks import ItemChunk
from omnisearch.encoders.training.dataset import Items
from omnisearch.encoders.training.logq import StreamCounts
from omnisearch.encoders.training.loss import Sampling, false_negatives, nested_loss
from omnisearch.encoders.training.parallel import ALONE, Group

# A chunk's positions in the batch's vectors, and the function that encodes it.
Encoder = tuple[Tensor, Callable[[], Tensor]]


@dataclass(frozen=True)
class Corrections:
    """log P(p | q) and log P(n) of a part's pairs, (b,) float32 each."""

    log_positive: np.ndarray
    log_in_batch: np.ndarray


def count_and_correct(counts: StreamCounts, batch: Batch, datasets: list[str]) -> list[Corrections]:
    """Count the batch's pairs, then look up their probabilities; one entry per part."""
    found = []
    for part in batch.parts:
        number = datasets.index(part.dataset)
        counts.add(number, part.query_rows, part.target_rows)
        pair = counts.log_probabilities(number, part.query_rows, part.target_rows)
        found.append(Corrections(*pair))
    return found


@dataclass(frozen=True)
class Stepper:
    """The state that steps share.

    Attributes:
        bf16: whether the encoders compute in bfloat16 (the loss never does).
        group: the processes that share the step; all get the same gradients and losses.
    """

    model: OmniModel
    items: Items
    config: Config
    device: torch.device
    bf16: bool
    group: Group = ALONE

    def backward(self, batch: Batch, corrections: list[Corrections]) -> dict[str, float]:
        """Set the parameters' gradients to the batch's; returns each task's loss and 'loss'."""
        self.model.zero_grad(set_to_none=True)
        losses = self._backward(batch, corrections)
        for parameter in self.model.item.hash.parameters():
            # With one chunk the rows are sorted and distinct, but accumulation loses the flag.
            if parameter.grad is not None and len(batch.item_chunks) == 1:
                parameter.grad._coalesced_(True)  # type: ignore[attr-defined]
        self.group.sum_gradients(self.model.parameters())
        return losses

    def _backward(self, batch: Batch, corrections: list[Corrections]) -> dict[str, float]:
        sides = (self._query_encoders(batch), self._item_encoders(batch))
        counts = (batch.query_count, len(batch.item_rows))
        cached = self.config.cached_gradients
        with torch.set_grad_enabled(not cached):
            kept = [[encode() for _, encode in encoders] for encoders in sides]
        leaves = [
            self._whole(encoders, vectors, count)
            for encoders, vectors, count in zip(sides, kept, counts, strict=True)
        ]
        total, losses = self.loss(batch, leaves[0], leaves[1], corrections)
        total.backward()
        for leaf, encoders, vectors in zip(leaves, sides, kept, strict=True):
            if leaf.grad is None:
                continue
            self.group.sum_(leaf.grad)
            for number, (places, encode) in enumerate(encoders):
                found = encode() if cached else vectors[number]
                found.backward(leaf.grad[places])
        return losses

    def _whole(self, encoders: list[Encoder], vectors: list[Tensor], count: int) -> Tensor:
        """(count, dim) vectors of one side from all processes, a leaf tensor for the loss."""
        leaf = torch.zeros(count, self.config.dim, device=self.device)
        for (places, _), part in zip(encoders, vectors, strict=True):
            leaf[places] = part.detach()
        return self.group.sum_(leaf).requires_grad_()

    def loss(
        self, batch: Batch, queries: Tensor, items: Tensor, corrections: list[Corrections]
    ) -> tuple[Tensor, dict[str, float]]:
        """The sum over the tasks (formula 6), for all query and item vectors of the batch.

        Returns:
            The loss of this process' rows, for backpropagation; and the losses over all rows.
        """
        # A rotation changes no cosine of whole vectors; prefixes are taken before it.
        unrotated = self.model.query.projection.unrotated
        own_queries, own_items = unrotated(queries), unrotated(items)
        total = queries.new_zeros(())
        losses: dict[str, Tensor] = {}
        for part, correction in zip(batch.parts, corrections, strict=True):
            own = self.group.rows(len(part.queries))
            sampling = self._sampling(part, correction, own)
            encoded = own_queries if part.entity == "query" else own_items
            if part.dataset.startswith(PSEUDO):
                # Matching an item to its own words is too easy to teach the item encoder.
                encoded = encoded.detach()
            asked = self._tensor(part.queries[own])
            if self.config.weight_learned:
                losses[part.dataset] = nested_loss(
                    own_queries[asked],
                    encoded[self._tensor(part.targets)],
                    encoded[self._tensor(part.negatives)],
                    self.model.temperature(part.dataset),
                    sampling,
                    self.config.sizes,
                )
                total = total + self.config.weight_learned * losses[part.dataset]
            for space in spaces_of(part.entity) if self.config.weight_compat else ():
                if space in self.model.compat:
                    task = f"{part.dataset}/{space}"
                    losses[task] = self._compat_loss(part, queries[asked], sampling, task, space)
                    total = total + self.config.weight_compat * losses[task]
        figures = self.group.sum_(torch.stack([total, *losses.values()]).detach()).tolist()
        return total, dict(zip(("loss", *losses), figures, strict=True))

    def _compat_loss(
        self, part: Part, queries: Tensor, sampling: Sampling, task: str, space: str
    ) -> Tensor:
        """Loss against pre-existing vectors, full size only: their prefixes are meaningless."""
        feature = self.items.features[part.entity][space]
        positives, has = self.items.gather_one(part.target_rows, space, feature.dim)
        negatives, has_random = self.items.gather_one(part.negative_rows, space, feature.dim)
        encoder = self.model.compat[space]
        valid = self._tensor(has)
        masked = Sampling(
            sampling.log_positive,
            sampling.log_in_batch,
            sampling.log_random,
            sampling.mask_in_batch | ~valid[None, :],
            sampling.mask_random | ~self._tensor(has_random)[None, :],
            valid,
            sampling.own,
        )
        return nested_loss(
            queries,
            encoder(self._tensor(positives)),
            encoder(self._tensor(negatives)),
            self.model.temperature(task),
            masked,
            {self.config.dim: 1.0},
        )

    def _sampling(self, part: Part, correction: Corrections, own: np.ndarray) -> Sampling:
        queries, targets = self._tensor(part.query_rows), self._tensor(part.target_rows)
        random, rows = self._tensor(part.negative_rows), self._tensor(own)
        return Sampling(
            self._tensor(correction.log_positive[own]),
            self._tensor(correction.log_in_batch),
            torch.full((len(random),), part.log_random, device=self.device),
            false_negatives(queries, targets, targets, rows),
            false_negatives(queries, targets, random, rows),
            own=rows,
        )

    def _tensor(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(array).to(self.device)

    def _query_encoders(self, batch: Batch) -> list[Encoder]:
        encoders: list[Encoder] = []
        for chunk in batch.query_chunks:

            def encode(chunk: QueryChunk = chunk) -> Tensor:
                torch.manual_seed(chunk_seed(self.config.seed, batch.step, chunk.number))
                with self._autocast():
                    return self.model.query(self._moved(chunk.input_ids), self._moved(chunk.mask))

            encoders.append((self._moved(chunk.places), encode))
        return encoders

    def _item_encoders(self, batch: Batch) -> list[Encoder]:
        encoders: list[Encoder] = []
        for chunk in batch.item_chunks:

            def encode(chunk: ItemChunk = chunk) -> Tensor:
                torch.manual_seed(chunk_seed(self.config.seed, batch.step, -1 - chunk.number))
                levels = chunk.levels.to(self.device)
                with self._autocast():
                    return self.model.item(levels, self._moved(chunk.features))

            encoders.append((self._moved(chunk.places), encode))
        return encoders

    def _moved(self, tensor: Tensor) -> Tensor:
        return tensor.to(self.device, non_blocking=True)

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.bf16)


def chunk_seed(seed: int, step: int, chunk: int) -> int:
    """A seed for one chunk's dropout, different for each chunk of each step."""
    words = np.random.SeedSequence([seed, step, chunk % 2**32]).generate_state(2)
    return int(words[0]) << 31 | int(words[1]) >> 1
