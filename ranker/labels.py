"""Graded engagement labels from a log, corrected for position.

People look at the first results more than at later ones, so a lack of engagement says little about
a result far down. The position-based click model assumes that an engaged result was examined, which
depends only on its position (`examination`), and liked, which depends only on the query and the
item. A pair's label is its engagement per examined view; its weight grows with the probability that
it was examined.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from omnisearch.data.catalogue.schema import ACTIONS

ACTION_GAIN = {
    "impression": 0.0,
    "click": 1.0,
    "long_click": 2.0,
    "save": 3.0,
    "add_to_cart": 3.0,
    "checkout": 4.0,
}
PRIOR_VIEWS = 2.0  # views without engagement added to each pair, so that one click counts little
UNSEEN_WEIGHT = 0.3  # of candidates that were retrieved but never shown for the query
MAX_POSITION = 50  # examination is the same from here on
_GAINS = np.array([ACTION_GAIN[action] for action in ACTIONS])
_IMPRESSION = ACTIONS.index("impression")


@dataclass(frozen=True)
class PairLog:
    """A log by (query, item) pair: any number of rows for each pair, in any order.

    Attributes:
        pair: int64 (m,), the number of the pair, from 0.
        action: int64 (m,), index into ACTIONS.
        position: float (m,), 1 for the first result, NaN if unknown.
        count: (m,), how many times the action happened.
    """

    pair: np.ndarray
    action: np.ndarray
    position: np.ndarray
    count: np.ndarray


def graded_labels(log: PairLog, pairs: int, examined: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gain and weight of each of `pairs` pairs.

    gain = sum(ACTION_GAIN * count) / (examined views + PRIOR_VIEWS). An impression at an unknown
    position is one view, and a pair has at least as many views as actions, because some logs have
    no impressions.
    weight = 1 for engaged pairs. For others it is UNSEEN_WEIGHT if no impression was examined, and
    rises to 1 with the probability that one was.

    Args:
        examined: float64 (MAX_POSITION,) the probability that a result is examined, by position.

    Returns:
        float32 (pairs,) gain, 0 if not engaged, and float32 (pairs,) weight.
    """
    shown = log.action == _IMPRESSION
    chance = np.where(np.isnan(log.position), 1.0, examined[_place(log.position)])
    chance = np.minimum(chance, 0.999)
    count = log.count.astype(np.float64)

    def total(values: np.ndarray) -> np.ndarray:
        return np.bincount(log.pair, values, minlength=pairs)

    actions = total(count * ~shown)
    views = np.maximum(total(count * chance * shown), actions)
    gain = total(count * _GAINS[log.action]) / (views + PRIOR_VIEWS)
    unexamined = np.exp(total(count * np.log1p(-chance) * shown))
    weight = np.where(gain > 0, 1.0, 1 - (1 - UNSEEN_WEIGHT) * unexamined)
    return gain.astype(np.float32), weight.astype(np.float32)


def _place(position: np.ndarray) -> np.ndarray:
    """Positions as indices of `examined`; the caller must handle unknown ones, which are 0."""
    return np.clip(np.nan_to_num(position, nan=1), 1, MAX_POSITION).astype(np.int64) - 1
