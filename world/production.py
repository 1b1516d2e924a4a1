"""The simulated production search whose results the users of the sample world saw.

It is not this project's search, but a noisy mixture of token match, popularity and a weak older
embedding. For each query it samples candidates from the pools of items that share its theme or one
of its attributes, and scores them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from omnisearch.world.lexicon import GROUPS, LANGUAGES, Lexicon
from omnisearch.world.population import NO_TEXT, Population
from omnisearch.world.querypool import QueryPool
from omnisearch.world.relevance import ThemeTree, relevance_of

KEPT = 64  # candidates kept for each query
TOKENS, OLD_EMBEDDING, POPULARITY, SAME_LANGUAGE = 0.4, 1.5, 0.25, 0.2  # weights of the score
OLD_EMBEDDING_NOISE = 0.2
DRAWS = {"theme": 20, "attribute": 14, "interest": 8, "family": 8}
CHUNK = 2_000


class Pools:
    """Items by key (a theme, or a theme with an attribute value), most popular first."""

    def __init__(self, lexicon: Lexicon, tree: ThemeTree, items: Population) -> None:
        self.width = len(lexicon.values) + 1
        alive = np.flatnonzero(~items.dark)
        alive = alive[np.argsort(-items.popularity[alive], kind="stable")].astype(np.int32)
        concept = items.concept[alive]
        keys, rows = [], []
        for theme in (concept, tree.family[concept], tree.interest[concept]):
            base = theme.astype(np.int32) * self.width
            keys.append(base)
            rows.append(alive)
            for group in range(len(GROUPS)):
                value = items.values[alive, group].astype(np.int32)
                has = value >= 0
                keys.append(base[has] + value[has] + 1)
                rows.append(alive[has])
        key = np.concatenate(keys)
        order = np.argsort(key, kind="stable")
        self.rows = np.concatenate(rows)[order]
        bounds = np.searchsorted(key[order], np.arange(len(lexicon.themes) * self.width + 1))
        self.starts, self.counts = bounds[:-1], np.diff(bounds)

    def draw(
        self,
        theme: np.ndarray,
        value: np.ndarray,
        draws: int,
        rng: np.random.Generator,
        bias: float = 1.3,
    ) -> np.ndarray:
        """(q, draws) items of each (theme, value) pool, -1 if it is empty.

        A value of -1 is the whole theme. A higher bias samples popular items more often; 1.0 is
        uniform.
        """
        key = theme.astype(np.int64) * self.width + value + 1
        place = rng.random((len(key), draws)) ** bias * self.counts[key][:, None]
        at = self.starts[key][:, None] + place.astype(np.int64)
        rows = self.rows[np.minimum(at, len(self.rows) - 1)]
        return np.where(self.counts[key][:, None] > 0, rows, -1)


@dataclass(frozen=True)
class Results:
    """Production candidates of some queries, one row each.

    Attributes:
        rows: (q, KEPT) int32 item rows, padded with -1. score: (q, KEPT) float32, -inf there.
        relevance: (q, KEPT) float32, the truth, for the click model.
    """

    rows: np.ndarray
    score: np.ndarray
    relevance: np.ndarray

    def of(self, lines: np.ndarray) -> Results:
        """The results of those rows."""
        return Results(self.rows[lines], self.score[lines], self.relevance[lines])


@dataclass(frozen=True)
class Production:
    """The data of the simulated search."""

    tree: ThemeTree
    items: Population
    queries: QueryPool
    pools: Pools
    tables: WordTables

    @classmethod
    def of(cls, lexicon: Lexicon, items: Population, queries: QueryPool) -> Production:
        tree = ThemeTree.of(lexicon)
        return cls(tree, items, queries, Pools(lexicon, tree, items), WordTables(lexicon))

    def retrieve(self, asked: np.ndarray, now: int, rng: np.random.Generator) -> Results:
        """Candidates of the query numbers `asked`: existing items, by popularity at time `now`.

        Every call samples other candidates, like a rebuilt index.
        """
        n = len(asked)
        found = Results(
            np.full((n, KEPT), -1, dtype=np.int32),
            np.full((n, KEPT), -np.inf, dtype=np.float32),
            np.zeros((n, KEPT), dtype=np.float32),
        )
        fashion = rng.standard_normal(len(self.items), dtype=np.float32)
        popularity = 0.5**0.5 * (self.items.popularity + fashion)
        for low in range(0, n, CHUNK):
            chunk = asked[low : low + CHUNK]
            rows = _candidates(self.pools, self.tree, self.queries, chunk, rng)
            truth = self.relevance(chunk[:, None], rows)
            noise = rng.normal(0.0, OLD_EMBEDDING_NOISE, rows.shape).astype(np.float32)
            same = self.items.language[rows] == self.queries.language[chunk, None]
            score = (
                TOKENS * self.tables.overlap(self.items, self.queries, chunk, rows)
                + OLD_EMBEDDING * (truth**0.5 + noise)
                + POPULARITY * popularity[rows]
                + SAME_LANGUAGE * same
            )
            score[(rows < 0) | (self.items.created[rows] > now)] = -np.inf
            best = np.argsort(-score, axis=1, kind="stable")[:, :KEPT]
            kept = np.take_along_axis(score, best, axis=1)
            rows = np.take_along_axis(rows, best, axis=1)
            here = slice(low, low + len(chunk))
            found.score[here] = kept
            found.rows[here] = np.where(np.isfinite(kept), rows, -1)
            found.relevance[here] = np.take_along_axis(truth, best, axis=1)
        return found

    def relevance(self, query: np.ndarray, row: np.ndarray) -> np.ndarray:
        """The true relevance of item rows to query numbers (shapes broadcast)."""
        return relevance_of(self.tree, self.queries, self.items, query, row)


def _candidates(
    pools: Pools,
    tree: ThemeTree,
    queries: QueryPool,
    chunk: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """(c, k) item rows, distinct within each row, -1 for none."""
    theme, wanted = queries.theme[chunk], queries.wanted[chunk]
    nothing = np.full(len(chunk), -1)
    interest = tree.interest[theme]
    drawn = [
        pools.draw(theme, nothing, DRAWS["theme"], rng),
        pools.draw(tree.family[theme], nothing, DRAWS["family"], rng),
        pools.draw(interest, nothing, DRAWS["interest"], rng),
    ]
    named = np.sort(wanted, axis=1)[:, ::-1][:, :3]
    for column in range(named.shape[1]):
        drawn.append(pools.draw(theme, named[:, column], DRAWS["attribute"], rng))
        if column < 2:
            drawn.append(pools.draw(interest, named[:, column], DRAWS["interest"], rng))
    rows = np.sort(np.concatenate(drawn, axis=1), axis=1)
    rows[:, 1:][rows[:, 1:] == rows[:, :-1]] = -1
    return rows


class WordTables:
    """The number of synonyms of each theme and value in each language, to compute word matches."""

    def __init__(self, lexicon: Lexicon) -> None:
        self.themes = np.array(
            [[len(theme.words[name]) for name in LANGUAGES] for theme in lexicon.themes]
        )
        self.values = np.array(
            [[len(value.words[name]) for name in LANGUAGES] for value in lexicon.values]
        )

    def overlap(
        self, items: Population, queries: QueryPool, chunk: np.ndarray, rows: np.ndarray
    ) -> np.ndarray:
        """(c, k) float32: the share of the query's words in the item's own text."""
        theme, language = queries.theme[chunk, None], queries.language[chunk, None]
        wanted, pick = queries.wanted[chunk, None, :], queries.pick[chunk, None]
        written = (
            (items.language[rows] == language) & (items.text[rows] != NO_TEXT) & ~items.vague[rows]
        )
        synonyms = self.themes[theme, language]
        noun = (items.concept[rows] == theme) & (items.pick[rows] % synonyms == pick % synonyms)
        shift = 5 * np.arange(len(GROUPS))
        synonyms = self.values[wanted, language[..., None]]
        same_word = (items.pick[rows][..., None] + shift) % synonyms == (
            pick[..., None] + shift
        ) % synonyms
        named = (wanted >= 0) & (wanted == items.values[rows]) & items.mentions[rows] & same_word
        words = 1.0 + (wanted >= 0).sum(axis=-1)
        return (written * (noun + named.sum(axis=-1)) / words).astype(np.float32)
