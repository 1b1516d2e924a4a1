"""How probable it is that users look at a place of the page, from items shown at several places.

Of one item of one query, the difference in choices between places is due to the places alone.
Given how often such a pair was chosen in all, its choices fall on its places by the views there
times the chance to be looked at: a multinomial distribution, in which how good the pair is has no
part (the conditional likelihood of Poisson counts with an effect for each pair; the idea of
intervention harvesting: Agarwal, Zaitsev, Wang, Li, Najork and Joachims, 2019). So pairs that were
seen once or twice do no harm, as they do to an estimate of each pair's own attractiveness.
"""

from __future__ import annotations

import numpy as np

from omnisearch.ranker.labels import DECAY

_PRIOR = 10.0  # strength of the prior, as choices
_ROUNDS = 30


def looked_at(
    views: np.ndarray, choices: np.ndarray, start: np.ndarray | None = None
) -> np.ndarray:
    """float64 (k,) the probability that a place is looked at; 1 at the first.

    The prior is 1 / position ** DECAY, as `ranker.labels.examination` has it.

    Args:
        views: float64 (p, k) how often each pair was shown at each place.
        choices: float64 (p, k) how often it was chosen there.
        start: where Newton's method begins; the prior by default.
    """
    places = views.shape[1]
    prior = -DECAY * np.log(np.arange(1, places + 1))
    each, at = choices.sum(axis=1), choices.sum(axis=0)  # (p,), (k,)
    level = prior.copy() if start is None else np.log(start)
    for _ in range(_ROUNDS):
        share = views * np.exp(level)
        share /= np.maximum(share.sum(axis=1, keepdims=True), 1e-300)
        weighted = share * each[:, None]
        expected = weighted.sum(axis=0)
        slope = at - expected - _PRIOR * (level - prior)
        curve = np.diag(expected + _PRIOR) - weighted.T @ share
        step = np.zeros(places)
        step[1:] = np.linalg.solve(curve[1:, 1:], slope[1:])
        level += np.clip(step, -1, 1)
        if np.abs(step).max() < 1e-6:
            break
    return np.exp(np.minimum(level, 0))
