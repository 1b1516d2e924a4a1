"""A generation's parts over all of its segments: tables, words, spaces and spelling by row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from omnisearch.data.catalogue.schema import ENTITIES, ITEM_ENTITIES
from omnisearch.data.workspace.steps import end_step
from omnisearch.indexer.cluster.segment import search_together
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

# (segment, entity type) → int64, ascending: the places there that no longer count.
Dead = dict[tuple[int, str], np.ndarray]
Spaces = dict[tuple[str, str], SegmentSpace | StackedSpace]


@dataclass(frozen=True)
class Stack:
    """The parts of a `Generation` that its segments have, by row."""

    tables: dict[str, ItemTable]
    texts: dict[str, Texts]
    tokens: dict[str, TokenIndex]
    spaces: Spaces
    spelling: Spelling


def stack(
    segments: tuple[Segment, ...],
    dead: Dead,
    rows: Mapping[str, int],
    backend: str,
    like: Mapping[str, ItemTable] | None = None,
) -> Stack:
    """The parts over these segments, the build's first.

    Args:
        rows: how many items of each type there must be. backend: of the token indexes.
        like: the tables of a generation that may have some of these segments.

    Raises ValueError if there are more or fewer.
    """
    having = {e: [each for each in segments if e in each.tables] for e in ENTITIES}
    layouts: dict[str, Layout | None] = {}
    tables: dict[str, ItemTable] = {}
    for entity, parts in having.items():
        gone = [dead[each.number, entity] for each in parts]
        own = [each.tables[entity] for each in parts]
        alone = len(parts) == 1 and not len(gone[0])
        layout = None
        if not alone or parts[0].collections is not None:
            known = like[entity].layout if like and entity in like else None
            layout = layout_of([table.ids for table in own], gone, known)
        layouts[entity] = layout
        tables[entity] = own[0] if alone or layout is None else stacked_table(own, layout)
        if len(tables[entity]) != rows[entity]:
            raise ValueError(f"it has {len(tables[entity])} {entity} items")
        end_step()
    texts, tokens = dict[str, Texts](), dict[str, TokenIndex]()
    for entity in ITEM_ENTITIES:
        texts[entity] = _texts_of(having[entity], entity, tables[entity].layout)
        end_step()
        tokens[entity] = _tokens_of(having[entity], entity, layouts[entity], backend)
        end_step()
    spelling = _spelling_of(segments, dead, texts, tuple(tokens.values()))
    end_step()
    return Stack(tables, texts, tokens, _spaces_of(having, layouts), spelling)


def suggestions_of(segments: tuple[Segment, ...], dead: Dead) -> tuple[Entries, ...]:
    """Titles, brands and categories of each segment, without those of items that are gone."""
    gone = [
        {entity: dead[each.number, entity] for entity in each.tables if entity in ITEM_ENTITIES}
        for each in segments
    ]
    return stacked_suggestions([each.suggested for each in segments if each.suggested], gone)


def _texts_of(parts: list[Segment], entity: str, layout: Layout | None) -> Texts:
    texts = [each.texts[entity] for each in parts]
    return texts[0] if layout is None else stacked_texts(texts, layout)


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
    lines = [read_tokens(each.folder / entity, len(each.tables[entity])) for each in parts]
    if layout is None:
        return lines[0]
    every = [line for part in lines for line in part]
    return [every[at] for at in layout.at.tolist()]


def _spaces_of(having: dict[str, list[Segment]], layouts: dict[str, Layout | None]) -> Spaces:
    spaces: Spaces = {}
    for entity, parts in having.items():
        dims = {
            name: space.dim
            for each in parts
            for (kind, name), space in each.spaces.items()
            if kind == entity
        }
        for name, dim in dims.items():
            found = [each.space(entity, name, dim) for each in parts]
            layout = layouts[entity]
            spaces[entity, name] = found[0] if layout is None else StackedSpace(found, layout)
    return spaces


def _spelling_of(
    segments: tuple[Segment, ...],
    dead: Dead,
    texts: dict[str, Texts],
    indexes: tuple[TokenIndex, ...],
) -> Spelling:
    none = np.zeros(0, np.int64)
    places, keys = [], [none.astype(np.uint32)]
    for each in segments:
        gone = {entity: dead[each.number, entity] for entity in each.spelled}
        places.append(
            np.concatenate([none, *(each.spelled[e].of(rows)[0] for e, rows in gone.items())])
        )
        keys += [each.texts[entity].gone(rows)[0] for entity, rows in gone.items()]
    forgotten = np.unique(np.concatenate(keys))
    for text in texts.values():
        forgotten = forgotten[text.frequency(forgotten) == 0]
    end_step()
    if len(segments) == 1 and not len(places[0]):
        spelling = replace(segments[0].spelling, indexes=indexes)
    else:
        parts = [each.spelling for each in segments]
        spelling = stacked_spelling(parts, places, forgotten, indexes)
    there = segments[0].collections
    if there is None or not all(isinstance(each, StackedTokens) for each in indexes):
        return spelling
    return replace(spelling, searches=partial(search_together, there))
