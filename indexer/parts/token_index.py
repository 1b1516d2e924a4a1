"""The interface of token indexes, and the BM25 that all of them compute."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from omnisearch.data.text.stems import STEM
from omnisearch.data.text.tokens import Use

# BM25 in Lucene's form.
K1 = 1.2
B = 0.75


Terms = Mapping[str, Use]


@dataclass(frozen=True)
class Statistics:
    """What BM25 knows of all items: how many `rows`, and in how many of them a term is."""

    rows: int
    frequency: Callable[[str], int]


def weights_of(terms: Terms, among: Statistics) -> dict[str, float]:
    """What each term that items have counts."""
    weights = {}
    for term, use in terms.items():
        here = among.frequency(term)
        if not here:
            continue
        weights[term] = use.weight
        if use.instead_of:
            there = among.frequency(use.instead_of)
            share = idf(among.rows, there) / idf(among.rows, here)
            weights[term] = use.weight * min(share, 1.0) if there else 1.0
    return weights


def stems_of(terms: Terms, found: Collection[str]) -> dict[str, str]:
    """Words → their stems, where items have both: the better of the two counts, not their sum.

    Items in the query's language have the stem beside the very word, others have the word alone.

    Args:
        found: the terms that items have.
    """
    stems = {use.instead_of: term for term, use in terms.items() if term.startswith(STEM)}
    return {word: term for word, term in stems.items() if word in found and term in found}


def stem_score(weight: float, rows: int, frequency: int) -> float:
    """What a stem counts: as a word that an item of usual length has once."""
    return weight * idf(rows, frequency) / (1 + K1)


def words_and_stems(line: str) -> tuple[str, str]:
    """A row's tokens without its stems, and its stems."""
    if STEM not in line:
        return line, ""
    found = line.split()
    stems = [token for token in found if token.startswith(STEM)]
    return " ".join(token for token in found if not token.startswith(STEM)), " ".join(stems)


def coded_length(length: int) -> int:
    """A document's length as Lucene and tantivy encode it in one byte: exact up to 40.

    Four significant bits above 24, rounded down (Lucene's SmallFloat.intToByte4).
    """
    free = 24
    if length < free:
        return length
    rest = length - free
    shift = max(rest.bit_length() - 4, 0)
    return free + (rest >> shift << shift)


def idf(rows: int, frequency: int) -> float:
    """Lucene's inverse document frequency."""
    return math.log(1 + (rows - frequency + 0.5) / (frequency + 0.5))


class TokenIndex(Protocol):
    """BM25 over the items of one entity type."""

    def search(
        self, terms: Terms, k: int, allowed: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The k best rows for the terms of a query; none if no term is known.

        Args:
            terms: as returned by `query_tokens`; they have no query syntax. A stem scores its idf
                in every row that has it: it does not make a row longer.
            allowed: bool (n,) rows that may be returned, or None for all.

        Returns:
            rows int64 (m,), best first, equal scores by row; BM25 scores float32 (m,).
        """
        ...

    def frequency(self, term: str) -> int:
        """How many rows have a term."""
        ...


class SegmentTokens(TokenIndex, Protocol):
    """The token index of one segment."""

    def search(
        self,
        terms: Terms,
        k: int,
        allowed: np.ndarray | None = None,
        among: Statistics | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """As of a `TokenIndex`; `among` has the rows and frequencies of a whole of which this is a
        part, so that terms count as they do there."""
        ...


def search_each(
    asked: Sequence[tuple[TokenIndex, Terms]], k: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """The result of each index for its terms, one after the other."""
    return [index.search(terms, k) for index, terms in asked]


def empty_result() -> tuple[np.ndarray, np.ndarray]:
    """No rows and no scores."""
    return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32)
