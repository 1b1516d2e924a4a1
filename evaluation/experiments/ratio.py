"""Metrics that are ratios of sums over users, and their difference between two variants.

Search fulfilment, for one, is the searches with an engagement over all searches. Users are assigned
to variants and the searches of a user resemble each other, so the users are the independent draws,
not the searches. Errors therefore come from the delta method over users (Deng, Knoblich and Lu,
"Applying the Delta Method in Metric Analytics", 2018).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, nan, sqrt

import numpy as np
from scipy import special


@dataclass(frozen=True, eq=False)
class Ratio:
    """A metric of one variant: the sum of `numerator` over the sum of `denominator`.

    A mean over users is a ratio whose denominator is 1 for each user.

    Attributes:
        numerator, denominator: float64 (users,), a user's sums, such as searches with an
            engagement and searches. Users without any have 0 in both.

    Raises:
        ValueError: the two differ in length, are not one-dimensional, or are not finite.
    """

    numerator: np.ndarray
    denominator: np.ndarray

    def __post_init__(self) -> None:
        above, below = (np.asarray(sums, np.float64) for sums in (self.numerator, self.denominator))
        if above.ndim != 1 or above.shape != below.shape:
            raise ValueError(
                f"A ratio needs one numerator and one denominator a user, "
                f"not arrays of shapes {above.shape} and {below.shape}."
            )
        if not (np.isfinite(above).all() and np.isfinite(below).all()):
            raise ValueError("A user's numerator or denominator is not a finite number.")
        object.__setattr__(self, "numerator", above)
        object.__setattr__(self, "denominator", below)

    @property
    def users(self) -> int:
        return len(self.numerator)

    @property
    def value(self) -> float:
        """NaN if the denominators sum to 0."""
        below = float(self.denominator.sum())
        return float(self.numerator.sum()) / below if below else nan

    def influence(self) -> np.ndarray:
        """float64 (users,), of mean 0: to first order, the value is its expectation plus the mean
        of these. NaNs if the denominators sum to 0."""
        if not self.denominator.sum():
            return np.full(self.users, nan)
        residual = self.numerator - self.value * self.denominator
        return residual / self.denominator.mean()

    @property
    def error(self) -> float:
        """The value's standard error by the delta method; NaN for fewer than two users."""
        return error_of_mean(self.influence())


def error_of_mean(values: np.ndarray) -> float:
    """The standard error of the mean of (users,) values; NaN for fewer than two."""
    return float(values.std(ddof=1)) / sqrt(len(values)) if len(values) > 1 else nan


@dataclass
class Moments:
    """A `Ratio` of users who come one after another: their sums alone are kept."""

    users: int = 0
    above: float = 0.0
    below: float = 0.0
    squares: float = 0.0
    products: float = 0.0
    squares_below: float = 0.0

    def add(self, above: float, below: float) -> None:
        """Count a user's numerator and denominator."""
        self.users += 1
        self.above += above
        self.below += below
        self.squares += above**2
        self.products += above * below
        self.squares_below += below**2

    @property
    def value(self) -> float:
        return self.above / self.below if self.below else nan

    @property
    def error(self) -> float:
        """As that of `Ratio`."""
        if self.users < 2 or not self.below:
            return nan
        r = self.value
        residuals = self.squares - 2 * r * self.products + r**2 * self.squares_below
        return sqrt(max(0.0, residuals) * self.users / (self.users - 1)) / abs(self.below)


@dataclass(frozen=True)
class Estimate:
    """A value with its standard error and the ends of its 95% interval, all in one unit."""

    value: float
    error: float
    low: float
    high: float


@dataclass(frozen=True)
class Effect:
    """What the treatment does to one metric.

    Attributes:
        control, treatment: the metric in each variant.
        absolute: treatment - control, in the metric's unit.
        relative: treatment / control - 1, the lift; 0.02 is two per cent more.
        p_value: two-sided, of no difference. NaN if it cannot be computed: fewer than two users
            in a variant, no denominator, or no variance at all.
        users: how many there are in control and in treatment.
    """

    control: Estimate
    treatment: Estimate
    absolute: Estimate
    relative: Estimate
    p_value: float
    users: tuple[int, int]


def difference(control: Ratio | Moments, treatment: Ratio | Moments) -> Effect:
    """The `Effect` between two variants, which have no user in common: Welch's t test of the two
    values with errors over users."""
    return compare(
        (control.value, treatment.value),
        (control.error, treatment.error),
        (control.users, treatment.users),
    )


def compare(
    values: tuple[float, float], errors: tuple[float, float], users: tuple[int, int]
) -> Effect:
    """The `Effect` of control's and treatment's values, with their standard errors and users."""
    control, treatment = (
        estimate(value, error, critical_value(number - 1))
        for value, error, number in zip(values, errors, users, strict=True)
    )
    change, error = values[1] - values[0], float(np.hypot(*errors))
    freedom = _welch_freedom(errors, users)
    return Effect(
        control=control,
        treatment=treatment,
        absolute=estimate(change, error, critical_value(freedom)),
        relative=lift(control, treatment, critical_value(freedom)),
        p_value=two_sided(change / error, freedom) if error > 0 else nan,
        users=users,
    )


def estimate(value: float, error: float, critical: float) -> Estimate:
    """The symmetric interval: value ± critical * error."""
    return Estimate(value, error, value - critical * error, value + critical * error)


def lift(control: Estimate, treatment: Estimate, critical: float) -> Estimate:
    """treatment / control - 1, with Fieller's interval.

    Fieller's interval holds the lifts that the test of "treatment - (1 + lift) * control is 0"
    does not reject. So it excludes 0 exactly when the test of the difference does; intervals of
    the logarithm can contradict it, and need positive values. The interval is (-inf, inf) if
    control may be 0, or if all users of the treatment are alike, such as where nobody did it: how
    far they vary is not known then. All is NaN if control is 0.
    """
    c, t = control.value, treatment.value
    if c == 0 or not (control.error + treatment.error) > 0:
        return Estimate(t / c - 1 if c else nan, nan, nan, nan)
    error = float(np.hypot(treatment.error, t / c * control.error)) / abs(c)
    slack_c, slack_t = (critical * control.error) ** 2, (critical * treatment.error) ** 2
    if not slack_c < c**2 or not slack_t:
        return Estimate(t / c - 1, error, -inf, inf)
    root = sqrt(t**2 * slack_c + (c**2 - slack_c) * slack_t)
    low, high = ((t * c + sign * root) / (c**2 - slack_c) - 1 for sign in (-1, 1))
    return Estimate(t / c - 1, error, low, high)


def critical_value(freedom: float) -> float:
    """Of Student's t at 95%, two-sided; NaN without degrees of freedom."""
    return float(special.stdtrit(freedom, 0.975)) if freedom > 0 else nan


def two_sided(t: float, freedom: float) -> float:
    """The p-value of Student's t."""
    return float(2 * special.stdtr(freedom, -abs(t)))


def _welch_freedom(errors: tuple[float, float], users: tuple[int, int]) -> float:
    """Welch's and Satterthwaite's degrees of freedom; NaN without variance."""
    if min(users) < 2 or not np.hypot(*errors) > 0:
        return nan
    variances = np.square(errors)
    return float(variances.sum() ** 2 / (variances**2 / (np.array(users) - 1)).sum())
