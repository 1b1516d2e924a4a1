"""The tests and intervals agree with scipy's, and behave at the edges."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from omnisearch.evaluation.significance import (
    bootstrap_interval,
    compare_paired,
    holm,
    randomisation_test,
    wilson_interval,
)


def scipy_p(a: np.ndarray, b: np.ndarray, resamples: float) -> float:
    result = stats.permutation_test(
        (b, a),
        lambda x, y, axis: (x - y).mean(axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=resamples,
        rng=np.random.default_rng(1),
    )
    return float(result.pvalue)


@pytest.mark.parametrize("shift", [0.0, 0.05, 0.2])
def test_exact_for_few_queries_as_scipy(shift: float) -> None:
    random = np.random.default_rng(3)
    a = random.random(11)
    b = a + random.normal(shift, 0.1, 11)
    assert randomisation_test(a, b) == pytest.approx(scipy_p(a, b, np.inf), abs=1e-12)


@pytest.mark.parametrize("shift", [0.0, 0.03, 0.06])
def test_sampled_for_many_queries_as_scipy(shift: float) -> None:
    random = np.random.default_rng(4)
    a = random.random(80)
    b = a + random.normal(shift, 0.15, 80)
    mine, theirs = randomisation_test(a, b, resamples=20_000), scipy_p(a, b, 20_000)
    spread = 4 * math.sqrt(2 * theirs * (1 - theirs) / 20_000) + 1e-4
    assert mine == pytest.approx(theirs, abs=spread)


def test_bootstrap_interval_as_scipy() -> None:
    values = np.random.default_rng(5).gamma(2, 1, 300)
    low, high = bootstrap_interval(values, resamples=9999)
    theirs = stats.bootstrap(
        (values,), np.mean, method="percentile", rng=np.random.default_rng(6)
    ).confidence_interval
    width = theirs.high - theirs.low
    assert low == pytest.approx(theirs.low, abs=0.06 * width)
    assert high == pytest.approx(theirs.high, abs=0.06 * width)


def test_weighted_bootstrap_draws_queries_with_their_pairs() -> None:
    # All pairs of one query agree, so the honest interval is that of 40 queries, not 40 * 50 pairs.
    hits = np.repeat([0.0, 1.0], 20)
    many = bootstrap_interval(hits * 50, weights=np.full(40, 50))
    assert many == bootstrap_interval(hits)
    assert many[1] - many[0] > 0.2


def test_false_alarms_come_at_the_stated_rate() -> None:
    random = np.random.default_rng(7)
    p_values = [
        randomisation_test(random.normal(size=12), random.normal(size=12)) for _ in range(300)
    ]
    assert 0.01 < np.mean(np.array(p_values) < 0.05) < 0.1


def test_seeded_two_sided_never_zero() -> None:
    a, b = np.zeros(50), np.ones(50)
    assert randomisation_test(a, b, seed=1) == randomisation_test(b, a, seed=1)
    assert 0 < randomisation_test(a, b) < 0.001
    assert randomisation_test(a, a) == 1.0


def test_wins_ties_and_losses_ignore_rounding() -> None:
    difference = compare_paired([0.3, 0.5, 0.5, 1.0], [0.1 + 0.2, 0.7, 0.6, 0.0])
    assert (difference.wins, difference.ties, difference.losses) == (2, 1, 1)
    assert difference.mean == pytest.approx(-0.175)
    assert difference.low <= difference.mean <= difference.high


def test_no_queries_is_nan_not_a_crash() -> None:
    difference = compare_paired([], [])
    assert difference.queries == 0
    assert math.isnan(difference.p_value) and math.isnan(difference.low)


@pytest.mark.parametrize(("hits", "number"), [(0, 7), (7, 7), (1, 3), (439, 500)])
def test_wilson_interval_as_scipy(hits: int, number: int) -> None:
    expected = stats.binomtest(hits, number).proportion_ci(method="wilson")
    assert wilson_interval(hits, number) == pytest.approx((expected.low, expected.high), abs=1e-6)
    assert wilson_interval(0, 0) == (0.0, 1.0)


def test_holm_by_hand() -> None:
    # Sorted: .01*4, .02*3, .03*2, .04*1, each at least the one before.
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_holm_corrects_beside_what_could_not_be_tested() -> None:
    adjusted = holm([0.04, math.nan, 0.01])
    assert (adjusted[0], adjusted[2]) == pytest.approx((0.04, 0.02)) and math.isnan(adjusted[1])
