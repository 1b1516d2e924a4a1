"""Ratio metrics of users, percentiles and CUPED, against scipy and plain bootstraps."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from omnisearch.evaluation.experiments.cuped import adjusted_difference
from omnisearch.evaluation.experiments.percentiles import (
    ArrayTimes,
    percentile,
    percentile_difference,
)
from omnisearch.evaluation.experiments.ratio import Estimate, Ratio, difference, lift
from omnisearch.evaluation.significance import bootstrap_interval


def shoppers(random: np.random.Generator, users: int = 2000, chance: float = 0.3) -> Ratio:
    """Users with very different numbers of searches, and habits of their own."""
    searches = 1 + random.poisson(random.lognormal(0.5, 1, users))
    habits = random.beta(3 * chance, 3 * (1 - chance), users)
    return Ratio(random.binomial(searches, habits), searches)


def test_an_error_is_that_of_users_drawn_again() -> None:
    metric = shoppers(np.random.default_rng(1))
    low, high = bootstrap_interval(metric.numerator, metric.denominator, resamples=4000)
    assert metric.error == pytest.approx((high - low) / 2 / 1.96, rel=0.06)
    of_searches = math.sqrt(metric.value * (1 - metric.value) / metric.denominator.sum())
    assert metric.error > 1.5 * of_searches


def test_means_of_users_are_compared_as_by_welch() -> None:
    random = np.random.default_rng(2)
    a, b = random.gamma(2, 1, 40), random.gamma(2, 1.3, 25)
    effect = difference(Ratio(a, np.ones(40)), Ratio(b, np.ones(25)))
    theirs = stats.ttest_ind(b, a, equal_var=False)
    interval = theirs.confidence_interval()
    assert effect.p_value == pytest.approx(theirs.pvalue)
    assert (effect.absolute.low, effect.absolute.high) == pytest.approx(tuple(interval))
    assert effect.users == (40, 25)
    own = stats.t.interval(0.95, 39, loc=a.mean(), scale=stats.sem(a))
    assert (effect.control.low, effect.control.high) == pytest.approx(own)


def test_the_lift_is_that_of_users_drawn_again() -> None:
    random = np.random.default_rng(3)
    control, treatment = shoppers(random), shoppers(random, chance=0.36)
    effect = difference(control, treatment)
    lifts = []
    for _ in range(1500):
        values = []
        for variant in (control, treatment):
            rows = random.integers(0, variant.users, variant.users)
            values.append(variant.numerator[rows].sum() / variant.denominator[rows].sum())
        lifts.append(values[1] / values[0] - 1)
    low, high = np.quantile(lifts, [0.025, 0.975])
    width = high - low
    assert effect.relative.low == pytest.approx(low, abs=0.1 * width)
    assert effect.relative.high == pytest.approx(high, abs=0.1 * width)
    assert effect.relative.error == pytest.approx(np.std(lifts), rel=0.1)


def test_the_lifts_interval_never_contradicts_the_p_value() -> None:
    random = np.random.default_rng(4)
    decided = 0
    for _ in range(200):
        effect = difference(shoppers(random, 60), shoppers(random, 60, 0.4))
        away = not effect.relative.low <= 0 <= effect.relative.high
        assert away == (effect.p_value < 0.05)
        decided += away
    assert 20 < decided < 180


def test_the_lift_over_nearly_nothing_has_no_bounds() -> None:
    control, treatment = Estimate(0.01, 0.01, 0, 0.03), Estimate(0.02, 0.01, 0, 0.04)
    found = lift(control, treatment, 1.96)
    assert found.value == pytest.approx(1)
    assert (found.low, found.high) == (-math.inf, math.inf)
    assert math.isnan(lift(Estimate(0, 0.01, 0, 0), treatment, 1.96).value)


def test_too_little_to_tell_is_nan() -> None:
    none, one, idle = Ratio([], []), Ratio([1], [2]), Ratio(np.zeros(9), np.zeros(9))
    some = Ratio([1, 0, 2], [2, 1, 2])
    for other in (none, one, idle, Ratio([0, 0], [1, 1])):
        effect = difference(other, some)
        assert effect.users == (other.users, 3)
    assert math.isnan(difference(none, some).p_value)
    assert math.isnan(difference(idle, some).absolute.low)
    assert math.isnan(difference(one, some).p_value)
    assert math.isnan(difference(Ratio([0, 0], [1, 1]), Ratio([0, 0], [1, 1])).p_value)


def test_what_is_no_ratio_is_refused() -> None:
    with pytest.raises(ValueError, match=r"shapes \(2,\) and \(3,\)"):
        Ratio([1, 2], [1, 2, 3])
    with pytest.raises(ValueError, match="finite"):
        Ratio([1, math.nan], [1, 1])


def test_users_without_searches_change_nothing_but_their_number() -> None:
    metric = shoppers(np.random.default_rng(5))
    idle = np.zeros(metric.users)
    more = Ratio(np.r_[metric.numerator, idle], np.r_[metric.denominator, idle])
    assert more.value == metric.value
    assert more.error == pytest.approx(metric.error, rel=1e-3)


def latencies(random: np.random.Generator, users: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """Milliseconds of searches, slower for some users; and who searched."""
    who = np.repeat(np.arange(users), 1 + random.poisson(20, users))
    return random.lognormal(3 + random.normal(0, 0.5, users)[who], 0.4), who


@pytest.mark.parametrize("share", [0.5, 0.99])
def test_a_percentiles_interval_is_that_of_users_drawn_again(share: float) -> None:
    random = np.random.default_rng(6)
    values, users = latencies(random)
    found = percentile(ArrayTimes(values, users), share)
    assert found.value == np.quantile(values, share)
    by_user = [values[users == user] for user in range(400)]
    again = [
        np.quantile(np.concatenate([by_user[user] for user in random.integers(0, 400, 400)]), share)
        for _ in range(400)
    ]
    low, high = np.quantile(again, [0.025, 0.975])
    assert found.high - found.low == pytest.approx(high - low, rel=0.2)
    assert found.low == pytest.approx(low, rel=0.05) and found.high == pytest.approx(high, rel=0.05)


def test_slower_searches_are_found() -> None:
    random = np.random.default_rng(7)
    (values, users), treatment = latencies(random), latencies(random)
    slower = ArrayTimes(1.5 * treatment[0], treatment[1])
    effect = percentile_difference(ArrayTimes(values, users), slower, 0.5)
    assert effect.p_value < 0.001 and effect.relative.low < 0.5 < effect.relative.high
    assert effect.users == (400, 400)


def test_percentiles_of_few_searches_have_open_ends() -> None:
    found = percentile(ArrayTimes(np.arange(1.0, 11), np.arange(10)), 0.99)
    assert found.high == math.inf and math.isnan(found.error)
    assert math.isnan(percentile(ArrayTimes(np.array([]), np.array([])), 0.5).value)
    assert math.isnan(percentile(ArrayTimes(np.ones(3), np.zeros(3)), 0.5).low)  # of one user


def before_and_during(
    random: np.random.Generator, users: int, chance: float = 0.3
) -> tuple[Ratio, Ratio]:
    activity = random.lognormal(1.5, 1, users)
    habits = random.beta(2, 4, users)
    ratios = []
    for factor in (1.0, chance / 0.3):
        searches = random.poisson(activity)
        ratios.append(Ratio(random.binomial(searches, factor * habits), searches))
    return ratios[0], ratios[1]


def test_cuped_of_means_is_the_textbooks() -> None:
    random = np.random.default_rng(8)
    x = random.normal(5, 1, 500)
    y = x + random.normal(0, 1, 500)
    ones = np.ones(250)
    found = adjusted_difference(*(Ratio(v, ones) for v in (y[:250], y[250:], x[:250], x[250:])))
    within = np.repeat([x[:250].mean(), x[250:].mean()], 250)
    slope = ((x - within) * y).sum() / ((x - within) ** 2).sum()
    flat = y - slope * (x - x.mean())
    theirs = stats.ttest_ind(flat[250:], flat[:250], equal_var=False)
    assert found.effect.p_value == pytest.approx(theirs.pvalue)
    assert found.effect.absolute.value == pytest.approx(flat[250:].mean() - flat[:250].mean())
    assert found.removed == pytest.approx(0.5, abs=0.1)


def test_cuped_keeps_the_effect_and_narrows_its_interval() -> None:
    random = np.random.default_rng(9)
    errors = []
    for _ in range(60):
        (control_before, control), (treatment_before, treatment) = (
            before_and_during(random, 1000),
            before_and_during(random, 1000, 0.27),
        )
        found = adjusted_difference(control, treatment, control_before, treatment_before)
        effect = found.effect
        assert effect.absolute.error < difference(control, treatment).absolute.error
        assert found.removed > 0.2
        errors.append((effect.absolute.value + 1 / 30) / effect.absolute.error)
    # The true ratios are 1/3 and 0.9/3.
    assert abs(np.mean(errors)) < 3 / math.sqrt(60)
    assert 0.75 < np.std(errors) < 1.3


def test_without_days_before_cuped_changes_nothing() -> None:
    random = np.random.default_rng(10)
    control, treatment = shoppers(random), shoppers(random)
    nothing = Ratio(np.zeros(2000), np.zeros(2000))
    found = adjusted_difference(control, treatment, nothing, nothing)
    assert (found.effect, found.removed) == (difference(control, treatment), 0)
    with pytest.raises(ValueError, match="same users in the same order"):
        adjusted_difference(control, treatment, nothing, Ratio([1], [1]))


def test_new_users_count_as_average() -> None:
    random = np.random.default_rng(11)
    (control_before, control), (treatment_before, treatment) = (
        before_and_during(random, 1000),
        before_and_during(random, 1000),
    )
    new = np.arange(1000) % 2 == 0
    for before in (control_before, treatment_before):
        before.numerator[new] = before.denominator[new] = 0
    found = adjusted_difference(control, treatment, control_before, treatment_before)
    assert 0.05 < found.removed < 0.5


def test_where_nobody_did_it_the_interval_is_not_a_point() -> None:
    control = Ratio(np.array([0.0, 1.0, 0.0, 1.0, 0.0, 0.0]), np.ones(6))
    nobody = Ratio(np.zeros(6), np.ones(6))
    lift = difference(control, nobody).relative
    assert lift.value == -1 and lift.low == -np.inf and lift.high == np.inf
