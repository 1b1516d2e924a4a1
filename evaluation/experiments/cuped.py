"""CUPED: less variance by what users did before the experiment.

Users who engaged much before will engage much now, whatever the variant. What the days before
predict of a variant's value by its users alone is subtracted (Deng, Xu, Kohavi and Walker,
"Improving the Sensitivity of Online Controlled Experiments by Utilizing Pre-Experiment Data",
2013). The days before know nothing of the assignment, so that the difference stays unbiased.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from omnisearch.evaluation.experiments.ratio import (
    Effect,
    Ratio,
    compare,
    difference,
    error_of_mean,
)


@dataclass(frozen=True)
class Adjusted:
    """The adjusted `Effect`, and the share of the difference's variance that is gone (0 to 1)."""

    effect: Effect
    removed: float


def adjusted_difference(
    control: Ratio, treatment: Ratio, control_before: Ratio, treatment_before: Ratio
) -> Adjusted:
    """The `Effect` of a metric, adjusted by the same users' metric before the experiment.

    Args:
        control_before, treatment_before: the sums of the same users in the same order, before the
            experiment. Who has a denominator of 0 there, such as a new user, counts as average.

    Raises:
        ValueError: a variant's users before and during the experiment differ in number.
    """
    for during, before in ((control, control_before), (treatment, treatment_before)):
        if during.users != before.users:
            raise ValueError(
                f"There are {during.users:,} users in the experiment and {before.users:,} before "
                "it; the two must be the same users in the same order."
            )
    plain = difference(control, treatment)
    everyone = Ratio(
        np.concatenate([control_before.numerator, treatment_before.numerator]),
        np.concatenate([control_before.denominator, treatment_before.denominator]),
    )
    x_control, x_treatment = np.split(everyone.influence(), [control.users])
    z_control, z_treatment = control.influence(), treatment.influence()
    # One slope for both variants: two would take a part of the effect for a difference in slopes.
    slope = _product(x_control, z_control) + _product(x_treatment, z_treatment)
    variance = _product(x_control, x_control) + _product(x_treatment, x_treatment)
    if not (variance > 0 and plain.absolute.error > 0):
        return Adjusted(plain, 0.0)
    slope /= variance
    effect = compare(
        (
            control.value - slope * float(x_control.mean()),
            treatment.value - slope * float(x_treatment.mean()),
        ),
        (
            error_of_mean(z_control - slope * x_control),
            error_of_mean(z_treatment - slope * x_treatment),
        ),
        plain.users,
    )
    return Adjusted(effect, 1 - (effect.absolute.error / plain.absolute.error) ** 2)


def _product(x: np.ndarray, z: np.ndarray) -> float:
    """The sum of products of (users,) deviations from the means; 0 without users."""
    return float((x - x.mean()) @ (z - z.mean())) if len(x) else 0.0
