"""A head of L2: a linear model and a small network that corrects it.

    score = linear(x) + relu(z W + b) v          z: standardised features and presence flags

The linear part is the optimum of its own, convex, problem. The correction starts at zero and
takes a few passes over the queries, so few queries leave the head close to linear and many let
it bend. `docs/ranking.md` has the figures against LightGBM.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ranker.features import FEATURES
from ranker.l1 import Linear
from ranker.lists import Lists

CLIP = 5.0  # standardised values lie in [-CLIP, CLIP]: one odd price moves nothing far
_ARRAYS = ("mean", "std", "W", "b", "v")


@dataclass(frozen=True)
class NetworkOptions:
    """How the correction is trained: AdamW, batches of whole queries, the rate rising over a
    tenth of the steps and falling to zero."""

    hidden: int = 32
    epochs: int = 10
    batch: int = 32
    rate: float = 3e-3
    decay: float = 1e-2
    linear_l2: float = 1e-3
    seed: int = 7


@dataclass(frozen=True)
class Network:
    """Attributes: linear: over all FEATURES. mean, std: (F,). W: (2F, H). b, v: (H,). float32."""

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
        linear = Linear.fit([lists], FEATURES, options.linear_l2)
        known = ~np.isnan(lists.X)
        count = np.maximum(known.sum(axis=0), 1)
        centred = np.where(known, lists.X - linear.fill, 0)
        std = np.sqrt(np.square(centred, dtype=np.float64).sum(axis=0) / count)
        std = np.where(std > 1e-6, std, 1).astype(np.float32)
        rng = np.random.default_rng(options.seed)
        inputs = 2 * len(FEATURES)
        bound = inputs**-0.5
        W = rng.uniform(-bound, bound, (inputs, options.hidden)).astype(np.float32)
        b = rng.uniform(-bound, bound, options.hidden).astype(np.float32)
        network = cls(linear, linear.fill, std, W, b, np.zeros(options.hidden, np.float32))
        z, base = network._inputs(lists.X), linear.score(lists.X)
        steps = options.epochs * -(-len(lists.sizes) // options.batch)
        optimiser = _AdamW([network.W, network.b, network.v], options, steps)
        share = lists.shares()
        for rows, starts, sizes in _batches(lists, options, rng):
            x = z[rows]
            hidden = np.maximum(x @ network.W + network.b, 0)
            scores = base[rows] + hidden @ network.v
            slope = _softmax(scores, lists.weights[rows], starts, sizes) - share[rows]
            slope = (slope / len(sizes)).astype(np.float32)
            back = np.where(hidden > 0, slope[:, None] * network.v, 0)
            optimiser.step([x.T @ back, back.sum(axis=0), hidden.T @ slope])
        return network

    def score(self, X: np.ndarray) -> np.ndarray:
        """(n,) float32 scores of feature rows (n, F)."""
        hidden = np.maximum(self._inputs(X) @ self.W + self.b, 0)
        return self.linear.score(X) + hidden @ self.v

    def _inputs(self, X: np.ndarray) -> np.ndarray:
        """(n, 2F) float32: standardised values, 0 where unknown, then presence flags."""
        known = ~np.isnan(X)
        z = np.clip((X - self.mean) / self.std, -CLIP, CLIP)
        return np.concatenate([np.where(known, z, 0), known], axis=1, dtype=np.float32)

    def to_json(self) -> dict[str, Any]:
        arrays = {name: getattr(self, name).tolist() for name in _ARRAYS}
        return {"linear": self.linear.to_json(), **arrays}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Network:
        """Raises KeyError, TypeError or ValueError for anything that `to_json` did not write."""
        mean, std, W, b, v = (np.array(values[name], dtype=np.float32) for name in _ARRAYS)
        linear = Linear.from_json(values["linear"])
        features, hidden = len(FEATURES), len(b)
        shapes = [(features,), (features,), (2 * features, hidden), (hidden,), (hidden,)]
        arrays = [mean, std, W, b, v]
        if linear.names != FEATURES or any(
            array.shape != shape or not np.isfinite(array).all()
            for array, shape in zip(arrays, shapes, strict=True)
        ):
            raise ValueError("the shapes of the network differ from its features")
        return cls(linear, *arrays)


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
