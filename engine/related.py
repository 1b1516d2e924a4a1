"""Related queries beside the feed: neighbours of the query in the query space (§3.1, Table 1)."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from omnisearch.data.text.normalise import words
from omnisearch.engine.response import Related


@lru_cache(maxsize=65_536)  # neighbours recur from search to search
def variant_key(query: str) -> tuple[str, ...]:
    """The key of trivially equal queries: their words, in any order, without a final s."""
    return tuple(sorted(word.removesuffix("s") or word for word in words(query))) or (query,)


def choose_related(query: str, found: list[str], scores: np.ndarray, most: int) -> list[Related]:
    """The first `most` of the found queries (best first) that differ from the query.

    The query itself, its trivial variants, and variants of those already chosen are left out.
    """
    seen = {variant_key(query)}
    chosen: list[Related] = []
    for text, score in zip(found, scores.tolist(), strict=True):
        if len(chosen) == most:
            break
        key = variant_key(text)
        if key not in seen:
            seen.add(key)
            chosen.append(Related(text, score))
    return chosen
