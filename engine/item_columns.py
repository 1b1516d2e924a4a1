"""What the items' tables know of a query's candidates, for the rankers (`ranker.features`)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from omnisearch.data.catalogue.schema import ITEM_ENTITIES
from omnisearch.engine.candidates import Candidates
from omnisearch.engine.query_words import excluded_share, query_words
from omnisearch.engine.sources import Asked
from omnisearch.indexer.generation import Generation
from omnisearch.indexer.parts.table import Codes, ItemTable
from omnisearch.indexer.parts.words import idf

_GATHERED = ("counts", "coverage", "price", "created_at", "is_ad")


def item_columns(
    generation: Generation, candidates: Candidates, query: Asked
) -> dict[str, np.ndarray]:
    """Columns of the candidates, in their order.

    `counts` (n, 6) by ACTIONS, `coverage`, `price` (NaN unknown), `created_at`, `is_ad`;
    `engaged_match`: the query's weight among the item's engaged queries, 0 for none;
    `name_share`, `name_cover`: how the wanted words and the item's name meet (`Words.match`);
    `text_share`, `excluded`: see `word_columns`;
    `language_match`: 1 same language as the query, 0 another, NaN where either is not known.
    """
    tables = generation.tables
    language = _query_language(tables, query)
    asked = query_words(tables, query.text).asked
    parts = []
    for entity in ITEM_ENTITIES:
        part = candidates.part(entity)
        if part.start == part.stop:
            continue
        table, rows = tables[entity], candidates.row[part]
        columns = {name: np.take(getattr(table, name), rows, axis=0) for name in _GATHERED}
        columns["engaged_match"] = np.maximum.reduce(
            [table.engaged.match(text, rows) for text in {query.typed, query.text}]
        )
        columns["name_share"], columns["name_cover"] = table.names.match(asked, rows)
        columns["language_match"] = _same(table.language, rows, language)
        parts.append(columns)
    if not parts:
        return {}
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return columns | word_columns(generation, candidates, query.text)


def word_columns(
    generation: Generation, candidates: Candidates, query: str
) -> dict[str, np.ndarray]:
    """What an order without rankers needs besides cosines; float32 (n,) each.

    `text_share`: which share of the wanted words, by their idf, stands in the item's text, all
    that BM25 reads of it; NaN where the item or the query has no words.
    `excluded`: see `excluded_share`.
    """
    words = query_words(generation.tables, query)
    weights = idf(list(generation.texts.values()), words.asked)
    shares = np.full(len(candidates), np.nan, np.float32)
    excluded = shares.copy()
    for entity in ITEM_ENTITIES:
        part = candidates.part(entity)
        if part.start != part.stop:
            rows = candidates.row[part]
            shares[part] = generation.texts[entity].share(words.asked, rows, weights)
            excluded[part] = excluded_share(generation.tables[entity], rows, words)
    return {"text_share": shares, "excluded": excluded}


def _query_language(tables: Mapping[str, ItemTable], query: Asked) -> str | None:
    """The language that the catalogue knows a query by, or None."""
    table = tables.get("query")
    if table is None:
        return None
    row = table.row_of.get(query.typed, table.row_of.get(query.text))
    if row is None:
        return None
    code = int(table.language.codes[row])
    return table.language.vocab[code] if code >= 0 else None


def _same(column: Codes, rows: np.ndarray, value: str | None) -> np.ndarray:
    """Float32 (m,): 1 where a row has the value, 0 where another, NaN where unknown."""
    if value is None:
        return np.full(len(rows), np.nan, np.float32)
    codes = np.take(column.codes, rows)
    code = column.vocab.index(value) if value in column.vocab else -2
    same = (codes == code).astype(np.float32)
    same[codes < 0] = np.nan
    return same
