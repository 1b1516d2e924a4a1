"""Users who search much or little and have habits, and who click through result lists."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from omnisearch.evaluation.experiments.ratio import Ratio

NEW = 0.1  # share of users who were not there before the experiment
KEPT = 0.7  # share of users who are during the experiment as they were before
MOST = 0.8  # the highest chance, so that an effect can raise it


@dataclass
class Users:
    """Draws of a population, all (users,): searches a day, the chances that a search is fulfilled
    and that a fulfilled one has a long click, and the day of the first visit, from 0."""

    activity: np.ndarray
    habit: np.ndarray
    patience: np.ndarray
    joined: np.ndarray


def draw_users(random: np.random.Generator, count: int, days: int) -> Users:
    """Lognormal searches a day: median 0.3, mean 0.6, and 1 of 100 users above 5. Habits are beta
    distributed, with a mean that is higher for active users. Half of the users come on the first
    day, the others evenly over the rest."""
    activity = 0.3 * random.lognormal(0, 1.2, count)
    mean = 1 / (1 + np.exp(0.9 - 0.2 * np.log(activity / 0.3)))
    return Users(
        activity=activity,
        habit=MOST * random.beta(3 * mean, 3 * (1 - mean)),
        patience=MOST * random.beta(3, 3, count),
        joined=np.maximum(0, random.integers(-days, days, count)),
    )


def as_before(random: np.random.Generator, users: Users, days: int) -> Users:
    """The same users in an earlier period: `KEPT` of them alike, the others like anybody."""
    count = len(users.activity)
    other, kept = draw_users(random, count, days), random.random(count) < KEPT
    return Users(
        np.where(kept, users.activity, other.activity),
        np.where(kept, users.habit, other.habit),
        np.where(kept, users.patience, other.patience),
        other.joined,
    )


@dataclass
class Log:
    """Sums up to the end of each day, int64 (users, days): the days that a user was there, and
    their searches."""

    days: np.ndarray
    searches: np.ndarray
    fulfilled: np.ndarray
    long: np.ndarray


def draw_log(
    random: np.random.Generator, users: Users, days: int, factors: dict[str, np.ndarray]
) -> Log:
    """What the users do. Each of `METRICS` is multiplied by its `factors`, (users,)."""
    there = np.arange(days) >= users.joined[:, None]
    activity = users.activity * factors["searches a day"]
    searches = random.poisson(activity[:, None] * there)
    fulfilled = random.binomial(searches, (users.habit * factors["fulfilment"])[:, None])
    patience = users.patience * factors["long clicks"] / factors["fulfilment"]
    long = random.binomial(fulfilled, patience[:, None])
    return Log(*(by_day.cumsum(axis=1) for by_day in (there, searches, fulfilled, long)))


METRICS = ("fulfilment", "long clicks", "searches a day")


def ratio(name: str, log: Log, rows: np.ndarray, day: int = -1) -> Ratio:
    """A metric of the users in `rows` up to a day's end."""
    above, below = {
        "fulfilment": (log.fulfilled, log.searches),
        "long clicks": (log.long, log.searches),
        "searches a day": (log.searches, log.days),
    }[name]
    return Ratio(above[rows, day], below[rows, day])


def clicks(random: np.random.Generator, relevance: np.ndarray, appetite: np.ndarray) -> np.ndarray:
    """Which results are engaged with, bool (searches, places).

    Users read from the top. They engage with a result with chance relevance * appetite, leave after
    60% of their engagements, and after 10% of all results that they have read.
    """
    would = random.random(relevance.shape) < relevance * appetite[:, None]
    leaves = random.random(relevance.shape) < np.where(would, 0.6, 0.1)
    reads = np.cumprod(~leaves, axis=1, dtype=bool)
    return would & np.hstack([np.ones((len(would), 1), bool), reads[:, :-1]])
