"""How probable it is that users look at a place of the page, from items shown at several places.

Of one item of one query, the difference in choices between places is due to the places alone.
Given how often such a pair was chosen in all, its choices fall on its places by the views there
times the chance to be looked at: a multinomial distribution, in which how good the pair is has no
part (the conditional likelihood of Poisson counts with an effect for each pair; the idea of
intervention harvesting: Agarwal, Zaitsev, Wang, Li, Najork and Joachims, 2019). So pairs that were
seen once or twice do no harm, as they do to an estimate of each pair's own attractiveness.

The prior is 1 / position ** DECAY with an uncertain DECAY, and further deviations of each place: so
the first places tell of those that nothing was moved to.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array

from omnisearch.data.catalogue.schema import ACTIONS

DECAY = 0.7
_DECAY_DEVIATION = 0.3  # standard deviation of the decay
_PLACE_VARIANCE = 0.1  # of the logarithm at each place beside it: as 10 choices there would have
_MOST = len(ACTIONS) - 1  # choices of one view: one of each kind
_ROUNDS = 60


def examination(
    pair: np.ndarray,
    place: np.ndarray,
    views: np.ndarray,
    choices: np.ndarray,
    places: int,
    start: np.ndarray | None = None,
) -> np.ndarray:
    """float64 (places,) the probability that a place is looked at, at most 1; 1 at the first.

    1 / position ** DECAY if no pair was chosen and shown at several places.

    Args:
        pair, place: int64 (m,) numbers from 0; each (pair, place) at most once.
        views: float64 (m,) how often the pair was shown there.
        choices: float64 (m,) how often it was chosen there. What was never shown there does not
            count, nor does more than a choice of each kind for each view.
        start: where Newton's method begins; the prior by default.
    """
    log_position = np.log(np.arange(1, places + 1))
    prior = -DECAY * log_position
    variance = _DECAY_DEVIATION**2 * np.outer(log_position, log_position)
    precision = np.linalg.inv(variance + _PLACE_VARIANCE * np.eye(places))
    choices = np.minimum(choices, _MOST * views)
    telling = _telling(pair, views, choices)
    if not telling.any():
        return np.exp(prior)
    place, views, choices = place[telling], views[telling], choices[telling]
    known, pair = np.unique(pair[telling], return_inverse=True)
    each = np.bincount(pair, choices)[pair]  # choices of the cell's pair
    found = np.bincount(place, choices, places)
    table = len(known), places
    level = prior.copy() if start is None else np.log(start)
    for _ in range(_ROUNDS):
        share = views * np.exp(level[place])
        share /= np.bincount(pair, share)[pair]
        fitted = each * share
        expected = np.bincount(place, fitted, places)
        slope = found - expected - precision @ (level - prior)
        shares, wanted = (csr_array((of, (pair, place)), table) for of in (share, fitted))
        curve = np.diag(expected) - (wanted.T @ shares).toarray() + precision
        step = np.zeros(places)
        step[1:] = np.linalg.solve(curve[1:, 1:], slope[1:])
        level += np.clip(step, -1, 1)
        if np.abs(step).max() < 1e-6:
            break
    return np.exp(np.minimum(level, 0))


def _telling(pair: np.ndarray, views: np.ndarray, choices: np.ndarray) -> np.ndarray:
    """Bool (m,): where pairs were shown that were chosen, and shown at several places."""
    shown = views > 0
    size = int(pair.max(initial=-1)) + 1
    several = np.bincount(pair[shown], minlength=size) > 1
    chosen = np.bincount(pair[shown], choices[shown], size) > 0
    return shown & (several & chosen)[pair]
