"""The words of a query: those it is searched by, and those that it excludes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from omnisearch.data.catalogue.schema import ITEM_ENTITIES
from omnisearch.data.text.exclusions import languages_of, split_query
from omnisearch.data.text.keys import word_keys
from omnisearch.data.text.normalise import normalise_query
from omnisearch.data.text.tokens import query_tokens
from omnisearch.indexer.parts.table import ItemTable


@dataclass(frozen=True)
class QueryWords:
    """What a query asks for, and what it does not want.

    Attributes:
        wanted: the text without what it excludes, which BM25 searches for.
        asked: `word_keys` of the words that `wanted` is searched by.
        excluded: `word_keys` of the excluded words, mostly none.
    """

    wanted: str
    asked: np.ndarray
    excluded: np.ndarray


def query_words(tables: Mapping[str, ItemTable], text: str) -> QueryWords:
    """The words of a query, by the languages of the catalogue's items (`data.text.exclusions`)."""
    vocabularies = [tables[entity].language.vocab for entity in ITEM_ENTITIES if entity in tables]
    return _query_words(text, languages_of(code for vocab in vocabularies for code in vocab))


@lru_cache(maxsize=10_000)
def _query_words(text: str, languages: frozenset[str]) -> QueryWords:
    wanted, excluded = split_query(normalise_query(text), languages)
    return QueryWords(wanted, word_keys(query_tokens(wanted)), word_keys(query_tokens(excluded)))


def excluded_share(table: ItemTable, rows: np.ndarray, query: QueryWords) -> np.ndarray:
    """Float32 (m,): which share of the excluded words stands in the rows' names.

    It is negative where the name says that the item is without them, and NaN where the query
    excludes nothing or the name has no words.
    """
    if not len(query.excluded):
        return np.full(len(rows), np.nan, np.float32)
    share, _ = table.names.match(query.excluded, rows)
    lacked, _ = table.lacks.match(query.excluded, rows)
    return np.where(lacked > 0, -lacked, share)
