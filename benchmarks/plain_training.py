"""A straightforward training loop with the same model, batches and loss.

Each step tokenises its items' strings in Python and its queries with the transformers tokeniser,
embeds n-grams with `F.embedding_bag` and dense gradients, encodes everything at once, and updates
everything with AdamW. It is not slowed down on purpose; `train.py` measures it.
"""

from __future__ import annotations

import time
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from synthetic_catalogue import Synthetic
from torch import Tensor

from omnisearch.data.catalogue.spaces import spaces_of
from omnisearch.encoders.config import Config
from omnisearch.encoders.training.batches import Batch, Part
from omnisearch.encoders.training.logq import StreamCounts


class Step(NamedTuple):
    """A step's loss, its seconds, and its processor seconds."""

    loss: float
    seconds: float
    processor: float


class PlainTraining:
    """One training step per call."""

    def __init__(self, made: Synthetic, config: Config, device: torch.device) -> None:
        self.made, self.config, self.device = made, config, device
        self.model = made.model.to(device).train()
        self.optimiser = torch.optim.AdamW(self.model.parameters(), lr=config.lr)
        self.counts = StreamCounts(len(made.data.pairs), config.sketch_bits)
        self.strings = [
            [text for _, text in strings]
            for entries in made.texts.values()
            for _, strings in entries
        ]
        self.queries = np.array(made.data.queries, dtype=object)

    def learn(self, batch: Batch) -> Step:
        """A step over a batch's pairs and random negatives."""
        began, busy = time.perf_counter(), time.process_time()
        self.optimiser.zero_grad()
        rows = [part.query_rows for part in batch.parts]
        for part in batch.parts:
            if part.entity == "query":
                rows += [part.target_rows, part.negative_rows]
        unique = np.unique(np.concatenate(rows))
        queries = self._encode_queries(list(self.queries[unique]))
        items = self._encode_items(batch.item_rows)
        loss = torch.stack([self._losses(part, queries, items) for part in batch.parts]).sum()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip)
        self.optimiser.step()
        return Step(loss.item(), time.perf_counter() - began, time.process_time() - busy)

    def _encode_queries(self, texts: list[str]) -> Tensor:
        found = self.made.tokeniser.hub_tokeniser(
            texts,
            padding=True,
            truncation=True,
            max_length=self.config.max_query_tokens,
            return_tensors="pt",
        ).to(self.device)
        return self.model.query(found["input_ids"], found["attention_mask"])

    def _encode_items(self, rows: np.ndarray) -> Tensor:
        module, index = self.model.item, self.made.data.items.index
        bags = [
            [token for text in self.strings[row] for token in index.tokens(text)] for row in rows
        ]
        offsets = np.cumsum([0, *map(len, bags)])
        tokens = torch.tensor([token for bag in bags for token in bag], device=self.device)
        text = F.embedding_bag(
            module.hash.hashes(tokens).flatten(),
            module.hash.table,
            2 * torch.from_numpy(offsets).to(self.device),
            mode="sum",
            per_sample_weights=module.hash.weights[tokens].flatten(),
            include_last_offset=True,
        )
        features = self.made.data.items.gather(rows, module.feature_dims)
        scaled = torch.from_numpy(features).to(self.device) * module.feature_scale
        return F.normalize(module.mlp(torch.cat((module.text_norm(text), scaled), 1)), dim=1)

    def _losses(self, part: Part, queries: Tensor, items: Tensor) -> Tensor:
        number = sorted(self.made.data.pairs).index(part.dataset)
        self.counts.add(number, part.query_rows, part.target_rows)
        log_q = self.counts.log_probabilities(number, part.query_rows, part.target_rows)
        own, other = (torch.from_numpy(logs).to(self.device) for logs in log_q)
        encoded = queries if part.entity == "query" else items
        source, target = queries[part.queries], encoded[part.targets]
        random = encoded[part.negatives]
        masks = self._masks(part)
        logs = (own, other, part.log_random)
        total = queries.new_zeros(())
        heat = self.model.temperature(part.dataset)
        for size, weight in self.config.sizes.items():
            cut = [F.normalize(rows[:, :size], dim=1) for rows in (source, target, random)]
            total = total + weight * _softmax(cut, heat, logs, masks)
        for space in spaces_of(part.entity):
            feature = self.made.data.items.features[part.entity][space]
            given = [
                self.made.data.items.gather_one(rows, space, feature.dim)[0]
                for rows in (part.target_rows, part.negative_rows)
            ]
            vectors = [
                self.model.compat[space](torch.from_numpy(rows).to(self.device)) for rows in given
            ]
            heat = self.model.temperature(f"{part.dataset}/{space}")
            cut = [F.normalize(rows, dim=1) for rows in (source, *vectors)]
            total = total + _softmax(cut, heat, logs, masks)
        return total

    def _masks(self, part: Part) -> tuple[Tensor, Tensor]:
        """False negatives in the batch and among the random ones, by comparing pairs."""
        positives: dict[int, set[int]] = {}
        for query, target in zip(part.query_rows.tolist(), part.target_rows.tolist(), strict=True):
            positives.setdefault(query, set()).add(target)
        masks = []
        for candidates in (part.target_rows, part.negative_rows):
            columns: dict[int, list[int]] = {}
            for column, row in enumerate(candidates.tolist()):
                columns.setdefault(row, []).append(column)
            mask = torch.zeros(len(part.queries), len(candidates), dtype=torch.bool)
            for place, query in enumerate(part.query_rows.tolist()):
                for target in positives[query]:
                    for column in columns.get(target, ()):
                        mask[place, column] = True
            masks.append(mask.to(self.device))
        return masks[0], masks[1]


def _softmax(
    vectors: list[Tensor],
    temperature: Tensor,
    logs: tuple[Tensor, Tensor, float],
    masks: tuple[Tensor, Tensor],
) -> Tensor:
    source, target, random = vectors
    cosines = source @ target.T / temperature
    positive = cosines.diagonal() - logs[0]
    in_batch = (cosines - logs[1]).masked_fill(masks[0], -torch.inf)
    in_batch = torch.diagonal_scatter(in_batch, positive)
    negatives = (source @ random.T / temperature - logs[2]).masked_fill(masks[1], -torch.inf)
    first = F.cross_entropy(in_batch, torch.arange(len(source), device=source.device))
    both = torch.cat((positive[:, None], negatives), 1)
    return first + (both.logsumexp(1) - positive).mean()
