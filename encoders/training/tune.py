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

from omnisearch.data.workspace.progress import Progress
from omnisearch.encoders.models.query import query_chunks
from omnisearch.encoders.text_encoder import TextTower
from omnisearch.encoders.training.fine_tune import fine_tune
from omnisearch.encoders.training.retrieval_eval import ahead

BATCH = 128
PASSES = 2
MOST_STEPS = 300
LISTS, ITEMS = 32, 8  # queries of a step of `distil`, and items of each
MOST_LISTS = 180 * LISTS
_CHUNK = 32  # texts encoded at a time, of similar length
_LR_LISTS = 2e-5
_LR, _TEMPERATURE = 5e-5, 0.05


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


def tune(
    tower: TextTower, pairs: TextPairs, progress: Progress | None = None, seed: int = 0
) -> None:
    """Train the tower's weights in place; `progress` counts steps.

    Each step shows one of an item's texts, drawn at random.
    """
    steps = min(MOST_STEPS, -(-PASSES * len(pairs) // BATCH))
    generator = np.random.default_rng(seed)
    _, query = np.unique(np.array(pairs.queries), return_inverse=True)
    known = np.unique(query * len(pairs.texts) + pairs.items)
    order = np.concatenate(
        [generator.permutation(len(pairs)) for _ in range(PASSES)], dtype=np.int64
    )

    def backward(step: int) -> None:
        rows = order[step * BATCH : (step + 1) * BATCH]
        items = pairs.items[rows]
        asked = _queries(tower, [pairs.queries[row] for row in rows.tolist()])
        shown = _items(tower, _shown(pairs.texts, items, generator))
        logits = asked @ shown.T / _TEMPERATURE
        led_to = np.isin(query[rows][:, None] * len(pairs.texts) + items[None, :], known)
        np.fill_diagonal(led_to, False)  # other items of the same query are no negatives
        logits = logits.masked_fill(torch.from_numpy(led_to).to(logits.device), -torch.inf)
        own = torch.arange(len(rows), device=logits.device)
        (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)).backward()

    fine_tune(tower.model, steps, _LR, backward, progress)


@dataclass(frozen=True)
class GradedLists:
    """Queries, each with items that judges or a teacher graded.

    Attributes:
        queries: n queries, normalised.
        items: n arrays int64 (m,), rows of `texts`, with at least two items each.
        grades: n arrays float32 (m,), from 0, irrelevant, to 1, the best.
        texts: as of `TextPairs`.
    """

    queries: list[str]
    items: list[np.ndarray]
    grades: list[np.ndarray]
    texts: list[list[str]]

    def __len__(self) -> int:
        return len(self.queries)


def distil(tower: TextTower, lists: GradedLists, progress: Progress | None = None) -> None:
    """Train the tower's weights in place to order items as they were graded.

    Each step shows LISTS queries with at most ITEMS of their items, one of them drawn by its grade.
    The scores of a query over all items of the batch learn its grades' odds, as shares of their
    sum; the items of other queries are to get nothing. Hard negatives are thus among them: items
    that search found, and whose grade is low.
    """
    steps = min(MOST_LISTS, PASSES * len(lists)) // LISTS
    generator = np.random.default_rng(0)
    order = np.concatenate([generator.permutation(len(lists)) for _ in range(PASSES)])

    def backward(step: int) -> None:
        rows = order[step * LISTS : (step + 1) * LISTS].tolist()
        chosen = [_chosen(lists.grades[row], generator) for row in rows]
        parts = [lists.items[row][some] for row, some in zip(rows, chosen, strict=True)]
        items = np.concatenate(parts)
        wanted = np.zeros((len(rows), len(items)), np.float32)
        known = np.zeros(wanted.shape, bool)
        start = 0
        for place, (row, some) in enumerate(zip(rows, chosen, strict=True)):
            own = slice(start, start + len(some))
            known[place] = np.isin(items, lists.items[row])
            known[place, own] = False
            wanted[place, own] = _odds(lists.grades[row][some])
            start += len(some)
        asked = _queries(tower, [lists.queries[row] for row in rows])
        shown = _items(tower, _shown(lists.texts, items, generator))
        logits = asked @ shown.T / _TEMPERATURE
        # Another query's item that this query has too is no negative of it.
        logits = logits.masked_fill(torch.from_numpy(known).to(logits.device), -1e4)
        share = torch.from_numpy(wanted).to(logits.device)
        (-(share * F.log_softmax(logits, dim=1)).sum(dim=1).mean()).backward()

    fine_tune(tower.model, steps, _LR_LISTS, backward, progress)


def _shown(texts: list[list[str]], items: np.ndarray, generator: np.random.Generator) -> list[str]:
    """One of each item's texts, drawn at random."""
    of_items = [texts[item] for item in items.tolist()]
    return [of_item[generator.integers(len(of_item))] for of_item in of_items]


def _chosen(grades: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Places of at most ITEMS of a query's items: one drawn by its grade, others at random."""
    weights = grades + 1e-3
    first = generator.choice(len(grades), p=weights / weights.sum())
    rest = np.delete(np.arange(len(grades)), first)
    return np.concatenate([[first], generator.permutation(rest)[: ITEMS - 1]])


def _odds(grades: np.ndarray) -> np.ndarray:
    """Odds g / (1 - g) as shares of their sum."""
    within = np.clip(grades.astype(np.float64), 0.02, 0.98)
    odds = within / (1 - within)
    return (odds / odds.sum()).astype(np.float32)


def mean_reciprocal_rank(tower: TextTower, pairs: TextPairs, others: Sequence[list[str]]) -> float:
    """How well queries find their items among these and `others`, by their whole texts.

    It tells two encoders apart better than a Recall, which counts only what enters the first ten.
    """
    corpus = tower([of_item[0] for of_item in [*pairs.texts, *others]])
    ranks = ahead(tower.queries(pairs.queries), corpus[pairs.items], corpus, pairs.items)
    return float(np.mean(1 / (1 + ranks)))


def _queries(tower: TextTower, queries: Sequence[str]) -> Tensor:
    """(n, dim) unit rows, with their gradients."""
    return _encode(tower, tower.pieces(queries, tower.form.query))


def _items(tower: TextTower, texts: Sequence[str]) -> Tensor:
    """(n, dim) unit rows of items' texts, with their gradients."""
    return _encode(tower, tower.pieces(texts, tower.form.item))


def _encode(tower: TextTower, pieces: list[list[int]]) -> Tensor:
    chunks = query_chunks(pieces, tower.tokeniser.pad, _CHUNK)
    vectors = torch.cat([tower.vectors(chunk) for chunk in chunks])
    places = torch.cat([chunk.places for chunk in chunks])
    return vectors[torch.argsort(places).to(vectors.device)]
