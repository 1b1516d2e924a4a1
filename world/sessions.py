"""Search sessions of the sample world: impressions, examination and actions.

The click model is position-based: a result at position k is examined with probability k^-0.6,
independently of the others. An examined result gets engagement with probability
relevance x attractiveness, where attractiveness is the item's quality, lower for text in another
language than the user's. Accidental clicks depend only on examination.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from omnisearch.data.catalogue.schema import ACTIONS
from omnisearch.world.population import DAY, END, NO_TEXT, START, Population
from omnisearch.world.production import Production, Results
from omnisearch.world.querypool import QueryPool

Session = tuple[np.ndarray, np.ndarray, np.ndarray]  # time, session number, query number
Part = tuple[np.ndarray, ...]  # the columns of Rows

BLOCK = 20_000  # sessions simulated at once
SHOWN = (5, 11)  # results shown: from, to (exclusive)
PERIOD = 30 * DAY  # interval at which the simulated search rebuilds its index
MOOD = 0.7  # scale of the Gumbel noise on the production score in each session
EXAMINATION = 0.6  # probability of examination is position ** -EXAMINATION
FOREIGN = 0.8  # attractiveness factor of text in another language
ENGAGED = 0.95  # engagement probability of a perfect result at position 1
ACCIDENT = 0.03  # click without interest
# Probability of each action given engagement (several may occur).
PIN_ACTIONS = {"save": 0.55, "long_click": 0.5, "click": 0.35}
PRODUCT_ACTIONS = {
    "save": 0.35,
    "long_click": 0.5,
    "click": 0.4,
    "add_to_cart": 0.15,
    "checkout": 0.05,
}
OFFSITE = 0.3  # an engaged product is later added to a cart on the merchant's own site
OFFSITE_CHECKOUT = 0.3  # and then bought
EXPLORED, EXPLORE_AMONG = 2, 4  # explored results per page; each is the least shown of 4
RELATED_SHARE, RELATED_SHOWN = 0.25, 4  # sessions with related queries, and how many


@dataclass(frozen=True)
class Rows:
    """Rows of the log, in columns of equal length.

    Attributes:
        time: int64. session, query: int64 numbers. target: int64, an item row, or a query number
            if `is_query`. action: int8, an index into ACTIONS. position: int64.
    """

    time: np.ndarray
    session: np.ndarray
    query: np.ndarray
    target: np.ndarray
    is_query: np.ndarray
    action: np.ndarray
    position: np.ndarray
    offsite: np.ndarray

    def __len__(self) -> int:
        return len(self.time)


def session_times(n: int, rng: np.random.Generator) -> np.ndarray:
    """(n,) int64 sorted start times: traffic grows fivefold over the log and peaks at weekends."""
    u = rng.random(n)
    share = (np.sqrt(1.0 + 24.0 * u) - 1.0) / 4.0  # density 1 + 4x on 0..1, inverted
    time = START + (share * (END - START - DAY)).astype(np.int64)
    weekday = (time // DAY + 3) % 7
    moved = (weekday < 4) & (rng.random(n) < 0.12)
    return np.sort(np.where(moved, time + (5 - weekday) * DAY, time).clip(START, END - DAY))


def simulate(
    production: Production, related: np.ndarray, times: np.ndarray, rng: np.random.Generator
) -> Iterator[tuple[np.ndarray, Rows]]:
    """Blocks of the log: (query number of each session of the block, the block's rows by time).

    Off-site actions occur up to two days later, so blocks overlap slightly in time.

    Sessions are numbered from 0 and begin at `times`, int64 ascending (`session_times`). The
    search's candidates are resampled every PERIOD. `related` is (q, r) int64 query numbers.
    """
    exposures = np.zeros(len(production.items), dtype=np.int32)
    for start in range(START, END, PERIOD):
        first, last = np.searchsorted(times, [start, start + PERIOD])
        if first == last:
            continue
        query = draw_queries(production.queries, times[first:last], rng)
        asked, line = np.unique(query, return_inverse=True)
        results = production.retrieve(asked, start + PERIOD, rng)
        for low in range(first, last, BLOCK):
            here = slice(low - first, min(low + BLOCK, last) - first)
            time = times[first:last][here]
            session = (time, np.arange(low, low + len(time)), query[here])
            found = results.of(line[here])
            rows, truth = result_pages(production, found, session, exposures, rng)
            np.add.at(exposures, rows[rows >= 0], 1)
            parts = [
                *acts(production.items, production.queries, rows, truth, session, rng),
                *_related_shown(related, session, rng),
            ]
            columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
            order = np.argsort(columns[0], kind="stable")
            order = order[columns[0][order] <= END]
            yield query[here], Rows(*(column[order] for column in columns))


def result_pages(
    production: Production,
    results: Results,
    session: Session,
    exposures: np.ndarray,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """The results of each session: (s, p) item rows, padded with -1, and their relevance.

    The best of the query's candidates, with noise per session, mixed with EXPLORED rarely shown
    items of the query's theme for exploration. `results` has a row for each session; `exposures`
    (n,) int32 counts how often each item has been shown.
    """
    time, _, query = session
    rows = results.rows
    score = results.score + rng.gumbel(0.0, MOOD, rows.shape).astype(np.float32)
    score[(rows < 0) | (production.items.created[rows] > time[:, None])] = -np.inf
    most = SHOWN[1] - 1
    best = np.argpartition(-score, most, axis=1)[:, :most]
    best = np.take_along_axis(
        best, np.argsort(-np.take_along_axis(score, best, 1), axis=1, kind="stable"), 1
    )
    page = np.take_along_axis(rows, best, 1).astype(np.int64)
    page[~np.isfinite(np.take_along_axis(score, best, 1))] = -1
    truth = np.take_along_axis(results.relevance, best, 1)

    lines = np.arange(len(query))
    place = rng.random((len(query), SHOWN[0])).argsort(axis=1)[:, :EXPLORED]
    for slot in range(EXPLORED):
        fresh = _little_shown(production, time, query, exposures, rng)
        new = (fresh >= 0) & ~(page == fresh[:, None]).any(axis=1)
        line = lines[new]
        page[line, place[new, slot]] = fresh[new]
        truth[line, place[new, slot]] = production.relevance(query[new], fresh[new])
    page[np.arange(most) >= rng.integers(*SHOWN, len(query))[:, None]] = -1
    return page, truth


def _little_shown(
    production: Production,
    time: np.ndarray,
    query: np.ndarray,
    exposures: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """(s,) an item per session, the least shown of a few of its theme, or -1."""
    wanted = production.queries.wanted[query]
    some = np.argmax(np.where(wanted >= 0, rng.random(wanted.shape), -1.0), axis=1)
    value = wanted[np.arange(len(query)), some]
    theme = production.queries.theme[query]
    drawn = production.pools.draw(theme, value, EXPLORE_AMONG, rng, bias=1.0)
    count = exposures[drawn].astype(np.float64)
    count[(drawn < 0) | (production.items.created[drawn] > time[:, None])] = np.inf
    best = np.argmin(count, axis=1)
    lines = np.arange(len(query))
    return np.where(np.isfinite(count[lines, best]), drawn[lines, best], -1)


def draw_queries(queries: QueryPool, time: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A query for each time; out-of-season queries are resampled at most twice."""
    total = np.cumsum(queries.weight)
    month = time.astype("datetime64[s]").astype("datetime64[M]").astype(np.int64) % 12
    query = np.empty(len(time), dtype=np.int64)
    again = np.arange(len(time))
    for _ in range(3):
        drawn = np.searchsorted(total, rng.random(len(again)) * total[-1], side="right")
        query[again] = np.minimum(drawn, len(queries) - 1)
        fits = rng.random(len(again)) < queries.months[query[again], month[again]]
        again = again[~fits]
    return query


def engagement_chance(
    items: Population, queries: QueryPool, query: np.ndarray, row: np.ndarray, truth: np.ndarray
) -> np.ndarray:
    """The probability that an examined item gets engagement; `truth` is its relevance to the query.

    `query` and `row` are numbers of queries and items; shapes broadcast.
    """
    foreign = (items.language[row] != queries.language[query]) & (items.text[row] != NO_TEXT)
    return ENGAGED * truth * (items.quality[row] * np.where(foreign, FOREIGN, 1.0))


def fulfilment(chance: np.ndarray) -> float:
    """The probability that a user engages with at least one of the results shown.

    `chance` (k,) are their engagement probabilities by position; accidental clicks do not count.
    """
    position = np.arange(1, len(chance) + 1)
    return float(1.0 - np.prod(1.0 - position**-EXAMINATION * chance))


def _part(
    session: Session, which: np.ndarray, target: np.ndarray, action: int | np.ndarray
) -> list[np.ndarray]:
    time, number, query = session
    n = len(which)
    actions = np.broadcast_to(np.asarray(action, dtype=np.int8), (n,))
    return [time[which], number[which], query[which], target, np.zeros(n, bool), actions]


def acts(
    items: Population,
    queries: QueryPool,
    page: np.ndarray,
    truth: np.ndarray,
    session: Session,
    rng: np.random.Generator,
) -> Iterator[Part]:
    """Impressions of the result pages, and users' actions by the click model.

    `page` (s, p) are the item rows that each session was shown, padded with -1, and `truth` (s, p)
    their relevance.
    """
    time, _, query = session
    which, place = np.nonzero(page >= 0)
    row, truth = page[which, place], truth[which, place]
    position = place + 1

    examined = rng.random(len(row)) < position**-EXAMINATION
    likely = engagement_chance(items, queries, query[which], row, truth)
    engaged = examined & (rng.random(len(row)) < likely)
    accident = examined & ~engaged & (rng.random(len(row)) < ACCIDENT)
    seen = time[which] + 2 * position

    def part(mask: np.ndarray, delay: np.ndarray | int, action: str, offsite: bool) -> Part:
        columns = _part(session, which[mask], row[mask], ACTIONS.index(action))
        columns[0] = seen[mask] + (delay if isinstance(delay, int) else delay[mask])
        away = np.full(int(mask.sum()), offsite)
        return (*columns, np.where(away, 0, position[mask]), away)

    yield part(np.ones(len(row), bool), 0, "impression", False)
    product = row >= items.pins
    for of_product, chances in ((False, PIN_ACTIONS), (True, PRODUCT_ACTIONS)):
        mine = engaged & (product == of_product)
        none = mine.copy()
        for step, (action, chance) in enumerate(chances.items()):
            does = mine & (rng.random(len(row)) < chance)
            none &= ~does
            yield part(does, 3 + 15 * step, action, False)
        yield part(none, 20, "long_click", False)
    yield part(accident, 2, "click", False)
    cart = engaged & product & (rng.random(len(row)) < OFFSITE)
    delay = rng.integers(300, 2 * DAY, len(row))
    yield part(cart, delay, "add_to_cart", True)
    bought = cart & (rng.random(len(row)) < OFFSITE_CHECKOUT)
    yield part(bought, delay + 600, "checkout", True)


def _related_shown(
    related: np.ndarray, session: Session, rng: np.random.Generator
) -> Iterator[Part]:
    """Related queries shown beside some result pages, nearest first."""
    time, number, query = session
    looked = np.flatnonzero(rng.random(len(query)) < RELATED_SHARE)
    rank = np.argsort(rng.random((len(looked), related.shape[1])) + np.arange(related.shape[1]) / 6)
    chosen = np.take_along_axis(related[query[looked]], rank[:, :RELATED_SHOWN], axis=1)
    which, place = np.nonzero(chosen >= 0)
    target, source = chosen[which, place], looked[which]
    position = place + 1
    nearness = 0.5 / (1.0 + 0.25 * rank[:, :RELATED_SHOWN][which, place])
    clicked = rng.random(len(which)) < position**-EXAMINATION * nearness
    everything = np.ones(len(which), bool)
    for mask, action, delay in ((everything, "impression", 1), (clicked, "click", 40)):
        yield (
            time[source[mask]] + delay + position[mask],
            number[source[mask]],
            query[source[mask]],
            target[mask],
            np.ones(int(mask.sum()), bool),
            np.full(int(mask.sum()), ACTIONS.index(action), dtype=np.int8),
            position[mask],
            np.zeros(int(mask.sum()), bool),
        )
