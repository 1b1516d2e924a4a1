"""Trains a cross-encoder on judgments, so that it can judge what nobody judged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from omnisearch.data.workspace.progress import Progress
from omnisearch.encoders.cross_encoder import CrossEncoder
from omnisearch.encoders.training.fine_tune import fine_tune

BATCH = 96  # pairs
PASSES = 3
MOST_STEPS = 400
_CHUNK = 32  # pairs read at a time, of similar length
_LR = 5e-5


@dataclass(frozen=True)
class GradedPairs:
    """Queries with the texts of items.

    Attributes:
        pairs: n (query, text).
        grades: float32 (n,) from 0, irrelevant, to 1, the best grade.
    """

    pairs: list[tuple[str, str]]
    grades: np.ndarray

    def __len__(self) -> int:
        return len(self.pairs)


def teach(teacher: CrossEncoder, judged: GradedPairs, progress: Progress | None = None) -> None:
    """Train the weights in place on pairs in random order; `progress` counts steps.

    The loss is the cross-entropy of each grade as a probability, so that a grade means the same for
    every query.
    """
    steps = min(MOST_STEPS, -(-PASSES * len(judged) // BATCH))
    generator = np.random.default_rng(0)
    order = np.concatenate([generator.permutation(len(judged)) for _ in range(PASSES)])

    def backward(step: int) -> None:
        rows = order[step * BATCH : (step + 1) * BATCH]
        for chunk in _by_length(rows, judged.pairs):
            wanted = torch.from_numpy(judged.grades[chunk]).to(teacher.device)
            logits = teacher.logits([judged.pairs[row] for row in chunk.tolist()])
            loss = F.binary_cross_entropy_with_logits(logits, wanted, reduction="sum") / len(rows)
            loss.backward()

    fine_tune(teacher.model, steps, _LR, backward, progress)


def _by_length(rows: np.ndarray, pairs: Sequence[tuple[str, str]]) -> list[np.ndarray]:
    lengths = [sum(map(len, pairs[row])) for row in rows.tolist()]
    ordered = rows[np.argsort(lengths, kind="stable")]
    return [ordered[start : start + _CHUNK] for start in range(0, len(ordered), _CHUNK)]
