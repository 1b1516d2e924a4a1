"""Calibrated models say how often something happens, on data that they have not seen."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from omnisearch.ranker.calibrated import (
    PENALTY,
    Bin,
    Calibrated,
    calibration_error,
    isotonic,
    reliability,
)

NAMES = ("one", "two", "three")


def drawn(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features, trials, and successes by a chance that is no logistic function of them."""
    X = rng.normal(size=(n, 3)).astype(np.float32)
    unknown = rng.random(n) < 0.2
    chance = 0.02 + 0.5 / (1 + np.exp(-4 * (X[:, 0] + 0.5 * X[:, 1]))) * np.where(unknown, 0.3, 1)
    X[unknown, 2] = np.nan
    trials = rng.integers(1, 5, n).astype(float)
    return X, trials, rng.binomial(trials.astype(int), chance).astype(float)


@pytest.fixture(scope="module")
def model() -> Calibrated:
    rng = np.random.default_rng(0)
    X, trials, successes = drawn(rng, 20_000)
    return Calibrated.fit(NAMES, X, trials, successes, rng.integers(0, 5, len(X)))


def test_rates_are_those_of_data_that_it_has_not_seen(model: Calibrated) -> None:
    X, trials, successes = drawn(np.random.default_rng(1), 20_000)
    bins = reliability(model.predict(X), trials, successes)
    assert len(bins) == 10 and sum(each.trials for each in bins) == trials.sum()
    for each in bins:  # within four standard errors
        error = math.sqrt(each.observed * (1 - each.observed) / each.trials)
        assert abs(each.predicted - each.observed) < 4 * error + 0.005
    assert bins[-1].observed > 5 * bins[0].observed
    assert calibration_error(bins) < 0.01


def test_calibration_is_what_makes_them_right(model: Calibrated) -> None:
    X, trials, successes = drawn(np.random.default_rng(1), 20_000)
    raw = 1 / (1 + np.exp(-model.logit(X).astype(float)))
    assert calibration_error(reliability(raw, trials, successes)) > 2 * calibration_error(
        reliability(model.predict(X), trials, successes)
    )


def test_the_logistic_part_has_the_most_penalised_likelihood() -> None:
    rng = np.random.default_rng(2)
    X, trials, successes = drawn(rng, 300)
    X = np.nan_to_num(X)  # all known
    found = Calibrated.fit(NAMES, X, trials, successes, np.arange(300) % 3)
    mean, std = X.mean(0), X.std(0)
    rows = (X - mean) / std

    def loss(w: np.ndarray) -> float:  # the flags of known values and the bias are one constant
        z = rows @ w[:3] + w[3]
        return float(
            (trials * np.logaddexp(0, z) - successes * z).sum() + PENALTY * (w[:3] @ w[:3]) / 2
        )

    best = minimize(loss, np.zeros(4), method="BFGS").x
    assert np.allclose(found.weights, best[:3] / std, atol=2e-3)


def test_json_keeps_it_and_refuses_what_is_not_its_own(model: Calibrated) -> None:
    X, *_ = drawn(np.random.default_rng(3), 50)
    stored = model.to_json()
    assert np.array_equal(Calibrated.from_json(stored).predict(X), model.predict(X))
    for name, value in (("rates", [0.5, 0.1]), ("logits", []), ("bias", "x"), ("weights", [1.0])):
        with pytest.raises((ValueError, KeyError, TypeError)):
            Calibrated.from_json({**stored, name: value})


@given(st.lists(st.tuples(st.floats(-5, 5), st.integers(1, 9), st.floats(0, 1)), min_size=1))
def test_isotonic_rates_ascend_and_keep_the_sum(rows: list[tuple[float, int, float]]) -> None:
    scores, trials, share = (np.array(column, float) for column in zip(*rows, strict=True))
    successes = np.floor(trials * share)
    at, rates = isotonic(scores, trials, successes)
    assert (np.diff(at) >= 0).all() and (np.diff(rates) >= 0).all()
    assert rates[0] >= 0 and rates[-1] <= 1


def test_the_error_is_the_mean_distance() -> None:
    assert calibration_error([Bin(10, 0.1, 0.2), Bin(30, 0.5, 0.4)]) == pytest.approx(0.1)
    assert calibration_error([]) == 0
