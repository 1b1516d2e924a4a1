"""A generation's parts over all of its segments: tables, words, spaces and spelling by row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from omnisearch.data.catalogue.schema import ENTITIES, ITEM_ENTITIES
from omnisearch.data.workspace.steps import end_step
from omnisearch.indexer.cluster.segment import search_together
from omnisearch.indexer.dead import CONTENT, TABLE, Dead
from omnisearch.indexer.parts.layout import Layout, layout_of
from omnisearch.indexer.parts.spelling import Spelling, stacked_spelling
from omnisearch.indexer.parts.suggest import Entries
from omnisearch.indexer.parts.suggest_open import stacked_suggestions
from omnisearch.indexer.parts.table import ItemTable
from omnisearch.indexer.parts.table_stacked import stacked_table
from omnisearch.indexer.parts.token_index import TokenIndex
from omnisearch.indexer.parts.tokens import read_tokens
from omnisearch.indexer.parts.tokens_rank_bm25 import RankBM25Index
from omnisearch.indexer.parts.tokens_stacked import StackedTokens
from omnisearch.indexer.parts.vectors import SegmentSpace
from omnisearch.indexer.parts.vectors_stacked import StackedSpace
from omnisearch.indexer.parts.words import Texts, stacked_texts
from omnisearch.indexer.segment import Segment

Spaces = dict[tuple[str, str], SegmentSpace | StackedSpace]


@dataclass(frozen=True)
class Contents:
    """What the items of a `Generation` are found by: words and vectors over segments, by row.

    Attributes:
        segments: those that have any, the oldest first. dead: what no longer counts of them.
        backend: of the token indexes.
        layouts: of each entity type; None if one segment has all.
        texts, tokens, spaces, spelling: as of a `Generation`.
        suggestions: titles, brands and categories of each segment.
    """

    segments: tuple[Segment, ...]
    dead: Dead
    backend: str
    layouts: dict[str, Layout | None]
    texts: dict[str, Texts]
    tokens: dict[str, TokenIndex]
    spaces: Spaces
    spelling: Spelling
    suggestions: tuple[Entries, ...]

    def having(self, entity: str) -> list[Segment]:
        """The segments of which an entity type's layout is."""
        return [each for each in self.segments if entity in each.content]

    def is_of(self, segments: Sequence[Segment], dead: Dead, backend: str) -> bool:
        """Whether it is what `contents_of` makes of these."""
        same = len(segments) == len(self.segments) and backend == self.backend
        return (
            same
            and all(one is other for one, other in zip(segments, self.segments, strict=True))
            and all(
                np.array_equal(dead[part], self.dead[part])
                for each in segments
                for part in each.sizes()
                if part[2] == CONTENT
            )
        )


def contents_of(
    segments: Sequence[Segment], dead: Dead, backend: str, like: Contents | None = None
) -> Contents:
    """What the items of these segments are found by, the build's first.

    Args:
        dead: of all of their parts. backend: of the token indexes.
        like: what may be of the same; then it is returned, with all that it has remembered.
    """
    having = tuple(each for each in segments if each.content)
    if like is not None and like.is_of(having, dead, backend):
        return like
    layouts: dict[str, Layout | None] = {}
    for entity in ENTITIES:
        parts = [each for each in having if entity in each.content]
        gone = [dead[each.number, entity, CONTENT] for each in parts]
        layouts[entity] = None
        if len(parts) > 1 or len(gone[0]) or parts[0].collections is not None:
            known = like.layouts[entity] if like else None
            layouts[entity] = layout_of([each.content[entity] for each in parts], gone, known)
        end_step()
    texts, tokens = dict[str, Texts](), dict[str, TokenIndex]()
    for entity in ITEM_ENTITIES:
        parts, layout = [each for each in having if entity in each.content], layouts[entity]
        own = [each.texts[entity] for each in parts]
        texts[entity] = own[0] if layout is None else stacked_texts(own, layout)
        end_step()
        tokens[entity] = _tokens_of(parts, entity, layout, backend)
        end_step()
    spelling = _spelling_of(having, dead, texts, tuple(tokens.values()))
    end_step()
    return Contents(
        segments=having,
        dead=dead,
        backend=backend,
        layouts=layouts,
        texts=texts,
        tokens=tokens,
        spaces=_spaces_of(having, layouts),
        spelling=spelling,
        suggestions=_suggestions_of(having, dead),
    )


def tables_of(
    segments: Sequence[Segment],
    dead: Dead,
    contents: Contents,
    like: Mapping[str, ItemTable] | None = None,
) -> dict[str, ItemTable]:
    """The tables over these segments, whose rows are those of the contents.

    Args:
        dead: of all of their parts.
        like: the tables of a generation that may have some of these segments.

    Raises ValueError if they are of other items than the contents.
    """
    tables = {}
    for entity in ENTITIES:
        parts = [each for each in segments if entity in each.tables]
        gone = [dead[each.number, entity, TABLE] for each in parts]
        tables[entity] = parts[0].tables[entity]
        later: list[tuple[Sequence[str], np.ndarray]] = []
        if len(parts) > 1 or len(gone[0]) or parts[0].collections is not None:
            own = [each.tables[entity] for each in parts]
            known = like[entity].layout if like else None
            layout = layout_of([table.ids for table in own], gone, known)
            tables[entity] = stacked_table(own, layout)
            later = [(own[at].ids, layout.rows[at]) for at in range(1, len(own))]
        below = contents.layouts[entity]
        ids = contents.having(entity)[0].content[entity] if below is None else below.ids
        # Those of the first segment come in the same order in both.
        same = (
            ids[row] == key
            for keys, rows in later
            for key, row in zip(keys, rows.tolist(), strict=True)
            if row >= 0
        )
        if len(ids) != len(tables[entity]) or not all(same):
            raise ValueError(f"its {entity} items have the words and vectors of others")
        end_step()
    return tables


def _tokens_of(
    parts: list[Segment], entity: str, layout: Layout | None, backend: str
) -> TokenIndex:
    if backend == "rank-bm25":
        return RankBM25Index([line.split() for line in lines_of(parts, entity, layout)])
    indexes = [each.tokens[entity] for each in parts]
    if layout is None:
        return indexes[0]
    return StackedTokens(indexes, [each.terms[entity] for each in parts], layout)


def lines_of(parts: list[Segment], entity: str, layout: Layout | None) -> list[str]:
    """The tokens of each row, as `read_tokens` has those of a segment."""
    lines = [read_tokens(each.folder / entity, len(each.content[entity])) for each in parts]
    if layout is None:
        return lines[0]
    every = [line for part in lines for line in part]
    return [every[at] for at in layout.at.tolist()]


def _spaces_of(segments: Sequence[Segment], layouts: dict[str, Layout | None]) -> Spaces:
    spaces: Spaces = {}
    for entity, layout in layouts.items():
        parts = [each for each in segments if entity in each.content]
        dims = {
            name: space.dim
            for each in parts
            for (kind, name), space in each.spaces.items()
            if kind == entity
        }
        for name, dim in dims.items():
            found = [each.space(entity, name, dim) for each in parts]
            spaces[entity, name] = found[0] if layout is None else StackedSpace(found, layout)
    return spaces


def _suggestions_of(segments: Sequence[Segment], dead: Dead) -> tuple[Entries, ...]:
    """Titles, brands and categories of each segment, without those of items that are gone; none if
    they were left out."""
    parts = [each.suggested for each in segments if each.suggested]
    if not parts:
        return ()
    gone = [
        {
            entity: dead[each.number, entity, CONTENT]
            for entity in each.content
            if entity in ITEM_ENTITIES
        }
        for each in segments
    ]
    return stacked_suggestions(parts, gone)


def _spelling_of(
    segments: Sequence[Segment],
    dead: Dead,
    texts: dict[str, Texts],
    indexes: tuple[TokenIndex, ...],
) -> Spelling:
    none = np.zeros(0, np.int64)
    places, keys = [], [none.astype(np.uint32)]
    for each in segments:
        gone = {entity: dead[each.number, entity, CONTENT] for entity in each.spelled}
        places.append(
            np.concatenate([none, *(each.spelled[e].of(rows)[0] for e, rows in gone.items())])
        )
        keys += [each.texts[entity].gone(rows)[0] for entity, rows in gone.items()]
    forgotten = np.unique(np.concatenate(keys))
    for text in texts.values():
        forgotten = forgotten[text.frequency(forgotten) == 0]
    end_step()
    parts = [each.spelling for each in segments if each.spelling]
    if len(parts) == 1 and not len(places[0]):
        spelling = replace(parts[0], indexes=indexes)
    else:
        spelling = stacked_spelling(parts, places, forgotten, indexes)
    there = segments[0].collections
    if there is None or not all(isinstance(each, StackedTokens) for each in indexes):
        return spelling
    return replace(spelling, searches=partial(search_together, there))
