"""Which words of a title a query has found, in the same analysis as the search."""

from __future__ import annotations

import re
from collections.abc import Set
from functools import lru_cache
from itertools import pairwise

from omnisearch.data.text.keys import word_keys
from omnisearch.data.text.normalise import folded, is_unspaced, word_places
from omnisearch.data.text.tokens import stem_tokens, tokens

_RUN = re.compile(r"\S+")


def highlights(text: str, wanted: Set[int], language: str | None = None) -> list[list[int]]:
    """The ranges of a text's matching words: [start, end) in Unicode code points, ascending.

    Args:
        wanted: the keys of a query's tokens, of `either_keys`.
        language: whose stems the query is searched by too.
    """
    found: list[tuple[int, int]] = []
    for run in _RUN.finditer(text):
        if wanted.isdisjoint(_all_keys(run[0], language)):
            continue
        places = word_places(run[0])
        own = [place for place in places if _has(run[0][slice(*place)], language, wanted)]
        for one, other in pairwise(places):  # of scripts without spaces, pairs are searched
            if one[1] == other[0] and _pair(run[0][one[0] : other[1]], wanted):
                own += [one, other]
        if not own and len(places) > 1 and _has(run[0], language, wanted):
            own = [(places[0][0], places[-1][1])]
        found += [(run.start() + start, run.start() + end) for start, end in own]
    return _merged(sorted(set(found)))


def _has(word: str, language: str | None, wanted: Set[int]) -> bool:
    return any(key in wanted for key in _keys(word, language))


@lru_cache(maxsize=200_000)
def _keys(word: str, language: str | None) -> tuple[int, ...]:
    return tuple(word_keys([*tokens(word), *stem_tokens(word, language)]).tolist())


@lru_cache(maxsize=200_000)
def _all_keys(run: str, language: str | None) -> tuple[int, ...]:
    """What any part of a run may be found by."""
    places = word_places(run)
    parts = [run, *(run[slice(*place)] for place in places)]
    pairs = [
        folded(run[one[0] : other[1]]) for one, other in pairwise(places) if one[1] == other[0]
    ]
    return tuple(
        {*(key for part in parts for key in _keys(part, language)), *word_keys(pairs).tolist()}
    )


def _pair(two: str, wanted: Set[int]) -> bool:
    """Whether two neighbouring characters of a script without spaces are searched together."""
    pair = folded(two)
    return is_unspaced(pair[:1]) and int(word_keys([pair])[0]) in wanted


def _merged(ranges: list[tuple[int, int]]) -> list[list[int]]:
    """Ranges that touch, as one."""
    merged: list[list[int]] = []
    for start, end in ranges:
        if merged and start <= merged[-1][1]:
            merged[-1][1] = max(end, merged[-1][1])
        else:
            merged.append([start, end])
    return merged
