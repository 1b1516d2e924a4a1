"""Spelling correction: replaces query words that no item has by words that items have.

One edit is allowed: a letter added, removed or changed, or two neighbours swapped; or letters are
spelled out (mueller for müller). A letter is what a key types: also a vowel sign, or a part of a
Korean syllable. As in Garbe's SymSpell, words one edit apart are matched by their forms with one
letter left out. The words come from the catalogue, so brands and languages need no dictionary; of
several that are as near, the one is chosen that stands beside the query's other words in items.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from unicodedata import normalize

import numpy as np
from rapidfuzz.distance import OSA

from omnisearch.data.text.exclusions import EXCLUDING
from omnisearch.data.text.keys import word_keys
from omnisearch.data.text.normalise import is_unspaced, replace_words
from omnisearch.data.text.tokens import STOP_WORDS, Use, code_token, query_tokens, tokens
from omnisearch.data.workspace.memory import remembering
from omnisearch.indexer.parts.token_index import Terms, TokenIndex, search_each
from omnisearch.indexer.parts.vocabulary import Vocabulary

Has = Callable[[list[str], str], list[bool]]  # whether a language has words
# The rows and scores that each index has for its terms, as many as the number says at most.
Searches = Callable[[Sequence[tuple[TokenIndex, Terms]], int], list[tuple[np.ndarray, np.ndarray]]]

PART = 4  # least letters of a part of a compound
SHORTEST = 4  # shorter words are one edit from too many others: the query's other words must tell
SHORTEST_KOREAN = 3  # syllables
LONGEST = 32
MOST_NEAR = 32  # words that are compared by the query's other words, the most frequent ones
LONG = 8  # one edit in so many letters is an error, whatever the other words of the query are
HALF = 3  # minimum letters of each half of a divided word
MOST_REPLACED = 8  # words of one query, to bound the time of a search

_UNITS = (
    "acre amps bits bytes carat feet foot gallon gauge gram gramme grams hertz inch inches joule "
    "karat kelvin kilo kilogram kilos liter liters litre litres litros lumen lumens meter meters "
    "metre metres metri metros mile miles ounce ounces pint pixel pouces pound pounds pulgadas "
    "quart stone volt volts watt watts yard yards zoll gbit mbit gbps mbps"
)
SPELLED_OUT = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "å": "aa", "ø": "oe"})
_HANGUL = re.compile("[\uac00-\ud7a3]")
_DEPTH = 1000  # items that have most of the query's other words, and items that have a near word
_SHARP = 4  # how much less an item tells that has fewer of them; 1 to 16 are level on Home Depot
# Of the best item's score: what an item with a near word must have, chosen on half of the queries
# of Home Depot; and if the word to replace is doubtful, chosen on half of benchmarks/titles.py.
_LEAST = 0.6
_SURE = 0.9
_LEFT_ALONE = STOP_WORDS | EXCLUDING | frozenset(_UNITS.split())


@dataclass(frozen=True, eq=False)
class Spelling:
    """The words of a catalogue.

    Attributes:
        vocabularies: of each segment; the suggested words.
        counts: of each segment int64 (v,), the items that count and have each word.
        known: uint32, ascending, `keys_of` the catalogue's words, which are not replaced, and those
            that the query tower knows: no item may have 'twig', yet it must not become 'twin'
            unless the other words of the query say so.
        lasting: uint32, ascending, those of `known` that do not depend on the items.
        indexes: the token indexes of the items, which choose between words. searches: how several
            searches of them are made.
    """

    vocabularies: tuple[Vocabulary, ...]
    counts: tuple[np.ndarray, ...]
    known: np.ndarray
    lasting: np.ndarray
    indexes: tuple[TokenIndex, ...] = ()
    searches: Searches = search_each

    @cached_property
    def respelled(self) -> Callable[..., str]:
        """A normalised query in which words that no item has are replaced by similar ones.

        With a function as second argument, which says of words whether items in the query's
        language have them, and that language as third, such words come first. With True as fourth,
        the language writes compounds as one word, and what two words of items begin or end with is
        no mistake.

        Words written together ('powertool') are separated. Numbers, units, what is glued to a
        number (RTX4090), and a query that is an item's code stay. If nothing is replaced, the query
        is returned unchanged.
        """
        return remembering(self._respelled, 10_000)

    def _respelled(
        self, query: str, has: Has | None = None, language: str = "", compounds: bool = False
    ) -> str:
        if self._has([code_token(query)]):
            return query
        found: dict[str, str] = {}

        def without(word: str) -> str:
            if word in _LEFT_ALONE or self._found(word):
                return word
            found[word] = word
            return ""

        others = replace_words(query, without)
        found |= self._replaced(list(found)[:MOST_REPLACED], others, has, language, compounds)
        if all(word == other for word, other in found.items()):
            return query
        return replace_words(query, lambda word: found.get(word, word))

    def count(self, word: str) -> int:
        """How many items have a word."""
        each = zip(self.vocabularies, self.counts, strict=True)
        return sum(
            int(counts[at]) for part, counts in each if (at := part.listed.get(word, -1)) >= 0
        )

    def replaced(
        self, word: str, others: str = "", has: Has | None = None, language: str = ""
    ) -> str:
        """The replacement of one word: itself, another word, or several.

        Args:
            others: the other words of the query, those that items have.
            has, language: as of `respelled`.
        """
        return self._replaced([word], others, has, language, False)[word]

    def _replaced(
        self, words: list[str], others: str, has: Has | None, language: str, compounds: bool
    ) -> dict[str, str]:
        """The replacement of each word; all are searched for together."""
        doubtful = [word for word in words if self._is_doubtful(word)]
        near = [self._nearest(word, has, language) for word in doubtful]
        least = [
            _SURE if compounds and self._is_part(word, its) else self._least(word)
            for word, its in zip(doubtful, near, strict=True)
        ]
        found = {word: word for word in words}
        beside = self._beside(near, least, others)
        for word, its, need, chosen in zip(doubtful, near, least, beside, strict=True):
            if its:
                found[word] = next(iter(chosen), word)
            elif need < _SURE and not self._searched(word):
                found[word] = self._divided(word) or word
        return found

    def _is_doubtful(self, word: str) -> bool:
        if word in _LEFT_ALONE or not is_spelled(word) or self._found(word):
            return False
        return 1 < len(as_typed(word)) <= LONGEST

    def _least(self, word: str) -> float:
        """What an item with another word must have of the best item's score."""
        shortest = SHORTEST_KOREAN if _HANGUL.search(word) else SHORTEST
        if len(word) < shortest or self._knows(word):
            return _SURE
        return 0.0 if len(word) >= LONG else _LEAST

    def _is_part(self, word: str, near: list[str]) -> bool:
        """Whether a word is a part of compounds, but not of a similar word."""
        unfinished = any(other.startswith(word) or other.endswith(word) for other in near)
        if len(word) < PART or unfinished:
            return False
        found = {
            compound
            for part in self.vocabularies
            for compound in (*part.beginning(word, PART), *part.ending(word, PART))
            if self.count(compound)
        }
        return len(found) > 1

    def _found(self, word: str) -> bool:
        """Whether items have a word, not the query tower alone."""
        return self._knows(word) and (not self.indexes or self._searched(word))

    def _searched(self, word: str) -> bool:
        """Whether the word finds an item, by its own texts or by what searchers typed for it."""
        terms = query_tokens(word)
        return any(index.frequency(term) for index in self.indexes for term in terms)

    def _knows(self, word: str) -> bool:
        return self._has(tokens(word))

    def _has(self, found: list[str]) -> bool:
        keys = word_keys(found)
        at = np.minimum(np.searchsorted(self.known, keys), len(self.known) - 1)
        return bool(len(self.known)) and bool((self.known[at] == keys).all())

    def _nearest(self, word: str, has: Has | None, language: str) -> list[str]:
        """The words one edit away, those of the language alone if there are any."""
        near = self._one_edit_away(word)
        if has is None:
            return near
        return [other for other, its in zip(near, has(near, language), strict=True) if its] or near

    def _one_edit_away(self, word: str) -> list[str]:
        """The words one edit away, frequent ones first, or the one that is the same spelled out."""
        typed, out, found = as_typed(word), word.translate(SPELLED_OUT), []
        for candidate in self._near([*without_one(typed), out]):
            if candidate.translate(SPELLED_OUT) == out:
                return [candidate]
            other = as_typed(candidate)
            if len(other) > 1 and OSA.distance(typed, other, score_cutoff=1) == 1:
                found.append(candidate)
                if len(found) == MOST_NEAR:
                    break
        return found

    def _beside(self, near: list[list[str]], least: list[float], others: str) -> list[list[str]]:
        """Each list of words, first the one whose items have most of the query's other words.

        Args:
            least: of each list, only words of an item that has as large a part of them as the best
                item has.
        """
        terms = query_tokens(others)
        near = [[word for word in its if tokens(word)[0] not in terms] or its for its in near]
        untold = [its if need < _SURE else [] for its, need in zip(near, least, strict=True)]
        words = list(dict.fromkeys(word for its in near for word in its))
        if not words or not any(index.frequency(term) for index in self.indexes for term in terms):
            return untold
        # All at once: in a cluster a search alone costs as much as many.
        asked = [terms, *({tokens(word)[0]: Use()} for word in words)]
        every = [(index, each) for index in self.indexes for each in asked]
        found = self.searches(every, _DEPTH)
        by_index = [found[at : at + len(asked)] for at in range(0, len(found), len(asked))]
        best = max(float(scores.max(initial=0)) for (_, scores), *_ in by_index)
        if not best:
            return untold
        weights, highest = dict.fromkeys(words, 0.0), dict.fromkeys(words, 0.0)
        for (rows, scores), *having in by_index:
            for word, (with_it, _) in zip(words, having, strict=True):
                beside = scores[np.isin(rows, with_it)] / best
                weights[word] += float((beside**_SHARP).sum())
                highest[word] = max(highest[word], float(beside.max(initial=0)))
        return [
            sorted((word for word in its if highest[word] >= need), key=lambda word: -weights[word])
            for its, need in zip(near, least, strict=True)
        ]

    def _divided(self, word: str) -> str | None:
        """The word split into two that several items have; maximises the rarer one's frequency."""
        best, found = 1, None
        for cut in range(HALF, len(word) - HALF + 1):
            halves = word[:cut], word[cut:]
            count = min(map(self._count, halves))
            if count > best:
                best, found = count, " ".join(halves)
        return found

    def _count(self, word: str) -> int:
        return self._counted([word]).get(word, 0)

    def _near(self, texts: list[str]) -> list[str]:
        """The words that share a hash with any of the texts, frequent ones first."""
        found = self._counted(texts)
        return sorted((word for word in found if found[word]), key=lambda w: (-found[w], w))

    def _counted(self, texts: list[str]) -> dict[str, int]:
        found: dict[str, int] = {}
        for part, counts in zip(self.vocabularies, self.counts, strict=True):
            for place in part.near(texts):
                word = part.word(place)
                found[word] = found.get(word, 0) + int(counts[place])
        return found


def is_spelled(word: str) -> bool:
    """Whether a word consists of letters and marks, of a script that has spaces."""
    return word[0].isalpha() and not is_unspaced(word)


def as_typed(word: str) -> str:
    """The letters as they are typed: Korean syllables in their parts."""
    return normalize("NFD", word) if _HANGUL.search(word) else word


def without_one(word: str) -> list[str]:
    """The word, and its forms with one letter left out."""
    return [word, *(word[:at] + word[at + 1 :] for at in range(len(word)))]


def stacked_spelling(
    parts: Sequence[Spelling],
    gone: Sequence[np.ndarray],
    forgotten: np.ndarray,
    indexes: tuple[TokenIndex, ...],
) -> Spelling:
    """The words of a generation's segments.

    Args:
        gone: of each segment, the positions of the words of items that no longer count, one for
            each item and word.
        forgotten: `keys_of` words of such items that no item has.
    """
    vocabularies = tuple(part.vocabularies[0] for part in parts)
    counts = tuple(
        words.counts - np.bincount(places, minlength=len(words.counts))
        for words, places in zip(vocabularies, gone, strict=True)
    )
    lasting = parts[0].lasting  # that of the build
    known = parts[0].known
    for part in parts[1:]:
        known = np.insert(known, *_missing(known, part.known))
    known = np.delete(known, _places(known, forgotten[~_among(lasting, forgotten)]))
    return Spelling(vocabularies, counts, known, lasting, indexes)


def _among(known: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """bool (m,): which keys are among the known ones, ascending and usually many more."""
    if not len(known):
        return np.zeros(len(keys), bool)
    return known[np.minimum(np.searchsorted(known, keys), len(known) - 1)] == keys


def _missing(known: np.ndarray, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where to insert the keys that are not among the known ones, and these keys."""
    new = keys[~_among(known, keys)]
    return np.searchsorted(known, new), new


def _places(known: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Where those of the keys are that are among the known ones."""
    return np.searchsorted(known, keys[_among(known, keys)])
