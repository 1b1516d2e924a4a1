"""The ground truth of a sample world: the meaning of its queries, and the relevant items.

It is not stored in any file of the world, but regenerated from the seed and the size. Only
evaluation may use it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from omnisearch.data.text.normalise import normalise_query
from omnisearch.world.itemtext import item_id
from omnisearch.world.judges import GRADES
from omnisearch.world.lexicon import Lexicon, load_lexicon
from omnisearch.world.population import NO_TEXT, make_prior, populate
from omnisearch.world.production import Production
from omnisearch.world.querypool import make_queries
from omnisearch.world.sessions import engagement_chance
from omnisearch.world.sizes import Size


@dataclass(frozen=True)
class Truth:
    """The ground truth of one world.

    Attributes:
        query_of: normalised query → its row in the production's queries.
        item_of: item id → its row in the production's items.
    """

    lexicon: Lexicon
    production: Production
    query_of: dict[str, int]
    item_of: dict[str, int]

    @classmethod
    def of(cls, pins: int, seed: int = 7) -> Truth:
        """The truth of `generate(Size(pins), .., seed)`."""
        size, lexicon = Size(pins), load_lexicon()
        draws = [np.random.default_rng([seed, step]) for step in range(8)]
        prior = make_prior(lexicon, size, draws[0])
        items = populate(prior, size, draws[1])
        queries = make_queries(lexicon, prior, size.queries, draws[4])
        texts = [normalise_query(text) for text in queries.text]
        return cls(
            lexicon,
            Production.of(lexicon, items, queries),
            {text: row for row, text in reversed(list(enumerate(texts)))},
            {item_id(items, row): row for row in range(len(items))},
        )

    def grades(self, pairs: Sequence[tuple[str, str]]) -> tuple[np.ndarray, np.ndarray]:
        """For (query, item id) pairs: (n,) true grades 0..3, and (n,) bool, whether the item's text
        is in another language than the query."""
        items, queries = self.production.items, self.production.queries
        query = np.array([self.query_of[text] for text, _ in pairs])
        row = np.array([self.item_of[key] for _, key in pairs])
        foreign = (items.language[row] != queries.language[query]) & (items.text[row] != NO_TEXT)
        return np.digitize(self.production.relevance(query, row), GRADES), foreign

    def of_query(self, query: str) -> tuple[np.ndarray, np.ndarray]:
        """For a normalised query: every item's true grade 0..3, (n,) int64, and the probability
        (n,) that a user engages with the item once it is examined."""
        items, queries = self.production.items, self.production.queries
        row, everything = np.array([self.query_of[query]]), np.arange(len(items))
        relevance = self.production.relevance(row, everything)
        chance = engagement_chance(items, queries, row, everything, relevance)
        return np.digitize(relevance, GRADES), chance

    def interests(self) -> list[tuple[str, list[str]]]:
        """Every query with the path of its theme: interest, family, concept."""
        tree, themes = self.production.tree, self.lexicon.themes
        found = []
        for text, row in self.query_of.items():
            theme = int(self.production.queries.theme[row])
            path = [int(tree.interest[theme]), int(tree.family[theme]), theme]
            depth = 3 - int(tree.level[theme])
            found.append((text, [themes[number].name for number in path[:depth]]))
        return found
