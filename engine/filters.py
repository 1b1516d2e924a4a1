"""Filters: which items of a generation a search may return."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from omnisearch.data.catalogue.schema import ITEM_ENTITIES
from omnisearch.data.workspace.errors import InputError
from omnisearch.indexer.parts.table import ItemTable


@dataclass(frozen=True)
class Filters:
    """Conditions that an item must all meet; None means no condition.

    Attributes:
        entity: 'pin' or 'product'.
        language, country, brand: the item's own, compared without case.
        price_min, price_max: inclusive, in the item's currency; items without a price (such as all
            pins) never match.
        board: a board's id; items on that board.
        ads: True for only ads, False for no ads.
    """

    entity: str | None = None
    language: str | None = None
    country: str | None = None
    price_min: float | None = None
    price_max: float | None = None
    brand: str | None = None
    board: str | None = None
    ads: bool | None = None

    def __post_init__(self) -> None:
        if self.entity is not None and self.entity not in ITEM_ENTITIES:
            raise InputError(
                f"Unknown entity type {self.entity!r}.",
                where="filter entity",
                how=f"Use {' or '.join(ITEM_ENTITIES)}.",
            )
        for name in ("language", "country", "brand", "board"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, str):
                raise InputError(f"{name} must be text, got {value!r}.", where=f"filter {name}")
        for name in ("price_min", "price_max"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int | float) or math.isnan(value)):
                raise InputError(f"{name} must be a number, got {value!r}.", where=f"filter {name}")
        if (
            self.price_min is not None
            and self.price_max is not None
            and self.price_min > self.price_max
        ):
            raise InputError(
                f"The price range is empty: {self.price_min} is above {self.price_max}.",
                where="filter price_min, price_max",
                how="Swap the two.",
            )

    def entities(self) -> tuple[str, ...]:
        """The entity types that can match."""
        if self.entity is not None:
            return (self.entity,)
        return ITEM_ENTITIES


def allowed_rows(filters: Filters, entity: str, table: ItemTable) -> np.ndarray | None:
    """Bool (n,) over a table's rows: which match; None if all do."""
    if entity not in filters.entities():
        return np.zeros(len(table), dtype=bool)
    masks = [
        column.mask(value)
        for column, value in (
            (table.language, filters.language),
            (table.country, filters.country),
            (table.brand, filters.brand),
        )
        if value is not None
    ]
    # Comparisons with NaN (an unknown price) are false.
    if filters.price_min is not None:
        masks.append(table.price >= filters.price_min)
    if filters.price_max is not None:
        masks.append(table.price <= filters.price_max)
    if filters.board is not None:
        masks.append(table.boards.mask(filters.board))
    if filters.ads is not None:
        masks.append(table.is_ad == filters.ads)
    if not masks:
        return None
    return np.logical_and.reduce(masks)
