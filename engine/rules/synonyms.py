"""Synonyms: a query is also searched by other words, which count less than those that were typed.

They are added to the tokens that BM25 reads, and a single word counts for rankers as the word that
it stands for. The embedding stays that of what was typed: it knows many synonyms by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np

from omnisearch.data.text.keys import word_keys
from omnisearch.data.text.tokens import CODE, Use, query_tokens
from omnisearch.engine.query import Query
from omnisearch.engine.rules.matching import Stems, stems_of

WEIGHT = 0.5  # of a synonym's word; a word that was typed counts 1
MOST = 32  # texts that are added to a query


def with_synonyms(
    query: Query, found: Sequence[tuple[Stems, str]], rules: tuple[str, ...]
) -> Query:
    """The query, also searched by other texts.

    Args:
        found: what of the query each stands for, and the text. A word counts no more than the one
            that it stands for; fully if no item has that one.
        rules: the names of the rules that say so.
    """
    terms = dict(query.terms)
    as_good: dict[str, list[str]] = {}
    for phrase, text in found[:MOST]:
        own = stems_of(text)
        typed = phrase[0] if len(phrase) == len(own) == 1 else ""
        if typed:
            as_good.setdefault(typed, []).append(own[0])
        for token, weight in _tokens(text, query.inflected):
            if token not in terms:
                terms[token] = Use(WEIGHT * weight, typed if token == own[0] else "")
    wanted, needed = (_either(keys, as_good) for keys in (query.wanted, query.needed))
    return replace(query, terms=terms, wanted=wanted, needed=needed, rules=rules)


@lru_cache(maxsize=10_000)
def _tokens(text: str, language: str | None) -> tuple[tuple[str, float], ...]:
    """The tokens that a text is searched by, with their weights; not as an item's code."""
    found = query_tokens(text, language).items()
    return tuple((token, use.weight) for token, use in found if not token.startswith(CODE))


def _either(wanted: np.ndarray, as_good: dict[str, list[str]]) -> np.ndarray:
    """`Query.wanted` with further keys that are as good as a word's own."""
    wider = max(map(len, as_good.values()), default=0)
    if not wider or not len(wanted):
        return wanted
    more = np.repeat(wanted[:, :1], wider, axis=1)
    for stem, others in as_good.items():
        keys = word_keys(others)
        more[wanted[:, 0] == word_keys([stem])[0], : len(keys)] = keys
    return np.hstack((wanted, more))
