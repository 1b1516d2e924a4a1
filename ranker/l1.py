"""L1: a linear model over a few features; one matrix product scores all candidates of a query.

Its features are cheap and come from every stage: the paper's L1 uses the embedding's score and
token scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from omnisearch.data.workspace.reading import check_shape
from omnisearch.ranker.features import feature_names
from omnisearch.ranker.lists import Lists

_MOST = 1e12  # of a stored number: sums and products of such numbers stay finite


@dataclass(frozen=True)
class Linear:
    """score = filled(x) . weights + present(x) . flags, over the columns of `names`.

    An unknown (NaN) value is replaced by `fill`, the mean of the known ones in training, and its
    presence flag is 0, so that the model learns a weight for "unknown".

    Attributes:
        names: m features; weights, flags, fill: float32 (m,).
    """

    names: tuple[str, ...]
    weights: np.ndarray
    flags: np.ndarray
    fill: np.ndarray

    @classmethod
    def fit(
        cls,
        lists: Sequence[Lists],
        names: Sequence[str],
        l2: float = 1e-3,
        prior: Linear | None = None,
    ) -> Linear:
        """Minimise the listwise softmax loss, which is convex, regularised towards `prior`.

        For a query with gains y and scores s the loss is -sum(y / sum(y) * log softmax(s)): the
        pairwise logistic loss extended to a whole list. All queries have the same weight. A row's
        weight multiplies its term in the softmax's sum. `l2` is the strength of the penalty on the
        squared distance from `prior`, or from 0, in standardised features. A feature that no row
        has keeps the prior's weight, and its share of the scores if these become larger: of what
        queries exclude, most logs say nothing.
        """
        from scipy.optimize import minimize  # a third of a second, and only a training needs it

        X = np.concatenate([part.X for part in lists])[:, _columns(tuple(names), feature_names())]
        weights = np.concatenate([part.weights for part in lists]).astype(np.float64)
        sizes = np.concatenate([part.sizes for part in lists])
        y = np.concatenate([part.shares() for part in lists])
        known = ~np.isnan(X)
        count = np.maximum(known.sum(axis=0), 1)
        mean = np.where(known, X, 0).sum(axis=0, dtype=np.float64) / count
        centred = np.where(known, X - mean, 0)
        std = np.sqrt((centred**2).sum(axis=0) / count)
        std = np.where(std > 1e-6, std, 1.0)
        rows = np.concatenate([centred / std, known], axis=1)
        starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        wanted = rows.T @ y
        m = len(names)
        usual = np.zeros(2 * m)
        if prior is not None:
            at = _columns(prior.names, tuple(names))
            usual[at] = prior.weights * std[at]
            # An unknown value is now replaced by this data's mean.
            usual[m:][at] = prior.flags + (mean[at] - prior.fill) * prior.weights

        def loss(w: np.ndarray) -> tuple[float, np.ndarray]:
            scores = rows @ w
            scores -= np.repeat(np.maximum.reduceat(scores, starts), sizes)
            mass = weights * np.exp(scores)
            total = np.add.reduceat(mass, starts)
            value = np.log(total).sum() - y @ scores
            gradient = rows.T @ (mass / np.repeat(total, sizes)) - wanted
            more = w - usual
            return value / len(sizes) + l2 / 2 * (more @ more), gradient / len(sizes) + l2 * more

        found = minimize(loss, usual, jac=True, method="L-BFGS-B").x
        grown = spread(rows @ found, sizes) / spread(rows @ usual, sizes)
        found[:m][~known.any(axis=0)] *= max(1.0, grown)
        return cls(
            tuple(names),
            (found[:m] / std).astype(np.float32),
            found[m:].astype(np.float32),
            mean.astype(np.float32),
        )

    def score(self, X: np.ndarray) -> np.ndarray:
        """(n,) float32 scores of feature rows (n, F)."""

        rows = X[:, _columns(self.names, feature_names())]
        known = ~np.isnan(rows)
        return np.where(known, rows, self.fill) @ self.weights + known @ self.flags

    def to_json(self) -> dict[str, Any]:
        arrays = {name: getattr(self, name).tolist() for name in ("weights", "flags", "fill")}
        return {"features": list(self.names), **arrays}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Linear:
        """Raises KeyError, TypeError or ValueError for input that `to_json` did not write."""
        check_shape(values, {"features": [str]})
        names = tuple(values["features"])
        _columns(names, feature_names())
        sizes = (len(names),)
        return cls(names, *(stored(values, key, sizes) for key in ("weights", "flags", "fill")))


def spread(scores: np.ndarray, sizes: np.ndarray) -> float:
    """The standard deviation of scores (n,) within lists of these sizes; 1 if all are equal."""
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    mean = np.add.reduceat(scores, starts) / sizes
    found = float(np.sqrt(np.mean((scores - np.repeat(mean, sizes)) ** 2)))
    return found if found > 1e-6 else 1.0


def stored(values: dict[str, Any], key: str, sizes: tuple[int, ...]) -> np.ndarray:
    """The float32 array of these sizes under a key of JSON; raises KeyError or ValueError."""
    check_shape(values[key], [[float]] if len(sizes) == 2 else [float], key)
    array = np.array(values[key], np.float64)
    if array.shape != sizes or not (np.abs(array) < _MOST).all():
        raise ValueError(f"{key} is not {sizes} numbers")
    return array.astype(np.float32)


@lru_cache(maxsize=64)
def _columns(names: tuple[str, ...], of: tuple[str, ...]) -> list[int]:
    for name in names:
        if name not in of:
            raise ValueError(f"there is no feature {name!r}")
    return [of.index(name) for name in names]
