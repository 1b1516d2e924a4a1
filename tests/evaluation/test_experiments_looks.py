"""Looking at any time, sizes and splits of experiments, and corrections for many metrics."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import optimize, stats

from omnisearch.evaluation.experiments.ratio import Effect, Ratio, compare
from omnisearch.evaluation.experiments.samples import (
    MISMATCH,
    detectable_effect,
    mismatch,
    needed_users,
    planned_error,
)
from omnisearch.evaluation.experiments.sequential import always_valid, mixture_spread
from omnisearch.evaluation.experiments.several import corrected

MANY = (100_000, 100_000)


def effect_of(change: float, error: float) -> Effect:
    return compare((0.5, 0.5 + change), (error / math.sqrt(2), error / math.sqrt(2)), MANY)


def test_the_evidence_is_the_mixtures_likelihood_ratio() -> None:
    change, error, spread = 0.012, 0.004, 0.01
    found = always_valid(effect_of(change, error), spread)
    under_mixture = stats.norm.pdf(change, 0, math.hypot(error, spread))
    assert found.p_value == pytest.approx(stats.norm.pdf(change, 0, error) / under_mixture)


@pytest.mark.parametrize("z", [0.0, 1.5, 2.5, 3.0, 4.0])
def test_interval_and_p_value_agree_and_are_wider_than_one_looks(z: float) -> None:
    one = effect_of(z * 0.004, 0.004)
    found = always_valid(one, mixture_spread(0.004))
    assert (found.p_value < 0.05) == (found.absolute.low > 0) == (found.relative.low > 0)
    assert found.p_value >= one.p_value
    assert found.absolute.low < one.absolute.low < one.absolute.high < found.absolute.high
    assert found.relative.low < one.relative.low < one.relative.high < found.relative.high
    assert found.control == one.control


@pytest.mark.parametrize("alpha", [0.05, 0.01])
def test_the_interval_is_narrowest_at_the_planned_end(alpha: float) -> None:
    def width(log_spread: float) -> float:
        interval = always_valid(effect_of(0, 0.004), math.exp(log_spread), alpha).absolute
        return interval.high - interval.low

    best = optimize.minimize_scalar(width, bounds=(-9, 0), method="bounded").x
    assert mixture_spread(0.004, alpha) == pytest.approx(math.exp(best), rel=1e-3)


def test_looking_at_every_step_errs_rarely() -> None:
    random = np.random.default_rng(1)
    steps = np.arange(1, 301)
    walks = random.normal(size=(400, 300)).cumsum(axis=1) / steps  # means with errors steps**-0.5
    spread = mixture_spread(300**-0.5)
    ever = fixed = 0
    for walk in walks:
        looks = [effect_of(walk[n - 1], n**-0.5) for n in steps[4::8]]
        ever += any(always_valid(look, spread).p_value < 0.05 for look in looks)
        fixed += any(look.p_value < 0.05 for look in looks)
    assert ever / 400 < 0.06
    assert fixed / 400 > 0.2


def test_effects_without_variance_pass_through() -> None:
    unknown = compare((0.0, 0.0), (0.0, 0.0), (5, 5))
    found = always_valid(unknown, 0.1)
    assert math.isnan(found.p_value) and math.isnan(found.absolute.low)


def test_the_size_of_an_experiment_is_the_textbooks() -> None:
    random = np.random.default_rng(2)
    values = random.normal(10, 2, 4000)
    before = Ratio(values, np.ones(4000))
    deviation = values.std(ddof=1)
    # 16 variances / effect**2 a variant is the usual rule of thumb for 80%.
    assert needed_users(before, 0.1) == pytest.approx(2 * 15.7 * (deviation / 0.1) ** 2, rel=1e-3)
    assert planned_error(before, (500, 1000)) == pytest.approx(
        deviation * math.sqrt(1 / 500 + 1 / 1000)
    )
    total = needed_users(before, 0.3, shares=(0.1, 0.2), power=0.9)
    assert detectable_effect(before, (round(total / 10), round(total / 5)), power=0.9) == (
        pytest.approx(0.3, rel=1e-3)
    )
    with pytest.raises(ValueError, match="must not be 0"):
        needed_users(before, 0)


def test_a_split_is_checked_as_by_scipy() -> None:
    users, shares = np.array([[5050, 4950, 10_200], [5000, 5000, 10_000]]), np.array([1, 1, 2])
    found = mismatch(users, shares)
    for row, p_value in zip(users, found, strict=True):
        theirs = stats.chisquare(row, row.sum() * shares / 4).pvalue
        assert p_value == pytest.approx(theirs)
    assert math.isnan(mismatch(np.array([0, 0]), np.array([0.5, 0.5])))
    with pytest.raises(ValueError, match="count and a share"):
        mismatch(np.array([1, 2]), np.array([1, 1, 1]))
    with pytest.raises(ValueError, match="above 0"):
        mismatch(np.array([1, 2]), np.array([1, 0]))


def test_a_wrong_split_is_found_and_a_right_one_left_alone() -> None:
    random = np.random.default_rng(3)
    shares = np.array([0.5, 0.5])
    for wrong, most, least in ((0.5, 0.04, 0), (0.45, 1, 0.99)):
        first = random.binomial(1000, wrong, (500, 20)).cumsum(axis=1)
        looks = np.stack([first, 1000 * np.arange(1, 21) - first], axis=-1)
        alarmed = (mismatch(looks, shares) < MISMATCH).any(axis=1).mean()
        assert least <= alarmed <= most


def test_decisions_by_holm_the_others_by_benjamini_and_hochberg() -> None:
    p_values = {"gctr": 0.03, "fulfilment": 0.01, "p99": 0.04, "empty": math.nan, "clicks": 0.03}
    found = corrected(p_values, deciding=("fulfilment", "gctr", "empty"))
    assert list(found) == list(p_values)
    assert found["fulfilment"] == pytest.approx(0.02) and found["gctr"] == pytest.approx(0.03)
    assert found["clicks"] == found["p99"] == pytest.approx(0.04)
    assert math.isnan(found["empty"])
    assert corrected({}, ()) == {}
