"""Filters: which items of a generation a search may return."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from omnisearch.data.catalogue.schema import ITEM_ENTITIES
from omnisearch.data.workspace.errors import InputError
from omnisearch.engine.attributes import Attributes
from omnisearch.engine.filter_syntax import MOST_FILTERS, Condition, condition_of
from omnisearch.engine.query_language import checked_language
from omnisearch.indexer.parts.layout import whole
from omnisearch.indexer.parts.table import ItemTable

STOCK = ("hide", "sink", "show")


@dataclass(frozen=True)
class Filters:
    """Conditions that an item must all meet; None means no condition.

    Attributes:
        entity: 'pin' or 'product'.
        language, country, brand: the item's own, compared without case. A language is a code such
            as en, which takes en-us too.
        price_min, price_max: inclusive, in the item's currency; items without a price (such as all
            pins) never match.
        board: a board's id; items on that board.
        ads: True for only ads, False for no ads.
        where: conditions on any attribute, such as ('colour=red|blue', 'price<30'), in the syntax
            of `engine.filter_syntax`. What they name must exist.
        out_of_stock: 'hide' leaves out what is out of stock, 'sink' puts it after all other results
            and 'show' does neither; None is the setting's.
    """

    entity: str | None = None
    language: str | None = None
    country: str | None = None
    price_min: float | None = None
    price_max: float | None = None
    brand: str | None = None
    board: str | None = None
    ads: bool | None = None
    where: tuple[str, ...] = ()
    out_of_stock: str | None = None

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
        if self.language is not None:
            checked_language(self.language, "language")
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
        if self.out_of_stock not in (None, *STOCK):
            raise InputError(
                f"Unknown treatment {self.out_of_stock!r} of what is out of stock.",
                where="filter out_of_stock",
                how=f"Use one of {', '.join(STOCK)}.",
            )
        if isinstance(self.where, str):
            object.__setattr__(self, "where", (self.where,))
        if len(self.where) > MOST_FILTERS:
            raise InputError(f"There are more than {MOST_FILTERS} filters.", where="filter")
        object.__setattr__(self, "where", tuple(self.where))
        _ = self.conditions

    @property
    def conditions(self) -> list[Condition]:
        """Those of `where`."""
        return [condition_of(text) for text in self.where]

    def without(self, name: str, attributes: Attributes) -> Filters:
        """The same filters without those on an attribute, whose name is its own."""
        conditions = zip(self.where, self.conditions, strict=True)
        where = tuple(text for text, c in conditions if attributes.named(c.name).name != name)
        fields = {"price": ("price_min", "price_max")}.get(name, (name,))
        own = dict.fromkeys(set(fields) & _OF_ATTRIBUTES)
        return replace(self, where=where, **own)  # type: ignore[arg-type]

    def entities(self) -> tuple[str, ...]:
        """The entity types that can match."""
        if self.entity is not None:
            return (self.entity,)
        return ITEM_ENTITIES


NO_FILTERS = Filters()
OUT_OF_STOCK = Filters(where=("availability=out_of_stock",))
_OF_ATTRIBUTES = {"language", "country", "brand", "price_min", "price_max"}


def allowed_rows(
    filters: Filters, entity: str, table: ItemTable, attributes: Attributes
) -> np.ndarray | None:
    """Bool (n,) over a table's rows: which match; None if all do.

    Raises InputError if a filter names what no item has.
    """
    masks = [attributes.mask(each, entity, len(table)) for each in filters.conditions]
    if entity not in filters.entities():
        return np.zeros(len(table), dtype=bool)
    if filters.language is not None:
        masks.append(table.language.mask_within(filters.language))
    if filters.country is not None:
        masks.append(table.country.mask(filters.country))
    if filters.brand is not None:
        masks.append(table.brand.mask(filters.brand))
    # Comparisons with NaN (an unknown price) are false.
    if filters.price_min is not None:
        masks.append(whole(table.price) >= filters.price_min)
    if filters.price_max is not None:
        masks.append(whole(table.price) <= filters.price_max)
    if filters.board is not None:
        masks.append(table.boards.mask(filters.board))
    if filters.ads is not None:
        masks.append(whole(table.is_ad) == filters.ads)
    if filters.out_of_stock == "hide" and attributes.out_of_stock:
        masks += [~attributes.mask(each, entity, len(table)) for each in OUT_OF_STOCK.conditions]
    if not masks:
        return None
    return np.logical_and.reduce(masks)
