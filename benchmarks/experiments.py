"""The statistics of experiments, on simulated users whose truth is known.

    python benchmarks/experiments.py [--tests 500] [--users 10000] [--searchers 20000]
        [--queries 1000] [--repeats 300] [--seed 1]

Splits simulated users in two, again and again, with no difference between the two (A/A) and with
the effect that should be found in 80% of cases, over 14 days. Prints how often tests reject, once
at the end and with a look every day, what CUPED brings, and how often a wrong split is noticed.
Then it ranks lists by rankers of different quality and compares interleaving with two groups.
Brackets hold 95% intervals of the rates by the number of tests.
"""

from __future__ import annotations

import argparse
import os
import time
from collections import defaultdict

import numpy as np
from interleaved_users import print_interleaving
from scipy import stats
from simulated_users import METRICS, NEW, as_before, draw_log, draw_users, ratio

from omnisearch.evaluation.experiments.cuped import adjusted_difference
from omnisearch.evaluation.experiments.percentiles import ArrayTimes, percentile_difference
from omnisearch.evaluation.experiments.ratio import Ratio, difference
from omnisearch.evaluation.experiments.samples import (
    MISMATCH,
    detectable_effect,
    mismatch,
    planned_error,
)
from omnisearch.evaluation.experiments.sequential import always_valid, mixture_spread

DAYS = 14
ALPHA = 0.05


def naive_p(control: Ratio, treatment: Ratio) -> float:
    """The z test of two proportions, as if all searches were independent."""
    above = np.array([control.numerator.sum(), treatment.numerator.sum()])
    below = np.array([control.denominator.sum(), treatment.denominator.sum()])
    pooled = above.sum() / below.sum()
    error = np.sqrt(pooled * (1 - pooled) * (1 / below).sum())
    return float(2 * stats.norm.sf(abs(np.diff(above / below)[0]) / error))


def one_test(random: np.random.Generator, count: int, effects: bool, found: dict) -> None:
    """Adds what one experiment found, by metric and kind, to `found`."""
    users = draw_users(random, count, DAYS)
    treated = random.random(count) < 0.5
    nothing = dict.fromkeys(METRICS, np.ones(count))
    earlier = draw_log(random, as_before(random, users, DAYS), DAYS, nothing)
    new = random.random(count) < NEW
    for sums in (earlier.days, earlier.searches, earlier.fulfilled, earlier.long):
        sums[new] = 0
    halves = (count // 2, count - count // 2)
    planned, factors = {}, {}
    for name in METRICS:
        known = ratio(name, earlier, np.flatnonzero(~new))
        planned[name] = mixture_spread(planned_error(known, halves))
        change = detectable_effect(known, halves) / known.value if effects else 0.0
        found[name, "lift"].append(change)
        factors[name] = np.where(treated, 1 + change / 2, 1 - change / 2)
    log = draw_log(random, users, DAYS, factors)
    sides = np.flatnonzero(~treated), np.flatnonzero(treated)
    for name in METRICS:
        p_values, valid = [], []
        for day in range(DAYS):
            pair = [ratio(name, log, side, day) for side in sides]
            effect = difference(*pair)
            p_values.append(effect.p_value)
            valid.append(always_valid(effect, planned[name]).p_value)
        adjusted = adjusted_difference(*pair, *(ratio(name, earlier, side) for side in sides))
        found[name, "users"].append(p_values[-1])
        found[name, "peeking"].append(min(p_values))
        found[name, "always valid"].append(min(valid))
        found[name, "always valid, end"].append(valid[-1])
        found[name, "stopped"].append(1 + int(np.argmax(np.array(valid) < ALPHA)))
        found[name, "cuped"].append(adjusted.effect.p_value)
        found[name, "removed"].append(adjusted.removed)
        if name != "searches a day":
            found[name, "naive"].append(naive_p(*pair))
    if not effects:
        add_latencies(random, log.searches[:, -1], treated, found)


def add_latencies(
    random: np.random.Generator, searches: np.ndarray, treated: np.ndarray, found: dict
) -> None:
    who = np.repeat(np.arange(len(searches)), searches)
    slow = random.normal(0, 0.3, len(searches))[who]
    taken = 20 * np.exp(slow + random.normal(0, 0.5, len(who)))  # milliseconds
    sides = [ArrayTimes(taken[side], who[side]) for side in (~treated[who], treated[who])]
    for share in (0.5, 0.99):
        effect = percentile_difference(sides[0], sides[1], share)
        found[f"latency p{100 * share:.0f}", "users"].append(effect.p_value)


def rate(p_values: list[float], alpha: float = ALPHA) -> str:
    """The share below alpha, with its 95% interval."""
    hits = int((np.array(p_values) < alpha).sum())
    low, high = stats.binomtest(hits, len(p_values)).proportion_ci(method="wilson")
    return f"{100 * hits / len(p_values):5.1f}% [{100 * low:.1f}, {100 * high:.1f}]"


def print_tests(title: str, found: dict, kinds: dict[str, str]) -> None:
    print(f"\n{title}\n{'':20}" + "".join(f"{heading:>21}" for heading in kinds.values()))
    for name in dict.fromkeys(name for name, kind in found if kind == "users"):
        cells = [found.get((name, kind)) for kind in kinds]
        print(f"{name:20}" + "".join(f"{rate(cell) if cell else '':>21}" for cell in cells))


def print_splits(random: np.random.Generator, repeats: int) -> None:
    """Looks on 14 days at splits of different sizes, all right or with 2% of one variant lost."""
    print(f"\nSplits, {repeats:,} each: alarms below {MISMATCH}")
    print(f"{'users':>9}  {'':14}{'chi-square, end':>22}{'every day':>22}")
    shares = np.array([0.5, 0.5])
    for users in (20_000, 100_000, 200_000, 400_000):
        for kind, lost in (("right", 0.0), ("2% of one lost", 0.02)):
            arrived = random.multinomial(users, np.full(DAYS, 1 / DAYS), repeats).cumsum(axis=1)
            new = np.diff(arrived, axis=1, prepend=0)
            first = random.binomial(new, 0.5)
            second = random.binomial(new - first, 1 - lost)
            looks = np.stack([first, second], axis=-1).cumsum(axis=1)
            found = mismatch(looks, shares)
            alarms = (found[:, -1], found.min(axis=1))
            print(f"{users:9,}  {kind:14}" + "".join(f"{rate(p, MISMATCH):>22}" for p in alarms))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--tests", type=int, default=500)
    parser.add_argument("--users", type=int, default=10_000)
    parser.add_argument("--searchers", type=int, default=20_000)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    print(
        f"{options.tests} tests of {options.users:,} users and {DAYS} days, seed {options.seed}; "
    )
    print(f"{os.cpu_count()} cores, one used, load {os.getloadavg()[0]:.1f}")
    random = np.random.default_rng(options.seed)
    same: dict = defaultdict(list)
    for _ in range(options.tests):
        one_test(random, options.users, False, same)
    once = {"naive": "of searches", "users": "of users", "cuped": "of users, CUPED"}
    looks = {"peeking": "a look every day", "always valid": "the same, valid"}
    print_tests(f"A/A: rejected at {ALPHA}", same, once | looks)
    changed: dict = defaultdict(list)
    for _ in range(options.tests):
        one_test(random, options.users, True, changed)
    kinds = {"users": "of users", "cuped": "of users, CUPED"} | {
        "always valid, end": "valid, at the end",
        "always valid": "valid, any day",
    }
    print_tests("The effect to be found in 80% of cases: rejected", changed, kinds)
    for name in METRICS:
        stopped = np.array(changed[name, "stopped"])[
            np.array(changed[name, "always valid"]) < ALPHA
        ]
        print(
            f"{name:20}lift {100 * np.mean(changed[name, 'lift']):.1f}%, CUPED removes "
            f"{100 * np.mean(same[name, 'removed']):.0f}% of the variance; of those found, "
            f"half by day {np.median(stopped) if len(stopped) else 0:.0f}"
        )
    print_splits(random, 20 * options.tests)
    print_interleaving(random, options.searchers, options.queries, options.repeats)
    print(f"\n{time.process_time():.0f} processor seconds")


if __name__ == "__main__":
    main()
