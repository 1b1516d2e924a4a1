"""Which words of a title a query has found, in the same analysis as the search."""

from __future__ import annotations

from collections.abc import Set
from functools import lru_cache
from itertools import pairwise

from omnisearch.data.text.keys import word_keys
from omnisearch.data.text.normalise import folded, is_unspaced, word_places
from omnisearch.data.text.tokens import stem_tokens, tokens

Range = tuple[int, int]


def highlights(text: str, wanted: Set[int], language: str | None = None) -> list[list[int]]:
    """The ranges of a text's matching words: [start, end) in Unicode code points, ascending.

    Args:
        wanted: the keys of a query's tokens, of `either_keys`.
        language: whose stems the query is searched by too.
    """
    found: list[Range] = []
    end = 0
    for run in text.split():
        start = text.index(run, end)
        end = start + len(run)
        every, parts, whole = _parts(run, language)
        if wanted.isdisjoint(every):
            continue
        own = [place for place, keys in parts if not wanted.isdisjoint(keys)]
        if not own and whole and not wanted.isdisjoint(whole[1]):
            own = [whole[0]]
        found += [(start + one, start + other) for one, other in own]
    return _merged(sorted(found))


@lru_cache(maxsize=200_000)
def _parts(
    run: str, language: str | None
) -> tuple[
    tuple[int, ...], list[tuple[Range, tuple[int, ...]]], tuple[Range, tuple[int, ...]] | None
]:
    """Of a run without spaces: all keys that it may be found by, those of each of its parts, and
    those of the whole if it has several words."""
    places = word_places(run)
    parts = [(place, _keys(run[slice(*place)], language)) for place in places]
    for one, other in pairwise(places):  # of scripts without spaces, pairs are searched
        pair = folded(run[one[0] : other[1]])
        if one[1] == other[0] and is_unspaced(pair[:1]):
            parts.append(((one[0], other[1]), tuple(word_keys([pair]).tolist())))
    whole = ((places[0][0], places[-1][1]), _keys(run, language)) if len(places) > 1 else None
    every = {key for _, keys in parts for key in keys}.union(whole[1] if whole else ())
    return tuple(every), parts, whole


def _keys(text: str, language: str | None) -> tuple[int, ...]:
    return tuple(word_keys([*tokens(text), *stem_tokens(text, language)]).tolist())


def _merged(ranges: list[Range]) -> list[list[int]]:
    """Ranges that touch, as one."""
    merged: list[list[int]] = []
    for start, end in ranges:
        if merged and start <= merged[-1][1]:
            merged[-1][1] = max(end, merged[-1][1])
        else:
            merged.append([start, end])
    return merged
