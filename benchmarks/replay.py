"""Off-policy replay on a sample world's users, whose behaviour on every page is known.

    OMP_NUM_THREADS=1 python benchmarks/replay.py [--repeats 100] [--queries 300] [--seed 1]

Each repetition draws a log of searches with the world's most frequent queries, shown by a logging
search, and estimates what other orders of the same candidates would bring. A line tells how far the
estimates are off on average, and how often their 95% interval holds the truth: for the difference
from the logging search's own order, and for the value itself.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from omnisearch.evaluation.experiments.counterfactual import (
    METHODS,
    NEVER,
    NOTHING,
    counts_of,
    interval,
    jackknifed,
    looked_at_in,
    trust,
)
from omnisearch.evaluation.experiments.replay import FULFILMENT, why_not
from omnisearch.evaluation.experiments.shown import GROUPS, Shown
from omnisearch.world.lexicon import load_lexicon
from omnisearch.world.population import DAY, END
from omnisearch.world.production import Production, Results
from omnisearch.world.sessions import EXAMINATION, SHOWN, engagement_chance, result_pages
from omnisearch.world.truth import Truth

FIRST = 8
LEAVES = 0.6  # after an engagement, where users do
TRUTHS = 20_000  # searches of a query, where the truth is simulated
LOGS = (
    # how pages were made, whether users leave when they have found something, searches
    ("the world's", False, 3_000),
    ("the world's", False, 10_000),
    ("the world's", False, 30_000),
    ("the world's", True, 30_000),
    ("fixed", False, 30_000),
    ("two variants", False, 30_000),
    ("two variants", True, 30_000),
)
SHOWN_METHODS = ("same place", "any place", "doubly robust", FULFILMENT)


@dataclass(frozen=True, eq=False)
class World:
    """Queries with their candidates: (q, c) item rows, whether they are liked, and scores.

    Attributes:
        share: (q,) of the searches. orders: variant → (q, FIRST) columns of its page.
    """

    truth: Truth
    production: Production
    results: Results
    asked: np.ndarray
    share: np.ndarray
    likes: np.ndarray
    orders: dict[str, np.ndarray]

    @classmethod
    def of(cls, pins: int, queries: int, rng: np.random.Generator) -> World:
        truth = Truth.of(pins)
        production = Production.of(load_lexicon(), truth.items, truth.queries)
        asked = np.argsort(-truth.queries.weight, kind="stable")[:queries]
        results = production.retrieve(asked, END, rng)
        valid, rows = results.rows >= 0, np.maximum(results.rows, 0)
        liked = engagement_chance(
            truth.items, truth.queries, asked[:, None], rows, results.relevance
        )
        scores = {
            "logged order": results.score,
            "nearer the truth": results.score + 2 * results.relevance,
            "by relevance": results.relevance,
            "by chance": rng.random(rows.shape),
        }
        orders = {
            name: np.argsort(-np.where(valid, score, -np.inf), axis=1, kind="stable")[:, :FIRST]
            for name, score in scores.items()
        }
        weight = truth.queries.weight[asked]
        likes = np.where(valid, liked, 0)
        return cls(truth, production, results, asked, weight / weight.sum(), likes, orders)

    def page_likes(self, name: str) -> np.ndarray:
        return np.take_along_axis(self.likes, self.orders[name], axis=1)


def choices(likes: np.ndarray, leave: bool, rng: np.random.Generator) -> np.ndarray:
    """Bool (s, k): what users choose on pages of items that they like with these chances."""
    looked = rng.random(likes.shape) < np.arange(1, likes.shape[1] + 1) ** -EXAMINATION
    chosen = looked & (rng.random(likes.shape) < likes)
    if leave:
        goes = chosen & (rng.random(likes.shape) < LEAVES)
        gone = np.cumsum(goes, axis=1) - goes > 0
        chosen &= ~gone
    return chosen


def true_values(world: World, name: str, leave: bool) -> tuple[float, float]:
    """Items chosen in a search, and the share of searches with one."""
    likes = world.page_likes(name)
    if not leave:
        chance = likes * np.arange(1, FIRST + 1) ** -EXAMINATION
        some = 1 - (1 - chance).prod(axis=1)
        return float(world.share @ chance.sum(axis=1)), float(world.share @ some)
    rng = np.random.default_rng(0)
    sums = np.zeros(2)
    for query, share in enumerate(world.share):
        chosen = choices(np.broadcast_to(likes[query], (TRUTHS, FIRST)), True, rng)
        sums += share * np.array([chosen.sum(axis=1).mean(), chosen.any(axis=1).mean()])
    return float(sums[0]), float(sums[1])


def drawn(world: World, kind: str, leave: bool, searches: int, rng: np.random.Generator) -> Shown:
    """A log."""
    query = rng.choice(len(world.share), searches, p=world.share)
    if kind == "the world's":
        session = (np.full(searches, END - DAY), np.arange(searches), world.asked[query])
        never = np.zeros(len(world.truth.items), np.int32)
        pages, true = result_pages(world.production, world.results.of(query), session, never, rng)
        likes = engagement_chance(
            *(world.truth.items, world.truth.queries, world.asked[query][:, None]),
            *(np.maximum(pages, 0), true),
        )
    else:
        order = world.orders["logged order"][query]
        if kind == "two variants":
            other = rng.random(searches) < 0.5
            order = np.where(other[:, None], world.orders["nearer the truth"][query], order)
        pages = np.take_along_axis(world.results.rows[query], order, axis=1)
        likes = np.take_along_axis(world.likes[query], order, axis=1)
        pages = np.where(np.arange(FIRST) < rng.integers(*SHOWN, searches)[:, None], pages, -1)
    chosen = choices(np.where(pages >= 0, likes, 0), leave, rng)
    search, place = np.nonzero(pages >= 0)
    keys = query[search] * len(world.truth.items) + pages[search, place]
    known, pair = np.unique(keys, return_inverse=True)
    whose = [divmod(key, len(world.truth.items)) for key in known.tolist()]
    return Shown(
        queries=[str(number) for number in range(len(world.share))],
        pairs={(of, "pin", str(row)): at for at, (of, row) in enumerate(whose)},
        query=query,
        group=np.arange(searches) % GROUPS,
        search=search,
        pair=pair,
        place=place,
        chosen=chosen[search, place],
    )


def targets_of(world: World, shown: Shown) -> list[np.ndarray]:
    """The pages of each order, as pairs of the log."""
    targets = []
    for order in world.orders.values():
        page = np.take_along_axis(world.results.rows, order, axis=1).tolist()
        pairs = [
            [shown.pairs.get((of, "pin", str(row)), NEVER) if row >= 0 else NOTHING for row in rows]
            for of, rows in enumerate(page)
        ]
        targets.append(np.array(pairs, np.int64))
    return targets


def repetition(
    world: World, log: tuple[str, bool, int], rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Of one log: estimates (variants, methods), those without each group, whether the replay says
    that the log answers (variants,), and how probable each place is to be looked at."""
    shown = drawn(world, *log, rng)
    targets, counts = targets_of(world, shown), counts_of(shown)
    replayed, looked = np.ones(len(world.share), bool), looked_at_in(counts)
    whole, parts = jackknifed(shown, targets, replayed)
    sure = [trust(shown, counts, looked, target, replayed) for target in targets]
    return whole, parts, np.array([not list(why_not(each)) for each in sure]), looked


def lines(world: World, log: tuple[str, bool, int], repeats: int, seed: int) -> Iterator[str]:
    found = [
        repetition(world, log, np.random.default_rng([seed, number])) for number in range(repeats)
    ]
    looked = np.mean([each[3] for each in found], axis=0)[:FIRST]
    true = {name: true_values(world, name, log[1]) for name in world.orders}
    leave = ", users leave when they have found something" if log[1] else ""
    yield f"\n{log[0]} pages, {log[2]:,} searches{leave}"
    yield "places looked at: " + ", ".join(f"{chance:.3f}" for chance in looked)
    yield f"{'':18}{'answers':>8}{'':3}" + "".join(f"{name:>40}" for name in SHOWN_METHODS)
    heading = f"{'off':>9}{'holds':>7}{'apart, off':>14}{'holds':>10}"
    yield f"{'':29}" + len(SHOWN_METHODS) * heading
    for place, name in enumerate(world.orders):
        cells = ""
        for method in SHOWN_METHODS:
            at = [*METHODS, FULFILMENT].index(method)
            of = int(method == FULFILMENT)
            cells += _cell(found, place, at, true[name][of], None)
            truth = true[name][of] - true["logged order"][of]
            cells += _cell(found, place, at, truth, 0) if place else f"{'':24}"
        answers = np.mean([each[2][place] for each in found])
        yield f"{name:18}{answers:8.0%}   {cells}"


def _cell(found: list, place: int, at: int, truth: float, control: int | None) -> str:
    """How far off estimates are on average, and how often their interval holds the truth."""
    off, holds = [], []
    for whole, parts, *_ in found:
        value, others = whole[place, at], parts[:, place, at]
        if control is not None:
            value, others = value - whole[control, at], others - parts[:, control, at]
        around = interval(value, others)
        off.append(around.value - truth)
        holds.append(around.low <= truth <= around.high)
    widths = (9, 7) if control is None else (14, 10)
    return f"{np.mean(off):+{widths[0]}.4f}{np.mean(holds):{widths[1]}.1%}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repeats", type=int, default=100)
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--pins", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    world = World.of(options.pins, options.queries, np.random.default_rng(options.seed))
    sizes = f"{options.queries} queries, {options.pins} pins"
    print(f"{options.repeats} logs each, {sizes}, seed {options.seed}")
    for name in world.orders:
        plain, leaving = true_values(world, name, False), true_values(world, name, True)
        print(f"{name:18}{plain[0]:8.4f} items chosen in a search, fulfilled {plain[1]:.4f}")
        print(f"{'users leave':>18}{leaving[0]:8.4f}{'':38}{leaving[1]:.4f}")
    for log in LOGS:
        for line in lines(world, log, options.repeats, options.seed):
            print(line, flush=True)
    print(f"\n{time.process_time():.0f} processor seconds")


if __name__ == "__main__":
    main()
