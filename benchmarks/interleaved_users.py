"""Interleaving beside two groups of users, on rankers whose quality is known."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations
from math import inf

import numpy as np
from simulated_users import clicks, draw_users

from omnisearch.evaluation.experiments.interleaving import (
    Interleaved,
    Preference,
    preference,
    probabilistic,
    team_draft,
)
from omnisearch.evaluation.experiments.ratio import Effect, Ratio, difference

DAYS = 14
PLACES = 10
ITEMS = 40  # a query's candidates
MERGES = 30  # of one query's two lists
NOISES = (1.3, 1.15, 1.0, 0.9, 0.8)  # of the rankers: less is better
WORLDS = 3
TIMES = 5  # that a search is made to know the truth

Merge = Callable[..., Interleaved[int]]


@dataclass
class Lists:
    """What can be shown: (queries, merges, PLACES) relevances, and whether a place is b's."""

    relevance: np.ndarray
    of_b: np.ndarray


@dataclass
class Searches:
    """Searches of users: (searches,) who, with what appetite, and which query."""

    user: np.ndarray
    appetite: np.ndarray
    query: np.ndarray


def draw_searches(random: np.random.Generator, users: int, queries: int) -> Searches:
    people = draw_users(random, users, DAYS)
    user = np.repeat(np.arange(users), random.poisson(DAYS * people.activity))
    popularity = np.arange(1, queries + 1) ** -0.7
    query = random.choice(queries, len(user), p=popularity / popularity.sum())
    return Searches(user, people.habit[user], query)


def merged_lists(
    random: np.random.Generator, merge: Merge, relevance: np.ndarray, a: np.ndarray, b: np.ndarray
) -> Lists:
    shown = np.zeros((len(relevance), MERGES, PLACES))
    of_b = np.zeros_like(shown)
    for query in range(len(relevance)):
        first, second = a[query].tolist(), b[query].tolist()
        for number in range(MERGES):
            merged = merge(first, second, random, PLACES)
            shown[query, number] = relevance[query, merged.keys]
            of_b[query, number] = merged.of_b
    return Lists(shown, of_b)


def interleaved(
    random: np.random.Generator, lists: Lists, searches: Searches
) -> tuple[Preference, float]:
    """The preference, and the fulfilment of the interleaved searches."""
    which = random.integers(MERGES, size=len(searches.query))
    engaged = clicks(random, lists.relevance[searches.query, which], searches.appetite)
    of_b = lists.of_b[searches.query, which]
    found = preference(
        (engaged * (1 - of_b)).sum(axis=1), (engaged * of_b).sum(axis=1), searches.user
    )
    return found, float(engaged.any(axis=1).mean())


def two_groups(
    random: np.random.Generator, a: np.ndarray, b: np.ndarray, searches: Searches
) -> Effect:
    """Of two rankers' relevances (queries, places), each shown to half of the users."""
    users = int(searches.user.max()) + 1
    with_b = random.random(users) < 0.5
    of_b = with_b[searches.user]
    shown = np.where(of_b[:, None], b[searches.query], a[searches.query])
    fulfilled = clicks(random, shown, searches.appetite).any(axis=1)
    above = np.bincount(searches.user, fulfilled, users)
    below = np.bincount(searches.user, minlength=users)
    sides = (np.flatnonzero(side & (below > 0)) for side in (~with_b, with_b))
    return difference(*(Ratio(above[side], below[side]) for side in sides))


def true_change(
    random: np.random.Generator, a: np.ndarray, b: np.ndarray, searches: Searches
) -> tuple[float, float]:
    """Fulfilment with a, and its change with b: each search made `TIMES` with both."""
    means = np.zeros(2)
    for _ in range(TIMES):
        seed = int(random.integers(2**32))
        for side, lists in enumerate((a, b)):
            same = np.random.default_rng(seed)
            means[side] += clicks(same, lists[searches.query], searches.appetite).any(axis=1).mean()
    return float(means[0]) / TIMES, float(means[1] - means[0]) / TIMES


def needed(searches: int, change: float, error: float) -> float:
    """The searches at which a change is found in 80% of cases, by its error at `searches`."""
    return searches * ((1.96 + 0.84) * error / change) ** 2 if change else inf


@dataclass
class Compared:
    """A pair of rankers in both kinds of experiment, with the searches that each needs."""

    names: str
    a: np.ndarray
    b: np.ndarray
    fulfilment: float
    change: float
    groups: float
    found: dict[str, tuple[float, float, float]]  # share, fulfilment, searches
    drafted: Lists

    def agrees(self, name: str) -> bool:
        return (self.found[name][0] > 0.5) == (self.change > 0)


def compared_pairs(
    random: np.random.Generator, searches: Searches, queries: int
) -> Iterator[Compared]:
    """All pairs of rankers of new items."""
    relevance = random.beta(0.4, 1.6, (queries, ITEMS))
    score = np.log(relevance + 0.02)
    # A ranker's noise is part of it: an item that it overrates, it overrates each time.
    rankings = [
        np.argsort(-(score + noise * random.normal(size=score.shape)), axis=1)[:, :PLACES]
        for noise in NOISES
    ]
    lists = [np.take_along_axis(relevance, ranking, axis=1) for ranking in rankings]
    count = len(searches.query)
    for a, b in combinations(range(len(NOISES)), 2):
        fulfilment, change = true_change(random, lists[a], lists[b], searches)
        error = two_groups(random, lists[a], lists[b], searches).absolute.error
        found, merged = {}, {}
        for merge in (team_draft, probabilistic):
            name = merge.__name__
            merged[name] = merged_lists(random, merge, relevance, rankings[a], rankings[b])
            runs = [interleaved(random, merged[name], searches) for _ in range(TIMES)]
            share = float(np.mean([run[0].share.value for run in runs]))
            shown = float(np.mean([run[1] for run in runs]))
            found[name] = share, shown, needed(count, share - 0.5, runs[0][0].share.error)
        yield Compared(
            names=f"{a} {b}",
            a=lists[a],
            b=lists[b],
            fulfilment=fulfilment,
            change=change,
            groups=needed(count, change, error),
            found=found,
            drafted=merged["team_draft"],
        )


def print_interleaving(random: np.random.Generator, users: int, queries: int, repeats: int) -> None:
    searches = draw_searches(random, users, queries)
    worlds = [list(compared_pairs(random, searches, queries)) for _ in range(WORLDS)]
    print(f"\nInterleaving beside two groups, {len(searches.query):,} searches of {users:,} users.")
    print("Needed are the searches that find the better ranker in 80% of cases.")
    print(f"{'':26}{'two groups':>12}{'team draft':>39}{'probabilistic':>39}")
    columns = f"{'needed':>12}{'fewer':>7}{'share':>8}{'fulfilment':>12}"
    print(f"{'pair':6}{'fulfilment':>12}{'lift':>8}{'needed':>12}{columns}{columns}")
    for pair in worlds[0]:
        line = f"{pair.names:6}{pair.fulfilment:12.3f}{pair.change / pair.fulfilment:+8.1%}"
        line += f"{pair.groups:12,.0f}"
        for name in ("team_draft", "probabilistic"):
            share, shown, much = pair.found[name]
            line += f"{much:12,.0f}{pair.groups / much:6.0f}x{share:8.3f}{shown:12.3f}"
        print(line)
    pairs = [pair for world in worlds for pair in world]
    for name in ("team_draft", "probabilistic"):
        fewer = np.median([pair.groups / pair.found[name][2] for pair in pairs])
        wrong = [f"{pair.change / pair.fulfilment:+.1%}" for pair in pairs if not pair.agrees(name)]
        print(
            f"{name}: of {len(pairs)} pairs of {WORLDS} worlds, {len(pairs) - len(wrong)} have the "
            f"better ranker preferred{' (not the lifts ' if wrong else ''}{', '.join(wrong)}"
            f"{')' if wrong else ''}; the median pair needs {fewer:.0f} times fewer searches"
        )
    middle = sorted(worlds[0], key=lambda pair: pair.found["team_draft"][2])[len(worlds[0]) // 2]
    few = max(10, round(middle.found["team_draft"][2] * users / len(searches.query)))
    print_again(random, middle, [draw_searches(random, few, queries) for _ in range(repeats)])


def print_again(random: np.random.Generator, pair: Compared, draws: list[Searches]) -> None:
    """How often a pair is told apart by as many searches as should do it in 80% of cases."""
    found, right, grouped = 0, 0, 0
    for searches in draws:
        one = interleaved(random, pair.drafted, searches)[0]
        found += one.p_value < 0.05
        right += (one.share.value > 0.5) == (pair.change > 0)
        grouped += two_groups(random, pair.a, pair.b, searches).p_value < 0.05
    searches = np.mean([len(searches.query) for searches in draws])
    print(
        f"pair {pair.names}, {len(draws)} times with {searches:,.0f} searches: told apart by team "
        f"draft in {found / len(draws):.0%} (the better preferred in {right / len(draws):.0%}), "
        f"by two groups in {grouped / len(draws):.0%}"
    )
