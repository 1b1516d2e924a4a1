"""The table of a generation's segments: columns that are put together where they are read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from omnisearch.indexer.parts.attributes import StackedAttributes, placed
from omnisearch.indexer.parts.layout import Gathered, Layout, whole
from omnisearch.indexer.parts.table import Codes, ItemTable, Postings, positions_of
from omnisearch.indexer.parts.words import stacked_words


@dataclass(frozen=True)
class StackedCodes(Codes):
    """Those of a generation's segments.

    Attributes:
        first: those of the first segment. parts: int32 (m,) of each, positions in `vocab`.
    """

    first: Codes
    parts: list[np.ndarray]
    layout: Layout

    @cached_property
    def sizes(self) -> np.ndarray:
        most = len(self.vocab) + 1
        found = np.append(self.first.sizes, np.zeros(most - 1 - len(self.first.sizes), np.int64))
        for codes, dead in zip(self.parts, self.layout.dead, strict=True):
            found -= np.bincount(codes[dead] + 1, minlength=most)[1:]
        return found + sum(np.bincount(codes + 1, minlength=most)[1:] for codes in self.parts[1:])

    @cached_property
    def positions(self) -> dict[str, list[int]]:
        if self.vocab is self.first.vocab:
            return self.first.positions
        return positions_of(self.vocab)


def stacked_table(tables: Sequence[ItemTable], layout: Layout) -> ItemTable:
    """The table of a generation's segments."""

    def column(name: str) -> Gathered:
        return Gathered([getattr(table, name) for table in tables], layout)

    def postings(name: str) -> Postings:
        parts = (getattr(table, name).parts[0] for table in tables)
        return Postings(
            tuple(
                replace(part, row_of=rows) for part, rows in zip(parts, layout.rows, strict=True)
            ),
            len(layout),
        )

    return ItemTable(
        entity=tables[0].entity,
        ids=layout.ids,
        price=column("price"),
        created_at=column("created_at"),
        is_ad=column("is_ad"),
        full_name=column("full_name"),
        language=_one([table.language for table in tables], layout),
        country=_one([table.country for table in tables], layout),
        brand=_one([table.brand for table in tables], layout),
        boards=postings("boards"),
        engaged=postings("engaged"),
        names=stacked_words([table.names for table in tables], layout),
        lacks=stacked_words([table.lacks for table in tables], layout),
        attributes=StackedAttributes([table.attributes for table in tables], layout),
        shown=tuple(table.shown[0] for table in tables),
        layout=layout,
    )


def _one(columns: Sequence[Codes], layout: Layout) -> Codes:
    first, *above = columns
    added: dict[str, int] = {}
    codes = [whole(first.codes)]
    for column in above:
        codes.append(placed(column.vocab, first.position, added)[whole(column.codes)])
    vocab = first.vocab + list(added) if added else first.vocab
    return StackedCodes(Gathered(codes, layout), vocab, first, codes, layout)
