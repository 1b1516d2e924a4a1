"""The index of one generation on this machine."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from omnisearch.data.catalogue.schema import ITEM_ENTITIES
from omnisearch.data.text.language import primary
from omnisearch.engine.attributes import Attributes
from omnisearch.engine.filters import NO_FILTERS, Filters, allowed_rows
from omnisearch.engine.index import TOKENS, Items, SourceRequest, SourceResult
from omnisearch.engine.query import Query
from omnisearch.indexer.generation import Generation
from omnisearch.indexer.parts.layout import Gathered
from omnisearch.indexer.parts.table import Codes, ItemTable
from omnisearch.indexer.parts.words import Texts, WordsAt, idf

_MASKS_KEPT = 32
_LEFT = 0.75  # of what a source found that are not hidden; with fewer it searches among the others
LONG_NAME = 3  # words: a name of fewer, in another form, may be that of a kind of thing
Masks = dict[str, np.ndarray | None]


class LocalIndex:
    """`engine.index.Index` over a generation."""

    one_trip = False

    def __init__(self, generation: Generation, kinds: Mapping[str, str] | None = None) -> None:
        self._generation, self._tables = generation, generation.tables
        self.attributes = Attributes(generation.tables, kinds)
        self._masks: OrderedDict[Filters, Masks] = OrderedDict()
        self._lock = threading.Lock()

    def search(self, requests: Iterable[SourceRequest]) -> Iterator[SourceResult]:
        return map(self._search, requests)

    def _search(self, request: SourceRequest) -> SourceResult:
        allowed = self.allowed(request.filters, request.entity)
        found = without(request.hidden, self._within(request, allowed))
        return found or self._within(request, unhidden(request.hidden, allowed))

    def _within(self, request: SourceRequest, allowed: np.ndarray | None) -> SourceResult:
        rows, scores = np.zeros(0, np.int64), np.zeros(0, np.float32)
        if request.depth and (allowed is None or allowed.any()):
            query, depth = request.query, request.depth
            if request.space == TOKENS:
                index = self._generation.tokens.get(request.entity)
                if index is not None:
                    rows, scores = index.search(query.terms, depth, allowed)
            else:
                space = self._generation.spaces.get((request.entity, request.space))
                if space is not None and query.vector is not None:
                    ef = max(request.ef, depth)
                    rows, scores = space.search(query.vector, depth, ef, allowed)
        rows, scores = np.asarray(rows, np.int64), np.asarray(scores, np.float32)
        if not (scores[1:] < scores[:-1]).all():
            order = np.lexsort((rows, -scores))
            rows, scores = rows[order], scores[order]
        return SourceResult(request.entity, rows, scores)

    def allowed(self, filters: Filters | None, entity: str) -> np.ndarray | None:
        if filters is None or filters == NO_FILTERS:
            return None
        with self._lock:
            if filters in self._masks:
                self._masks.move_to_end(filters)
                return self._masks[filters].get(entity)
        masks = {
            name: allowed_rows(filters, name, self._tables[name], self.attributes)
            for name in ITEM_ENTITIES
            if name in self._tables
        }
        with self._lock:
            self._masks[filters] = masks
            while len(self._masks) > _MASKS_KEPT:
                self._masks.popitem(last=False)
        return masks.get(entity)

    def having(self, query: Query, entity: str) -> np.ndarray:
        if not len(query.needed):
            return np.zeros(0, np.int64)
        contents = self._generation.contents
        layout = contents.layouts[entity]
        texts = [each.texts[entity] for each in contents.having(entity)]
        found = [_having(text, query) for text in texts]
        if layout is None:
            return np.concatenate([np.zeros(0, np.int64), *found])
        found = [rows[places] for rows, places in zip(layout.rows, found, strict=True)]
        first, *above = (rows[rows >= 0] for rows in found)
        # Those of a segment ascend: into the first's, by far the most, the others are inserted.
        more = np.sort(np.concatenate([first[:0], *above]))
        return np.insert(first, np.searchsorted(first, more), more) if len(more) else first

    def cosines(self, query: Query, items: Items, space: str) -> np.ndarray:
        column = np.full(len(items), np.nan, np.float32)
        for entity in ITEM_ENTITIES:
            vectors, part = self._generation.spaces.get((entity, space)), items.part(entity)
            if vectors is not None and query.vector is not None and part.start != part.stop:
                rows = items.row[part]
                found = vectors.cosines(rows, query.vector)
                column[part] = np.where(vectors.present[rows], found, np.nan)
        return column

    def columns(self, query: Query, items: Items, names: Iterable[str]) -> dict[str, np.ndarray]:
        """Those of `names` that the tables have, and these:

        `engaged_match`: the query's weight among the item's engaged queries, 0 for none;
        `name_share`, `name_cover`: overlap of the wanted words with the name (`Words.match`);
        `text_share`: the share of the wanted words, weighted by idf, that is in any of the item's
        own texts; NaN if the item or the query has no words;
        `excluded`: see `excluded_share`;
        `named`: 2 if the query is the item's name or a code of it, 1 if it has the same words in
        another form or order, three and more, 0 otherwise;
        `language_match`: 1 if the query's language in any region, 0 if another, NaN if either is
        unknown.
        """
        wanted = set(names)
        weights = None
        if "text_share" in wanted:
            weights = idf(list(self._generation.texts.values()), query.wanted)
        parts = []
        for entity in ITEM_ENTITIES:
            part = items.part(entity)
            if part.start != part.stop:
                table, rows = self._tables[entity], items.row[part]
                words, texts = table.names.at(rows), self._generation.texts[entity].at(rows)
                parts.append(_of_table(table, rows, wanted))
                parts[-1] |= _of_query(table, rows, query, wanted, words)
                if weights is not None:
                    parts[-1]["text_share"] = texts.share(query.wanted, weights)
                if "named" in wanted:
                    parts[-1]["named"] = _named(table, rows, query, words, texts)
        if not parts:
            return {}
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def display(self, items: Items) -> list[dict[str, Any]]:
        shown: list[dict[str, Any]] = [{}] * len(items)
        for code, entity in enumerate(ITEM_ENTITIES):
            where = np.flatnonzero(items.entity == code)
            if len(where):
                table, rows = self._tables[entity], items.row[where].tolist()
                for at, row, fields in zip(where.tolist(), rows, table.display(rows), strict=True):
                    shown[at] = {**fields, "id": table.ids[row], "is_ad": bool(table.is_ad[row])}
        return shown


def _having(text: Texts, query: Query) -> np.ndarray:
    """int32 (m,), ascending: the rows of a segment that have all words, or the code."""
    found, coded = text.rows_with(query.needed), text.rows_of(int(query.code[0]))
    return np.union1d(found, coded) if len(coded) else found


def without(hidden: np.ndarray | None, found: SourceResult) -> SourceResult | None:
    """What was found without the hidden rows; None if that leaves too little, so that the others
    have to be searched for. A mask of all but a few makes a search slower than this."""
    if hidden is None:
        return found
    shown = ~hidden[found.rows]
    if np.count_nonzero(shown) < _LEFT * len(shown):
        return None
    return SourceResult(found.entity, found.rows[shown], found.scores[shown])


def unhidden(hidden: np.ndarray | None, allowed: np.ndarray | None) -> np.ndarray | None:
    """Bool (n,), the allowed rows that are not hidden; None for all."""
    if hidden is None:
        return allowed
    return ~hidden if allowed is None else allowed & ~hidden


def _of_table(table: ItemTable, rows: np.ndarray, wanted: set[str]) -> dict[str, np.ndarray]:
    found = {name: getattr(table, name, None) for name in wanted}
    return {
        name: column[rows]
        for name, column in found.items()
        if isinstance(column, np.ndarray | Gathered)
    }


def _of_query(
    table: ItemTable, rows: np.ndarray, query: Query, wanted: set[str], names: WordsAt
) -> dict[str, np.ndarray]:
    columns: dict[str, np.ndarray] = {}
    if "engaged_match" in wanted:
        texts = {query.typed, query.text}
        columns["engaged_match"] = np.maximum.reduce(
            [table.engaged.match(text, rows) for text in texts]
        )
    if wanted & {"name_share", "name_cover"}:
        columns["name_share"], columns["name_cover"] = names.match(query.wanted)
    if "excluded" in wanted:
        columns["excluded"] = excluded_share(table, rows, query, names)
    if "language_match" in wanted:
        columns["language_match"] = _in_language(table.language, rows, query.language)
    return columns


def _named(
    table: ItemTable, rows: np.ndarray, query: Query, names: WordsAt, texts: WordsAt
) -> np.ndarray:
    exact = (table.full_name[rows] == query.name) & (query.name > 0)
    exact |= texts.match(query.code)[0] > 0
    if query.length < LONG_NAME:
        return np.where(exact, 2, 0)
    share, cover = names.match(query.said)
    return np.where(exact, 2, (share == 1) & (cover == 1))


def excluded_share(table: ItemTable, rows: np.ndarray, query: Query, names: WordsAt) -> np.ndarray:
    """Float32 (m,): the share of the excluded words that is in the rows' names.

    Negative if the name says that the item is without them; NaN if the query excludes nothing or
    the name has no words.
    """
    if not len(query.excluded):
        return np.full(len(rows), np.nan, np.float32)
    share, _ = names.match(query.excluded)
    lacked, _ = table.lacks.at(rows).match(query.excluded)
    return np.where(lacked > 0, -lacked, share)


def _in_language(column: Codes, rows: np.ndarray, language: str | None) -> np.ndarray:
    """Float32 (m,): 1 if a row's language is that, whatever its region, 0 if another, NaN unknown.

    Args:
        language: a `language.primary` code.
    """
    if language is None:
        return np.full(len(rows), np.nan, np.float32)
    same = np.array([*(primary(code) == language for code in column.vocab), np.nan], np.float32)
    return same[column.codes[rows]]
