"""A query, made once: as typed, as searched, its words, its language and its vector."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from omnisearch.data.text.exclusions import split_query
from omnisearch.data.text.keys import either_keys, name_key, word_keys
from omnisearch.data.text.normalise import (
    MAX_QUERY_CHARS,
    encodable,
    normalise,
    normalise_query,
    words,
)
from omnisearch.data.text.tokens import (
    Use,
    code_token,
    needed_words,
    query_tokens,
    query_words,
    tokens,
)
from omnisearch.data.workspace.errors import InputError


@dataclass(frozen=True, eq=False)
class Query:
    """A query for everything below the engine: nothing normalises or splits it again.

    Attributes:
        typed: what the user typed, normalised and cut to MAX_QUERY_CHARS, as in the log.
        text: what is searched: the spelling of words that no item has is corrected.
        length: how many words `text` has.
        terms: the distinct BM25 tokens of the wanted words, and what they count.
        wanted: uint32 (q, 2 or 4), `either_keys` of the wanted words; excluded: uint32 (e, 2), of
            the excluded ones. needed: those of `wanted` that an item must have to match: words
            that are joined to a number say what is nearer, and are left out.
        code: uint32 (1,), the key of what was typed as an item's id, SKU, GTIN or MPN.
        name: the `name_key` of what was typed.
        said: uint32 (s,), `word_keys` of all words of `text`, as items have them.
        language: `language.primary` code, or None. language_source: 'caller', 'log' or 'detected'.
        inflected: the language whose inflections and compounds are searched: `language`, or a
            likely one, or None.
        vector: float32 (d,), the unit embedding of `text`; None if it was not encoded.
        notes: what the user should know about how it was read.
        rules: the names of the rules that gave it synonyms.
        unspelled: whether a cluster was not there, or too late, to correct its spelling.
    """

    typed: str
    text: str
    length: int
    terms: Mapping[str, Use]
    wanted: np.ndarray
    needed: np.ndarray
    excluded: np.ndarray
    code: np.ndarray
    name: int
    said: np.ndarray
    language: str | None = None
    language_source: str | None = None
    inflected: str | None = None
    vector: np.ndarray | None = None
    notes: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    unspelled: bool = False

    def with_vector(self, vector: np.ndarray | None) -> Query:
        """The same query with its embedding."""
        return replace(self, vector=vector)


def read_query(text: str) -> tuple[str, tuple[str, ...]]:
    """A user's text as `Query.typed`, and notes on how it was changed.

    Raises:
        InputError: it is not text, or only space and control characters.
    """
    if not isinstance(text, str):
        raise InputError(f"A query must be text, got {type(text).__name__}.", where="query")
    typed = normalise_query(encodable(text))
    if not any(sign.isprintable() and not sign.isspace() for sign in typed):
        raise InputError("The query is empty.", where="query", how="Give at least one word.")
    if len(text) > 4 * MAX_QUERY_CHARS or len(normalise(text)) > MAX_QUERY_CHARS:
        return typed, (f"The query was cut to its first {len(typed)} characters.",)
    return typed, ()


def query_of(
    typed: str,
    text: str,
    languages: frozenset[str],
    notes: tuple[str, ...] = (),
    inflected: str | None = None,
) -> Query:
    """The query from a typed and a searched text, both normalised.

    Args:
        languages: whose exclusion words are recognised (`exclusions.languages_of`).
        inflected: the language whose stems are searched.
    """
    asked = _analysed(text, languages, inflected)
    if text != typed:
        notes = (*notes, f"Not every word is in the catalogue: searched for '{text}'.")
        asked = replace(asked, code=word_keys([code_token(typed)]), name=name_key(typed))
    return replace(asked, typed=typed, notes=notes)


@lru_cache(maxsize=10_000)
def _analysed(text: str, languages: frozenset[str], inflected: str | None) -> Query:
    wanted, excluded = split_query(text, languages)
    return Query(
        typed=text,
        text=text,
        length=len(words(text)),
        terms=query_tokens(wanted, inflected),
        wanted=either_keys(query_words(wanted, inflected)),
        needed=either_keys(needed_words(wanted, inflected)),
        excluded=either_keys(query_words(excluded)),
        code=word_keys([code_token(text)]),
        name=name_key(text),
        said=word_keys(tokens(text)),
        inflected=inflected,
    )
