"""Intervals and p-values that hold however often one looks.

A test at 5% that is looked at every day, and stopped when it is significant, errs far more often
than in 5% of cases. These are wider, and err in at most 5% over all looks together: asymptotic
confidence sequences (Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, "Time-uniform central limit
theory and asymptotic confidence sequences", 2024), which are the mixture sequential probability
ratio test (Robbins, 1970; Johari, Koomen, Pekelis and Walsh, 2017) with the variance as estimated.
They rest on the normal approximation: the first look should have a hundred users a variant. That
users come back on later days does no harm as long as the days are alike: the errors of all days
then average out as those of new users do.

The effect is supposed to come from a normal distribution around 0, the mixture. Any spread of it is
valid if it is set before the first look. The interval is narrowest for one amount of data, and
`mixture_spread` makes this the planned end.
"""

from __future__ import annotations

from dataclasses import replace
from math import exp, log, log1p, sqrt

import numpy as np
from scipy import special

from omnisearch.evaluation.experiments.ratio import Effect, estimate, lift


def mixture_spread(error: float, alpha: float = 0.05) -> float:
    """The standard deviation of the mixture, in the metric's unit.

    With it, the interval is the narrowest when the difference has reached the standard error
    `error`, which is to be that at the planned end (`samples.planned_error`). It is then about the
    effect that a fixed test would find in 80% of cases.
    """
    narrowest = -float(special.lambertw(-(alpha**2) / np.e, -1).real) - 1  # of (spread / error)**2
    return sqrt(narrowest) * error


def always_valid(effect: Effect, spread: float, alpha: float = 0.05) -> Effect:
    """The effect with a p-value and intervals of `absolute` and `relative` that hold at all looks.

    One may stop at the first look whose p-value is below `alpha`, and at any other. Control's and
    treatment's own intervals stay those of one look.

    Args:
        effect: of all data up to now; an adjusted one too.
        spread: of `mixture_spread`, the same at each look.
        alpha: the probability that an interval of any look misses the truth.
    """
    error = effect.absolute.error
    if not error > 0:
        return effect
    ratio = (spread / error) ** 2
    critical = sqrt((1 + 1 / ratio) * (log1p(ratio) - 2 * log(alpha)))
    z = effect.absolute.value / error
    evidence = 0.5 * (z**2 * ratio / (1 + ratio) - log1p(ratio))  # log of the likelihood ratio
    return replace(
        effect,
        absolute=estimate(effect.absolute.value, error, critical),
        relative=lift(effect.control, effect.treatment, critical),
        p_value=exp(-max(0.0, evidence)),
    )
