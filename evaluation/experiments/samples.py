"""How many users an experiment needs, and whether they were split as planned."""

from __future__ import annotations

from math import ceil, sqrt

import numpy as np
from scipy import stats

from omnisearch.evaluation.experiments.ratio import Ratio

MISMATCH = 0.001  # below this p-value something is wrong with the split, hardly chance


def planned_error(before: Ratio, users: tuple[int, int]) -> float:
    """The standard error that a difference will have, by a period before the experiment.

    Args:
        before: the metric of users who were in no experiment, over as many days as it will run: a
            user's number of searches, and thus the error, depends on them.
        users: planned, in control and in treatment.
    """
    return before.error * sqrt(before.users * (1 / users[0] + 1 / users[1]))


def detectable_effect(
    before: Ratio, users: tuple[int, int], power: float = 0.8, alpha: float = 0.05
) -> float:
    """The smallest absolute effect that a test at `alpha` finds with probability `power`, in the
    metric's unit. `before` and `users` are those of `planned_error`."""
    return _errors_apart(power, alpha) * planned_error(before, users)


def needed_users(
    before: Ratio,
    effect: float,
    shares: tuple[float, float] = (0.5, 0.5),
    power: float = 0.8,
    alpha: float = 0.05,
) -> int:
    """The users for an absolute `effect` to be found with probability `power`.

    They are all users, of whom the two variants get the `shares`; others may go elsewhere. With
    CUPED it takes as much less as the share of variance that it removes.

    Raises:
        ValueError: the effect is 0, or `before` has no variance.
    """
    if effect == 0 or not before.error > 0:
        raise ValueError("The effect must not be 0, and the period before needs some variance.")
    variance = before.error**2 * before.users * (1 / shares[0] + 1 / shares[1])
    return ceil(variance * (_errors_apart(power, alpha) / effect) ** 2)


def _errors_apart(power: float, alpha: float) -> float:
    """By how many standard errors an effect must differ from 0."""
    return float(stats.norm.ppf(1 - alpha / 2) + stats.norm.ppf(power))


def mismatch(users: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """The p-value of the chi-square test that variants have their planned shares of users.

    It holds for one look, at the end. If it is below `MISMATCH`, the experiment's figures are not
    to be trusted: users were lost or doubled in one variant, and not at random.

    Args:
        users: int (..., variants), the users of each variant.
        shares: float64 (variants,), planned; they are divided by their sum.

    Returns:
        float64 (...); NaN without users.

    Raises:
        ValueError: a share is not positive, or the numbers of variants differ.
    """
    users, shares = _checked(users, shares)
    total = users.sum(axis=-1, keepdims=True)
    with np.errstate(invalid="ignore"):  # without users
        squares = ((users - total * shares) ** 2 / (total * shares)).sum(axis=-1)
    return stats.chi2.sf(squares, len(shares) - 1)


def _checked(users: np.ndarray, shares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    users, shares = np.asarray(users, np.float64), np.asarray(shares, np.float64)
    if shares.ndim != 1 or users.shape[-1:] != shares.shape:
        raise ValueError(
            f"Each variant needs a count and a share, not {users.shape[-1:]} and {shares.shape}."
        )
    if not (shares > 0).all():
        raise ValueError("Each variant's planned share must be above 0.")
    return users, shares / shares.sum()
