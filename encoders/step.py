"""One training step: encode a batch, sum the tasks' losses, leave gradients.

With cached gradients a batch's items and queries are encoded in chunks twice: first without a
graph, to get all vectors and from the loss their gradients; then chunk by chunk with a graph, into
which those gradients are fed. Each chunk seeds dropout from (seed, step, chunk) before it is
encoded, so both passes drop the same units and the gradients equal those of the plain way.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from encoders.batches import Batch, ItemChunk, Part, QueryChunk
from encoders.config import Config
from encoders.dataset import Items
from encoders.logq import StreamCounts
from encoders.loss import Sampling, false_negatives, nested_loss
from encoders.model import COMPAT_FEATURES, OmniModel

Encode = Callable[[], Tensor]


@dataclass(frozen=True)
class Corrections:
    """log P(p | q) and log P(n) of a part's pairs, (b,) float32 each."""

    log_positive: np.ndarray
    log_in_batch: np.ndarray


def count_and_correct(counts: StreamCounts, batch: Batch, datasets: list[str]) -> list[Corrections]:
    """Count the batch's pairs, then read off their probabilities, one entry a part."""
    found = []
    for part in batch.parts:
        number = datasets.index(part.dataset)
        counts.add(number, part.query_rows, part.target_rows)
        pair = counts.log_probabilities(number, part.query_rows, part.target_rows)
        found.append(Corrections(*pair))
    return found


@dataclass(frozen=True)
class Stepper:
    """What steps share.

    Attributes:
        bf16: whether the encoders compute in bfloat16 (the loss never does).
    """

    model: OmniModel
    items: Items
    config: Config
    device: torch.device
    bf16: bool

    def backward(self, batch: Batch, corrections: list[Corrections]) -> dict[str, float]:
        """Set the parameters' gradients to the batch's; returns each task's loss and 'loss'."""
        self.model.zero_grad(set_to_none=True)
        losses = self._backward(batch, corrections)
        for parameter in self.model.item.hash.parameters():
            # One chunk's rows rise and are all different, but accumulation forgets that it knew.
            if parameter.grad is not None and len(batch.item_chunks) == 1:
                parameter.grad._coalesced_(True)  # type: ignore[attr-defined]
        return losses

    def _backward(self, batch: Batch, corrections: list[Corrections]) -> dict[str, float]:
        queries, items = self._query_encoders(batch), self._item_encoders(batch)
        if not self.config.cached_gradients:
            total, losses = self.loss(
                batch, self._joined(queries, batch), self._stacked(items), corrections
            )
            total.backward()
            return losses
        with torch.no_grad():
            leaves = [self._joined(queries, batch), self._stacked(items)]
        for leaf in leaves:
            leaf.requires_grad_()
        total, losses = self.loss(batch, leaves[0], leaves[1], corrections)
        total.backward()
        for (places, encode), _ in zip(queries, batch.query_chunks, strict=True):
            if leaves[0].grad is not None:
                encode().backward(leaves[0].grad[places])
        at = 0
        for encode in items:
            vectors_of_chunk = encode()
            stop = at + len(vectors_of_chunk)
            if leaves[1].grad is not None:
                vectors_of_chunk.backward(leaves[1].grad[at:stop])
            at = stop
        return losses

    def loss(
        self, batch: Batch, queries: Tensor, items: Tensor, corrections: list[Corrections]
    ) -> tuple[Tensor, dict[str, float]]:
        """The sum over the tasks (formula 6), for all query and item vectors of the batch."""
        total = queries.new_zeros(())
        losses: dict[str, Tensor] = {}
        for part, correction in zip(batch.parts, corrections, strict=True):
            sampling = self._sampling(part, correction)
            encoded = queries if part.entity == "query" else items
            source = queries[self._tensor(part.queries)]
            if self.config.weight_learned:
                losses[part.dataset] = nested_loss(
                    source,
                    encoded[self._tensor(part.targets)],
                    encoded[self._tensor(part.negatives)],
                    self.model.temperature(part.dataset),
                    sampling,
                    self.config.sizes,
                )
                total = total + self.config.weight_learned * losses[part.dataset]
            space = COMPAT_FEATURES.get(part.entity, "")
            if self.config.weight_compat and space in self.model.compat:
                task = f"{part.dataset}/{space}"
                losses[task] = self._compat_loss(part, source, sampling, task, space)
                total = total + self.config.weight_compat * losses[task]
        return total, {"loss": total.item()} | {task: loss.item() for task, loss in losses.items()}

    def _compat_loss(
        self, part: Part, queries: Tensor, sampling: Sampling, task: str, space: str
    ) -> Tensor:
        """Loss against pre-existing vectors, whole size only: their prefixes mean nothing."""
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
        )
        return nested_loss(
            queries,
            encoder(self._tensor(positives)),
            encoder(self._tensor(negatives)),
            self.model.temperature(task),
            masked,
            {self.config.dim: 1.0},
        )

    def _sampling(self, part: Part, correction: Corrections) -> Sampling:
        queries, targets = self._tensor(part.query_rows), self._tensor(part.target_rows)
        random = self._tensor(part.negative_rows)
        return Sampling(
            self._tensor(correction.log_positive),
            self._tensor(correction.log_in_batch),
            torch.full((len(random),), part.log_random, device=self.device),
            false_negatives(queries, targets, targets),
            false_negatives(queries, targets, random),
        )

    def _tensor(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(array).to(self.device)

    def _query_encoders(self, batch: Batch) -> list[tuple[Tensor, Encode]]:
        encoders: list[tuple[Tensor, Encode]] = []
        for number, chunk in enumerate(batch.query_chunks):

            def encode(chunk: QueryChunk = chunk, number: int = number) -> Tensor:
                torch.manual_seed(chunk_seed(self.config.seed, batch.step, number))
                with self._autocast():
                    return self.model.query(
                        chunk.input_ids.to(self.device), chunk.mask.to(self.device)
                    )

            encoders.append((chunk.places.to(self.device), encode))
        return encoders

    def _item_encoders(self, batch: Batch) -> list[Encode]:
        encoders: list[Encode] = []
        for number, chunk in enumerate(batch.item_chunks):

            def encode(chunk: ItemChunk = chunk, number: int = number) -> Tensor:
                torch.manual_seed(chunk_seed(self.config.seed, batch.step, -1 - number))
                levels, features = chunk.levels.to(self.device), chunk.features.to(self.device)
                with self._autocast():
                    return self.model.item(levels, features)

            encoders.append(encode)
        return encoders

    def _joined(self, encoders: list[tuple[Tensor, Encode]], batch: Batch) -> Tensor:
        order = torch.cat([places for places, _ in encoders])
        vectors = torch.cat([encode() for _, encode in encoders])
        return vectors[order.argsort()]

    def _stacked(self, encoders: list[Encode]) -> Tensor:
        if not encoders:
            return torch.zeros(0, self.config.dim, device=self.device)
        return torch.cat([encode() for encode in encoders])

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.bf16)


def chunk_seed(seed: int, step: int, chunk: int) -> int:
    """A seed for one chunk's dropout, different for each chunk of each step."""
    words = np.random.SeedSequence([seed, step, chunk % 2**32]).generate_state(2)
    return int(words[0]) << 31 | int(words[1]) >> 1


def takes_bf16(precision: str, device: torch.device) -> bool:
    """Whether to compute in bfloat16: where asked for, or where the device has it."""
    if precision != "auto":
        return precision == "bf16"
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    able = torch.cpu.get_capabilities()
    return bool(able.get("avx512_bf16") or able.get("amx_bf16"))
