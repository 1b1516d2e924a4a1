"""A small classifier on frozen vectors: linear or one hidden layer, over all nodes at once."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from scipy.sparse import csr_matrix
from torch import Tensor, nn

from omnisearch.data.workspace.progress import Progress
from omnisearch.evaluation.classification.measures import Measure, hits_at_1, in_blocks, precision

_BATCH = 256
_RATE = 2e-3
_MOST_EPOCHS = 60
_PATIENCE = 8
_DROPOUT = 0.2


@dataclass(frozen=True)
class Settings:
    """Hyperparameters chosen on the validation split.

    Attributes:
        hidden: width of the hidden layer, 0 for a linear classifier.
        l2: AdamW's weight decay.
        epochs: passes over the training split.
    """

    hidden: int = 0
    l2: float = 0.01
    epochs: int = _MOST_EPOCHS


GRID = tuple(Settings(hidden, l2) for hidden in (0, 512) for l2 in (0.01, 0.5))


@dataclass(frozen=True)
class Examples:
    """vectors: (n, d) float32 unit rows; targets: (n, m) bool; levels: columns of each level."""

    vectors: np.ndarray
    targets: csr_matrix
    levels: Sequence[slice]


class Classifier(nn.Module):
    """Unit vectors (n, d) → logits (n, m)."""

    def __init__(self, dim: int, hidden: int, nodes: int) -> None:
        super().__init__()
        self.scale = math.sqrt(dim)  # unit vectors have coordinates of about 1 / sqrt(dim)
        layers = [nn.Linear(dim, hidden), nn.ReLU(), nn.Dropout(_DROPOUT)] if hidden else []
        self.layers = nn.Sequential(*layers, nn.Linear(hidden or dim, nodes))

    def forward(self, vectors: Tensor) -> Tensor:
        """(n, m) float32."""
        return self.layers(vectors * self.scale)


def level_shares(logits: Tensor, levels: Sequence[slice]) -> Tensor:
    """(n, m) log-probabilities: a log-softmax within each level."""
    return torch.cat([F.log_softmax(logits[:, level], dim=1) for level in levels], dim=1)


def choose(
    train: Examples,
    valid: Examples,
    grid: Sequence[Settings] = GRID,
    progress: Progress | None = None,
) -> Settings:
    """The settings with the best precision@1 on the validation split, averaged over levels.

    `progress` counts passes over the training split; those that are not needed are skipped.
    """
    best, chosen = -1.0, grid[0]
    before, most = 0, sum(settings.epochs for settings in grid)
    for settings in grid:
        since = 0
        for epoch, model in enumerate(_epochs(train, settings, seed=0), 1):
            value = float(precision(measured(hits_at_1, model, valid)).mean())
            since = 0 if value > best else since + 1
            if value > best or (value == best and settings.hidden == chosen.hidden):
                # Ties go to the longer training: the first epoch may be right by luck.
                best, chosen = value, replace(settings, epochs=epoch)
            if progress:
                progress(before + epoch, most)
            if since >= _PATIENCE:
                break
        before += settings.epochs
    if progress:
        progress(most, most)
    return chosen


def fit(
    train: Examples, settings: Settings, seed: int, progress: Progress | None = None
) -> Classifier:
    """A classifier trained for `settings.epochs`; the seed sets the weights and the batches.

    `progress` counts passes over the examples, from 0.
    """
    if progress:
        progress(0, settings.epochs)
    for done, made in enumerate(_epochs(train, settings, seed), 1):
        model = made
        if progress:
            progress(done, settings.epochs)
    return model


def _epochs(train: Examples, settings: Settings, seed: int) -> Iterator[Classifier]:
    """The same classifier after each epoch."""
    dim, nodes = train.vectors.shape[1], train.targets.shape[1]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Classifier(dim, settings.hidden, nodes)
        optimiser = torch.optim.AdamW(model.parameters(), lr=_RATE, weight_decay=settings.l2)
        for _ in range(settings.epochs):
            model.train()
            for rows in torch.randperm(len(train.vectors)).split(_BATCH):
                loss = _loss(model, train, rows.numpy())
                optimiser.zero_grad(set_to_none=True)
                loss.backward()
                optimiser.step()
            yield model.eval()


def _loss(model: Classifier, train: Examples, rows: np.ndarray) -> Tensor:
    """Cross-entropy summed over levels; a query's nodes in one level share the target equally."""
    wanted = torch.from_numpy(train.targets[rows].toarray()).float()
    found = level_shares(model(torch.from_numpy(train.vectors[rows])), train.levels)
    shared = torch.cat(
        [wanted[:, at] / wanted[:, at].sum(1, keepdim=True).clamp(min=1) for at in train.levels], 1
    )
    return -(shared * found).sum(1).mean()


@torch.inference_mode()
def scores(model: Classifier, vectors: np.ndarray, levels: Sequence[slice]) -> np.ndarray:
    """(n, m) float32: each node's probability within its level."""
    logits = model(torch.from_numpy(np.ascontiguousarray(vectors)))
    return level_shares(logits, levels).exp().numpy()


def measured(measure: Measure, model: Classifier, examples: Examples) -> np.ndarray:
    """`measure` of each example, computed a few thousand at a time to bound memory."""

    def scores_of(rows: slice) -> np.ndarray:
        return scores(model, examples.vectors[rows], examples.levels)

    return in_blocks(measure, scores_of, examples.targets, examples.levels)
