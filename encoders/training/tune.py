"""Tunes a pretrained text encoder to a log: queries move towards the texts that they led to.

Such an encoder knows what texts mean, but not what the users of one catalogue mean by them. Here
both sides are this one encoder, and the negatives of a query are the items of the other queries in
its batch (Henderson et al., 2017). The item tower of §3.4.2 reads the vectors of the tuned encoder,
and the query tower starts as it. Figures: docs/results/warm-start.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import get_cosine_schedule_with_warmup

from omnisearch.data.workspace.progress import Progress
from omnisearch.encoders.models.query import query_chunks
from omnisearch.encoders.text_encoder import TextTower
from omnisearch.encoders.training.retrieval_eval import ahead

BATCH = 128
PASSES = 2
MOST_STEPS = 300
_CHUNK = 32  # texts encoded at a time, of similar length
_LR, _WEIGHT_DECAY, _TEMPERATURE, _CLIP = 5e-5, 0.01, 0.05, 1.0


@dataclass(frozen=True)
class TextPairs:
    """Queries and the items that they led to.

    Attributes:
        queries: n queries, normalised.
        items: (n,) int64 rows of `texts`.
        texts: for each item the texts that its vector is made of, the whole first, none empty.
    """

    queries: list[str]
    items: np.ndarray
    texts: list[list[str]]

    def __len__(self) -> int:
        return len(self.queries)


def tune(tower: TextTower, pairs: TextPairs, progress: Progress | None = None) -> None:
    """Train the tower's weights in place; `progress` counts steps.

    Each step shows one of an item's texts, drawn at random.
    """
    model = tower.model.train()
    steps = min(MOST_STEPS, -(-PASSES * len(pairs) // BATCH))
    optimiser = torch.optim.AdamW(model.parameters(), lr=_LR, weight_decay=_WEIGHT_DECAY)
    schedule = get_cosine_schedule_with_warmup(optimiser, steps // 10, steps)
    generator = np.random.default_rng(0)
    torch.manual_seed(0)
    _, query = np.unique(np.array(pairs.queries), return_inverse=True)
    known = np.unique(query * len(pairs.texts) + pairs.items)
    order = np.concatenate(
        [generator.permutation(len(pairs)) for _ in range(PASSES)], dtype=np.int64
    )
    for step in range(steps):
        rows = order[step * BATCH : (step + 1) * BATCH]
        items = pairs.items[rows]
        shown = [pairs.texts[item] for item in items.tolist()]
        texts = [of_item[generator.integers(len(of_item))] for of_item in shown]
        asked = _encode(tower, [pairs.queries[row] for row in rows.tolist()])
        logits = asked @ _encode(tower, texts).T / _TEMPERATURE
        led_to = np.isin(query[rows][:, None] * len(pairs.texts) + items[None, :], known)
        np.fill_diagonal(led_to, False)  # other items of the same query are no negatives
        logits = logits.masked_fill(torch.from_numpy(led_to).to(logits.device), -torch.inf)
        own = torch.arange(len(rows), device=logits.device)
        loss = F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), _CLIP)
        optimiser.step()
        schedule.step()
        if progress:
            progress(step + 1, steps)
    model.eval()


def mean_reciprocal_rank(tower: TextTower, pairs: TextPairs, others: Sequence[list[str]]) -> float:
    """How well queries find their items among these and `others`, by their whole texts.

    It tells two encoders apart better than a Recall, which counts only what enters the first ten.
    """
    corpus = tower([of_item[0] for of_item in [*pairs.texts, *others]])
    ranks = ahead(tower(pairs.queries), corpus[pairs.items], corpus, pairs.items)
    return float(np.mean(1 / (1 + ranks)))


def _encode(tower: TextTower, texts: Sequence[str]) -> Tensor:
    """(n, dim) unit rows, with their gradients."""
    chunks = query_chunks(tower.tokeniser.pieces(texts), tower.tokeniser.pad, _CHUNK)
    vectors = torch.cat([tower.vectors(chunk) for chunk in chunks])
    places = torch.cat([chunk.places for chunk in chunks])
    return vectors[torch.argsort(places).to(vectors.device)]
