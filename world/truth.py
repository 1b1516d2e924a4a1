"""The ground truth of a sample world: the meaning of its queries, and what is true of its items.

The generator writes it beside the world's files, and the import of their folder keeps it. Only
evaluation may read it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save

from omnisearch.data.text.normalise import normalise_query
from omnisearch.data.workspace.files import write_atomic
from omnisearch.data.workspace.reading import reading
from omnisearch.world.itemtext import item_id
from omnisearch.world.judges import GRADES
from omnisearch.world.lexicon import load_lexicon
from omnisearch.world.population import NO_TEXT, Population, make_prior, populate
from omnisearch.world.querypool import QueryPool, make_queries
from omnisearch.world.relevance import ThemeTree, relevance_of
from omnisearch.world.sessions import engagement_chance
from omnisearch.world.sizes import Size

_AGAIN = "Import the folder that `omnisearch world` wrote again."


@dataclass(frozen=True)
class Truth:
    """The ground truth of one world."""

    tree: ThemeTree
    items: Population
    queries: QueryPool

    @classmethod
    def of(cls, pins: int, seed: int = 7) -> Truth:
        """The truth of `generate(Size(pins), .., seed)`."""
        size, lexicon = Size(pins), load_lexicon()
        draws = [np.random.default_rng([seed, step]) for step in range(8)]
        prior = make_prior(lexicon, size, draws[0])
        items = populate(prior, size, draws[1])
        queries = make_queries(lexicon, prior, size.queries, draws[4])
        return cls(ThemeTree.of(lexicon), items, queries)

    def write(self, path: Path) -> None:
        """Write it as one file of safetensors; texts of queries are UTF-8 lines."""
        text = np.frombuffer("\n".join(self.queries.text).encode(), np.uint8)
        arrays = {"pins": np.array([self.items.pins]), "text": text}
        for part in (self.tree, self.items, self.queries):
            arrays |= {key: getattr(part, name) for name, key in _keys(type(part)).items()}
        write_atomic(path, save(arrays, {"sha256": _digest(arrays)}))

    @classmethod
    def read(cls, path: Path) -> Truth:
        """The truth that `write` wrote; raises Corrupt if the file is damaged."""
        with reading("The truth of the sample world", path, _AGAIN), safe_open(path, "np") as file:
            arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            if file.metadata()["sha256"] != _digest(arrays):
                raise ValueError("its hash differs")

            def columns(part: type) -> dict[str, Any]:
                return {name: arrays[key] for name, key in _keys(part).items()}

            text = arrays["text"].tobytes().decode().split("\n")
            return cls(
                ThemeTree(**columns(ThemeTree)),
                Population(pins=int(arrays["pins"][0]), **columns(Population)),
                QueryPool(text=text, **columns(QueryPool)),
            )

    @cached_property
    def query_of(self) -> dict[str, int]:
        """Normalised query → its row in `queries`."""
        texts = [normalise_query(text) for text in self.queries.text]
        return {text: row for row, text in reversed(list(enumerate(texts)))}

    @cached_property
    def item_of(self) -> dict[str, int]:
        """Item id → its row in `items`."""
        return {item_id(self.items, row): row for row in range(len(self.items))}

    def relevance(self, query: np.ndarray, row: np.ndarray) -> np.ndarray:
        """The true relevance of item rows to query rows (shapes broadcast)."""
        return relevance_of(self.tree, self.queries, self.items, query, row)

    def grades(self, pairs: Sequence[tuple[str, str]]) -> tuple[np.ndarray, np.ndarray]:
        """For (query, item id) pairs: (n,) true grades 0..3, and (n,) bool, whether the item's text
        is in another language than the query."""
        items, queries = self.items, self.queries
        query = np.array([self.query_of[text] for text, _ in pairs])
        row = np.array([self.item_of[key] for _, key in pairs])
        foreign = (items.language[row] != queries.language[query]) & (items.text[row] != NO_TEXT)
        return np.digitize(self.relevance(query, row), GRADES), foreign

    @cached_property
    def _by_interest(self) -> list[np.ndarray]:
        """Theme of an interest → its items' rows: all others are irrelevant to its queries."""
        interest = self.tree.interest[self.items.concept]
        return [np.flatnonzero(interest == theme) for theme in range(len(self.tree.level))]

    def relevance_of_all(self, query: int) -> np.ndarray:
        """(n,) float32, the true relevance of every item to a query row."""
        rows = self._by_interest[self.tree.interest[self.queries.theme[query]]]
        found = np.zeros(len(self.items), np.float32)
        found[rows] = self.relevance(np.array([query]), rows)
        return found

    def grades_of_all(self, query: int) -> np.ndarray:
        """(n,) the true grade 0..3 of every item for a query row."""
        return np.digitize(self.relevance_of_all(query), GRADES)

    def chances(self, query: int) -> np.ndarray:
        """(n,) the probability that a user with a query (row) engages with each item, once it is
        examined."""
        one, everything = np.array([query]), np.arange(len(self.items))
        relevant = self.relevance_of_all(query)
        return engagement_chance(self.items, self.queries, one, everything, relevant)

    def interests(self) -> list[tuple[str, list[str]]]:
        """Every query with the path of its theme: interest, family, concept."""
        tree, themes = self.tree, load_lexicon().themes
        found = []
        for text, row in self.query_of.items():
            theme = int(self.queries.theme[row])
            path = [int(tree.interest[theme]), int(tree.family[theme]), theme]
            depth = 3 - int(tree.level[theme])
            found.append((text, [themes[number].name for number in path[:depth]]))
        return found


def _keys(part: type) -> dict[str, str]:
    """The name of each array of a dataclass → its key in the file."""
    names = [field.name for field in fields(part) if field.type == "np.ndarray"]
    return {name: f"{part.__name__}.{name}" for name in names}


def _digest(arrays: dict[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for key in sorted(arrays):
        digest.update(key.encode() + arrays[key].tobytes())
    return digest.hexdigest()
