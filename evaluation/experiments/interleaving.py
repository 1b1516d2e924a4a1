"""Two rankers in one list: which of them do users prefer?

The results of both are merged into one list and each engagement is credited to the ranker that
brought the result. Each search compares both for one user and one need, so it takes far fewer
searches than an experiment with two groups of users to tell which is better; it does not tell by
how much a metric would rise.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from math import nan
from typing import Generic, TypeVar

import numpy as np
from scipy import stats

from omnisearch.evaluation.experiments.ratio import (
    Estimate,
    Ratio,
    critical_value,
    estimate,
    two_sided,
)

_STEEPNESS = 3  # of the softmax over ranks, the value of Hofmann et al.

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Interleaved(Generic[Key]):
    """A merged list.

    Attributes:
        keys: best first, none twice.
        of_b: float64 (keys,), the probability that a key is b's: 0 for a's, 1 for b's, 0.5 for
            keys that belong to neither.
    """

    keys: list[Key]
    of_b: np.ndarray


def team_draft(
    a: Sequence[Key], b: Sequence[Key], random: np.random.Generator, length: int | None = None
) -> Interleaved[Key]:
    """Team-draft interleaving (Radlinski, Kurup and Joachims, 2008).

    In each round a coin decides who picks first; each side then picks its best result that is not
    in the list yet. A key that both would pick next goes in without a side: credit for it would be
    the toss of a coin. So identical lists give no preference. When one list has come to its end,
    the rest of the other follows without a side too, or the longer list would win by its length.

    Args:
        a, b: the rankings, best first.
        length: of the merged list; None for all keys of both.

    Raises:
        ValueError: a ranking has a key twice.
    """
    sides = (_distinct(a), _distinct(b))
    places = [0, 0]
    merged: dict[Key, float] = {}
    wanted = _length(a, b, length)
    while len(merged) < wanted:
        for side, keys in enumerate(sides):
            while places[side] < len(keys) and keys[places[side]] in merged:
                places[side] += 1
        left = [side for side in (0, 1) if places[side] < len(sides[side])]
        picks = [sides[side][places[side]] for side in left]
        if len(set(picks)) == 1:
            merged[picks[0]] = 0.5
            continue
        first = int(random.integers(2))
        merged[picks[first]] = float(first)
        if len(merged) < wanted:
            merged[picks[1 - first]] = 1.0 - first
    return Interleaved(list(merged), np.array(list(merged.values()), np.float64))


def probabilistic(
    a: Sequence[Key], b: Sequence[Key], random: np.random.Generator, length: int | None = None
) -> Interleaved[Key]:
    """Probabilistic interleaving (Hofmann, Whiteson and de Rijke, 2011).

    At each place a coin chooses a side, which draws one of its keys that are left, with chances of
    1 / rank**3. Credit is not that of the coin but its expectation over all coins that could have
    made this list: a key's `of_b` is b's chance of drawing it there over the sum of both chances.
    (Hofmann et al. take the expectation of the winner, this that of the clicks: the same for one
    click.) Every key can come at every place, so the list is worse than by `team_draft`. When one
    ranking has come to its end, the rest belongs to neither.

    Args, raises: those of `team_draft`.
    """
    keys = list(dict.fromkeys([*_distinct(a), *_distinct(b)]))
    row = {key: number for number, key in enumerate(keys)}
    chances = np.zeros((2, len(keys)))
    for side, ranking in enumerate((a, b)):
        ranks = np.arange(1, len(ranking) + 1, dtype=np.float64)
        chances[side, [row[key] for key in ranking]] = ranks**-_STEEPNESS
    merged: dict[Key, float] = {}
    for _ in range(_length(a, b, length)):
        totals = chances.sum(axis=1)
        live = chances[totals > 0] / totals[totals > 0, None]  # (sides with keys left, keys)
        drawn = int(random.choice(len(keys), p=live.mean(axis=0)))
        merged[keys[drawn]] = float(live[1, drawn] / live[:, drawn].sum()) if len(live) > 1 else 0.5
        chances[:, drawn] = 0
    return Interleaved(list(merged), np.array(list(merged.values()), np.float64))


def _distinct(ranking: Sequence[Key]) -> Sequence[Key]:
    if len(set(ranking)) < len(ranking):
        raise ValueError("A ranking to interleave has a key twice.")
    return ranking


def turns(
    a: Sequence[Key], b: Sequence[Key], user: bytes, query: str, length: int
) -> Interleaved[Key]:
    """Team-draft interleaving in which the user and the query decide whose turn it is, so that
    longer lists of the same go on where shorter ones ended."""
    seed = int.from_bytes(blake2b(user + query.encode(), digest_size=8).digest(), "big")
    return team_draft(a, b, np.random.default_rng(seed), length)


def _length(a: Sequence[Hashable], b: Sequence[Hashable], length: int | None) -> int:
    every = len({*a, *b})
    return every if length is None else min(length, every)


def credit(of_b: np.ndarray, engaged: Sequence[int]) -> tuple[float, float]:
    """What a search brings a and b: the sums over the places (from 0) that the user engaged."""
    shares = np.asarray(of_b, np.float64)[list(engaged)]
    return float((1 - shares).sum()), float(shares.sum())


@dataclass(frozen=True)
class Preference:
    """Which of two rankers users prefer.

    Attributes:
        share: of the searches that b won, ties as half a win; 0.5 is no preference. Its error is
            over users.
        p_value: two-sided, of a share of 0.5: the t test over users.
        sign_p_value: two-sided, of the sign test over users, ties left out: as many users prefer a
            as b. It counts each user once, however much they search.
        wins, ties, losses: users who prefer b, neither, a, by most of their searches.
        searches: with any credit; the others say nothing and are left out.
    """

    share: Estimate
    p_value: float
    sign_p_value: float
    wins: int
    ties: int
    losses: int
    searches: int


def wins_of(credits_a: np.ndarray, credits_b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """float64 (searches,) 1 where b won, 0.5 for a tie; and bool (searches,) which say anything."""
    a, b = (np.asarray(sums, np.float64) for sums in (credits_a, credits_b))
    apart = b - a
    won = np.where(np.abs(apart) < 1e-9, 0.5, apart > 0)  # equal up to rounding is a tie
    return won, (a > 0) | (b > 0)


def preference(credits_a: np.ndarray, credits_b: np.ndarray, users: np.ndarray) -> Preference:
    """The `Preference` of interleaved searches; NaNs where there are too few users to tell.

    Args:
        credits_a, credits_b: float64 (searches,), by `credit`.
        users: (searches,), who searched; numbers or strings.
    """
    won, said = wins_of(credits_a, credits_b)
    _, user = np.unique(np.asarray(users)[said], return_inverse=True)
    return preference_of(Ratio(np.bincount(user, won[said]), np.bincount(user)))


def preference_of(by_user: Ratio) -> Preference:
    """The `Preference` of users: their searches that b won, over those that say anything."""
    liking = by_user.numerator - by_user.denominator / 2
    wins, losses = int((liking > 0).sum()), int((liking < 0).sum())
    freedom, error = by_user.users - 1, by_user.error
    known = freedom > 0 and error > 0
    return Preference(
        share=estimate(by_user.value, error, critical_value(freedom) if known else nan),
        p_value=two_sided((by_user.value - 0.5) / error, freedom) if known else nan,
        sign_p_value=(float(stats.binomtest(wins, wins + losses).pvalue) if wins + losses else nan),
        wins=wins,
        ties=by_user.users - wins - losses,
        losses=losses,
        searches=int(by_user.denominator.sum()),
    )
