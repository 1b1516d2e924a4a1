"""A head of L2: a linear model and a small network that corrects it.

    score = linear(x) + relu(z W + b) v          z: standardised features and presence flags

The linear part is trained first, to the optimum of its convex loss. The correction starts at zero
and is trained for a few passes over the queries: with few queries the head stays close to linear,
with many it departs from it. The correction is the mean of a few networks, concatenated in W, b and
v.
`docs/results/ranking.md` has the figures against LightGBM.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from omnisearch.ranker.features import feature_names
from omnisearch.ranker.l1 import Linear, stored
from omnisearch.ranker.lists import Lists
from omnisearch.ranker.starter import starter

CLIP = 5.0  # standardised values are clipped to [-CLIP, CLIP], so that outliers have little effect
_ARRAYS = ("mean", "std", "W", "b", "v")


@dataclass(frozen=True)
class NetworkOptions:
    """How the correction is trained.

    Attributes:
        members: networks trained from different seeds, whose mean is the correction.
        hidden: units of each.
        epochs, batch, rate, decay: of AdamW; a batch is of whole queries, the rate rises over a
            tenth of the steps and falls to zero.
        prior: strength of the linear part's regularisation towards the starter ranker, divided by
            the number of queries. word_weight: as of `starter`.
    """

    members: int = 4
    hidden: int = 32
    epochs: int = 10
    batch: int = 16
    rate: float = 1e-2
    decay: float = 1e-2
    prior: float = 20.0
    seed: int = 7
    word_weight: float | None = None


@dataclass(frozen=True)
class Network:
    """The members concatenated into one network.

    Attributes:
        linear: over all features. mean, std: (F,). W: (2F, H). b, v: (H,); all float32, with
        H = members * hidden.
    """

    linear: Linear
    mean: np.ndarray
    std: np.ndarray
    W: np.ndarray
    b: np.ndarray
    v: np.ndarray

    @classmethod
    def fit(cls, lists: Lists, options: NetworkOptions = NetworkOptions()) -> Network:
        """Minimise the listwise softmax loss of `Linear.fit` with respect to the correction.

        The same input gives the same model on one machine.
        """
        linear = Linear.fit(
            [lists], feature_names(), options.prior / len(lists.sizes), starter(options.word_weight)
        )
        known = ~np.isnan(lists.X)
        count = np.maximum(known.sum(axis=0), 1)
        centred = np.where(known, lists.X - linear.fill, 0)
        std = np.sqrt(np.square(centred, dtype=np.float64).sum(axis=0) / count)
        std = np.where(std > 1e-6, std, 1).astype(np.float32)
        z, base = _inputs(lists.X, linear.fill, std), linear.score(lists.X)
        members = [
            _train_member(lists, z, base, options, options.seed + number)
            for number in range(options.members)
        ]
        W, b, v = (np.concatenate(parts, axis=-1) for parts in zip(*members, strict=True))
        return cls(linear, linear.fill, std, W, b, v / np.float32(options.members))

    def score(self, X: np.ndarray) -> np.ndarray:
        """(n,) float32 scores of feature rows (n, F)."""
        hidden = np.maximum(_inputs(X, self.mean, self.std) @ self.W + self.b, 0)
        return self.linear.score(X) + hidden @ self.v

    def to_json(self) -> dict[str, Any]:
        arrays = {name: getattr(self, name).tolist() for name in _ARRAYS}
        return {"linear": self.linear.to_json(), **arrays}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Network:
        """Raises KeyError, TypeError or ValueError for input that `to_json` did not write."""
        linear = Linear.from_json(values["linear"])
        names, hidden = feature_names(), len(values["b"])
        F = len(names)
        shapes = [(F,), (F,), (2 * F, hidden), (hidden,), (hidden,)]
        mean, std, W, b, v = map(partial(stored, values), _ARRAYS, shapes)
        if linear.names != names or not (std > 0).all():
            raise ValueError("the features of the network differ, or have no spread")
        return cls(linear, mean, std, W, b, v)


def _inputs(X: np.ndarray, mean: np.ndarray, std: np.ndarray) -> np.ndarray:
    """(n, 2F) float32: standardised values, 0 if unknown, then presence flags."""
    known = ~np.isnan(X)
    z = np.clip((X - mean) / std, -CLIP, CLIP)
    return np.concatenate([np.where(known, z, 0), known], axis=1, dtype=np.float32)


def _train_member(
    lists: Lists, z: np.ndarray, base: np.ndarray, options: NetworkOptions, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """W (2F, hidden), b and v (hidden,) of one network; z is (n, 2F), base (n,) linear scores."""
    rng = np.random.default_rng(seed)
    bound = z.shape[1] ** -0.5
    W = rng.uniform(-bound, bound, (z.shape[1], options.hidden)).astype(np.float32)
    b = rng.uniform(-bound, bound, options.hidden).astype(np.float32)
    v = np.zeros(options.hidden, np.float32)
    optimiser = _AdamW([W, b, v], options, options.epochs * -(-len(lists.sizes) // options.batch))
    share = lists.shares()
    for rows, starts, sizes in _batches(lists, options, rng):
        x = z[rows]
        hidden = np.maximum(x @ W + b, 0)
        scores = base[rows] + hidden @ v
        slope = _softmax(scores, lists.weights[rows], starts, sizes) - share[rows]
        slope = (slope / len(sizes)).astype(np.float32)
        back = np.where(hidden > 0, slope[:, None] * v, 0)
        optimiser.step([x.T @ back, back.sum(axis=0), hidden.T @ slope])
    W[~z.any(axis=0)] = 0  # nothing was learned of what no row has
    return W, b, v


def _softmax(
    scores: np.ndarray, weights: np.ndarray, starts: np.ndarray, sizes: np.ndarray
) -> np.ndarray:
    """Weighted softmax within each list."""
    mass = weights * np.exp(scores - np.repeat(np.maximum.reduceat(scores, starts), sizes))
    return mass / np.repeat(np.add.reduceat(mass, starts), sizes)


def _batches(
    lists: Lists, options: NetworkOptions, rng: np.random.Generator
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Rows of whole queries in random order, with the lists' starts and sizes in the batch."""
    all_starts = lists.starts
    for _ in range(options.epochs):
        order = rng.permutation(len(lists.sizes))
        for first in range(0, len(order), options.batch):
            chosen = order[first : first + options.batch]
            sizes = lists.sizes[chosen]
            starts = np.cumsum(sizes) - sizes
            rows = np.arange(sizes.sum()) + np.repeat(all_starts[chosen] - starts, sizes)
            yield rows, starts, sizes


class _AdamW:
    """AdamW over arrays changed in place, with a rate that rises and then falls linearly."""

    def __init__(self, arrays: list[np.ndarray], options: NetworkOptions, steps: int) -> None:
        self._arrays, self._options, self._steps, self._done = arrays, options, steps, 0
        self._first = [np.zeros_like(array) for array in arrays]
        self._second = [np.zeros_like(array) for array in arrays]

    def step(self, gradients: list[np.ndarray]) -> None:
        self._done += 1
        part = self._done / (self._steps + 1)
        rate = self._options.rate * min(part / 0.1, (1 - part) / 0.9)
        for array, first, second, gradient in zip(
            self._arrays, self._first, self._second, gradients, strict=True
        ):
            first += 0.1 * (gradient - first)
            second += 0.001 * (gradient**2 - second)
            unbiased = first / (1 - 0.9**self._done)
            spread = np.sqrt(second / (1 - 0.999**self._done))
            array -= rate * (unbiased / (spread + 1e-8) + self._options.decay * array)
