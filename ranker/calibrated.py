"""Calibrated probabilities: logistic regression, then isotonic regression of what it says.

An auction multiplies a bid with a rate, and a gate compares a probability with a bound: both need
what a ranker's score is not, a number that means how often something happens. The calibration
(Zadrozny and Elkan, 2002) is learned from what models said of rows that they were not fitted to;
`reliability` measures the two together on data that neither has seen.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from omnisearch.data.workspace.reading import check_shape
from omnisearch.ranker.l1 import stored

PENALTY = 1.0  # on the squared weights of standardised features, as of one observation
_ROUNDS = 50  # of Newton's method; it needs about ten


@dataclass(frozen=True)
class Calibrated:
    """probability = isotonic(filled(x) . weights + present(x) . flags + bias).

    An unknown (NaN) value is replaced by `fill`, the mean of the known ones in training, and its
    presence flag is 0.

    Attributes:
        names: m features; weights, flags, fill: float32 (m,).
        logits, rates: float32 (k,), both ascending: the points between which the calibration is a
            straight line; outside it is flat.
    """

    names: tuple[str, ...]
    weights: np.ndarray
    flags: np.ndarray
    fill: np.ndarray
    bias: float
    logits: np.ndarray
    rates: np.ndarray

    @classmethod
    def fit(
        cls,
        names: tuple[str, ...],
        X: np.ndarray,
        trials: np.ndarray,
        successes: np.ndarray,
        folds: np.ndarray,
    ) -> Calibrated:
        """Fit on all rows, and calibrate by what a model of the other folds says of each fold.

        Args:
            X: float32 (n, m), NaN unknown. trials, successes: (n,), successes at most trials.
            folds: int64 (n,), of two different numbers at least; rows that are alike, such as those
                of one query, belong into one fold.
        """
        out_of_fold = np.zeros(len(X), np.float32)
        for number in np.unique(folds):
            mine = folds == number
            others = cls._uncalibrated(names, X[~mine], trials[~mine], successes[~mine])
            out_of_fold[mine] = others.logit(X[mine])
        logits, rates = isotonic(out_of_fold, trials, successes)
        whole = cls._uncalibrated(names, X, trials, successes)
        return replace(whole, logits=logits, rates=rates)

    @classmethod
    def _uncalibrated(
        cls, names: tuple[str, ...], X: np.ndarray, trials: np.ndarray, successes: np.ndarray
    ) -> Calibrated:
        known = ~np.isnan(X)
        count = np.maximum(known.sum(axis=0), 1)
        mean = np.where(known, X, 0).sum(axis=0, dtype=np.float64) / count
        centred = np.where(known, X - mean, 0)
        std = np.sqrt((centred**2).sum(axis=0, dtype=np.float64) / count)
        std = np.where(std > 1e-6, std, 1.0)
        rows = np.concatenate([centred / std, known, np.ones((len(X), 1))], axis=1)
        w = _logistic(rows, trials, successes)
        m = len(names)
        weights = w[:m] / std
        return cls(
            names,
            weights.astype(np.float32),
            w[m : 2 * m].astype(np.float32),
            mean.astype(np.float32),
            float(w[-1] - weights @ mean),  # the weights were fitted to what differs from the mean
            logits=np.zeros(0, np.float32),
            rates=np.zeros(0, np.float32),
        )

    def logit(self, X: np.ndarray) -> np.ndarray:
        """Float32 (n,) of rows (n, m), before calibration."""
        known = ~np.isnan(X)
        filled = np.where(known, X, self.fill)
        return (filled @ self.weights + known @ self.flags + self.bias).astype(np.float32)

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Float32 (n,) probabilities of rows (n, m)."""
        return np.interp(self.logit(X), self.logits, self.rates).astype(np.float32)

    def to_json(self) -> dict[str, Any]:
        arrays = ("weights", "flags", "fill", "logits", "rates")
        listed = {name: getattr(self, name).tolist() for name in arrays}
        return {"features": list(self.names), "bias": self.bias, **listed}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Calibrated:
        """Raises KeyError, TypeError or ValueError for input that `to_json` did not write."""
        check_shape(values, {"features": [str], "bias": float, "logits": [float]})
        names, points = tuple(values["features"]), (len(values["logits"]),)
        weights, flags, fill = (
            stored(values, key, (len(names),)) for key in ("weights", "flags", "fill")
        )
        logits, rates = (stored(values, key, points) for key in ("logits", "rates"))
        ascend = (np.diff(logits) >= 0).all() and (np.diff(rates) >= 0).all()
        if not points[0] or not ascend or rates[0] < 0 or rates[-1] > 1:
            raise ValueError("the calibration is no ascending line of probabilities")
        return cls(names, weights, flags, fill, float(values["bias"]), logits, rates)


def _logistic(rows: np.ndarray, trials: np.ndarray, successes: np.ndarray) -> np.ndarray:
    """The weights (f,) of most penalised likelihood, by Newton's method; the last is the bias."""
    penalty = np.full(rows.shape[1], PENALTY)
    penalty[-1] = 1e-6
    w = np.zeros(rows.shape[1])
    share = (successes.sum() + 0.5) / (trials.sum() + 1)
    w[-1] = np.log(share / (1 - share))

    def cost(w: np.ndarray) -> float:
        z = rows @ w
        return float((trials * np.logaddexp(0, z) - successes * z).sum() + penalty @ w**2 / 2)

    now = cost(w)
    for _ in range(_ROUNDS):
        p = 1 / (1 + np.exp(-(rows @ w)))
        gradient = rows.T @ (trials * p - successes) + penalty * w
        curvature = (rows.T * (trials * p * (1 - p))) @ rows + np.diag(penalty)
        step, size = np.linalg.solve(curvature, gradient), 1.0
        while cost(w - size * step) > now and size > 1e-6:
            size /= 2
        w = w - size * step
        before, now = now, cost(w)
        if before - now < 1e-9 * max(abs(now), 1):
            break
    return w


def isotonic(
    scores: np.ndarray, trials: np.ndarray, successes: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Float32 (k,) scores and rates, both ascending: the best rates that ascend with the scores.

    Pool adjacent violators; each pool is a point, of its mean score and its rate. One trial of the
    mean rate is added to each, so that a small pool's rate is neither 0 nor 1.
    """
    from scipy.optimize import isotonic_regression

    whole = successes.sum() / max(float(trials.sum()), 1.0)
    order = np.argsort(scores, kind="stable")
    scores, trials, successes = (each[order].astype(float) for each in (scores, trials, successes))
    used = trials > 0
    scores, trials, successes = scores[used], trials[used], successes[used]
    found = isotonic_regression(successes / trials, weights=trials)
    starts = found.blocks[:-1]
    n, c = (np.add.reduceat(each, starts) for each in (trials, successes))
    at = np.add.reduceat(scores * trials, starts) / n
    rates = np.maximum.accumulate((c + whole) / (n + 1))
    return at.astype(np.float32), rates.astype(np.float32)


@dataclass(frozen=True)
class Bin:
    """A tenth of the trials by what was predicted: how many, the mean of it, and what happened."""

    trials: int
    predicted: float
    observed: float


def reliability(
    predicted: np.ndarray, trials: np.ndarray, successes: np.ndarray, bins: int = 10
) -> list[Bin]:
    """The rows in `bins` parts of equally many trials, from the lowest prediction on."""
    order = np.argsort(predicted, kind="stable")
    predicted, trials, successes = predicted[order], trials[order], successes[order]
    until = np.cumsum(trials)
    part = np.minimum(bins - 1, (until - trials / 2) * bins // max(float(until[-1]), 1)).astype(int)
    found = []
    for number in np.unique(part):
        mine = part == number
        n = float(trials[mine].sum())
        mean = float((predicted[mine] * trials[mine]).sum() / n)
        found.append(Bin(round(n), mean, float(successes[mine].sum() / n)))
    return found


def calibration_error(bins: list[Bin]) -> float:
    """The expected calibration error: how far the parts are off, on average over the trials."""
    whole = sum(each.trials for each in bins)
    return sum(each.trials * abs(each.predicted - each.observed) for each in bins) / max(whole, 1)
