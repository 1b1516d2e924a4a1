"""Filters as conditions that a cluster tests itself (`engine.filters.allowed_rows` for files)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from omnisearch.data.text.keys import key_of
from omnisearch.data.text.normalise import normalise
from omnisearch.data.workspace.memory import remembering
from omnisearch.engine.attribute import Attribute
from omnisearch.engine.attributes import Attributes
from omnisearch.engine.filter_syntax import Condition
from omnisearch.engine.filters import OUT_OF_STOCK, Filters
from omnisearch.indexer.cluster.names import (
    BOARDS,
    BRAND,
    COUNTRY,
    IS_AD,
    LANGUAGE,
    PRICE,
    code_fields,
    number_fields,
    signed,
)
from omnisearch.indexer.parts.attributes import Column

if TYPE_CHECKING:
    from qdrant_client import grpc


class Conditions:
    """The conditions of filters on the points of one entity type. Safe for several threads."""

    def __init__(self, attributes: Attributes, columns: Mapping[str, Column]) -> None:
        """`columns`: the attributes of the build's segment, whose codes the points have."""
        self._attributes, self._columns = attributes, columns
        self._codes, self._numbers = code_fields(columns), number_fields(columns)
        self._places = remembering(self._placed, 256)

    def of(self, filters: Filters) -> grpc.Filter:
        """Which points meet the filters, whatever their entity type is to be.

        Raises InputError if a filter names what no item has.
        """
        from qdrant_client import grpc

        must = [self._met(each) for each in filters.conditions]
        must_not = []
        if filters.language is not None:
            must.append(_keyword(LANGUAGE, normalise(filters.language)))
        if filters.country is not None:
            must.append(_keyword(COUNTRY, normalise(filters.country)))
        if filters.brand is not None:
            must.append(_keyword(BRAND, normalise(filters.brand)))
        # As tables do, with 32 bits.
        if filters.price_min is not None:
            must.append(_range(PRICE, gte=float(np.float32(filters.price_min))))
        if filters.price_max is not None:
            must.append(_range(PRICE, lte=float(np.float32(filters.price_max))))
        if filters.board is not None:
            must.append(_integers(BOARDS, [signed(key_of(filters.board))]))
        if filters.ads is not None:
            match = grpc.Match(boolean=filters.ads)
            must.append(_field(IS_AD, match=match))
        if filters.out_of_stock == "hide" and self._attributes.out_of_stock:
            must_not = [self._met(each) for each in OUT_OF_STOCK.conditions]
        return grpc.Filter(must=must, must_not=must_not)

    def _met(self, condition: Condition) -> grpc.Condition:
        attribute = self._attributes.named(condition.name)
        name = attribute.name
        if attribute.kind == "number":
            ranges = attribute.ranges(condition)
            field = self._numbers.get(name, "none")
            either = [_range(field, **each) for each in ranges]
            return _any([*either, *self._read_since(attribute, condition)])
        codes: list[int] = []
        if name in self._columns:
            places = self._places(name)
            meets = np.append(attribute.meeting(condition), False)  # the last is for -1
            codes = np.flatnonzero(meets[places]).tolist()
        return _integers(self._codes.get(name, "none"), codes) if codes else _any([])

    def _read_since(self, attribute: Attribute, condition: Condition) -> list[grpc.Condition]:
        """What meets it of the values with a decimal comma that the build did not read as numbers,
        since other texts were among them then."""
        column = self._columns.get(attribute.name)
        if column is None:
            return []
        left = np.flatnonzero(np.isnan(column.numbers) & np.isin(column.commas, attribute.numbers))
        codes = left[attribute.compared(condition, column.commas[left])].tolist()
        return [_integers(self._codes[attribute.name], codes)] if codes else []

    def _placed(self, name: str) -> np.ndarray:
        """int64 (v,): the place of each value of the column among the attribute's, -1 for none."""
        attribute: Attribute = self._attributes.named(name)
        texts = (attribute.folded(text) for text in self._columns[name].folded)
        return np.array([attribute.place.get(text, -1) for text in texts], np.int64)


def _field(key: str, **said: Any) -> grpc.Condition:
    from qdrant_client import grpc

    return grpc.Condition(field=grpc.FieldCondition(key=key, **said))


def _keyword(key: str, text: str) -> grpc.Condition:
    from qdrant_client import grpc

    return _field(key, match=grpc.Match(keyword=text))


def _integers(key: str, values: list[int]) -> grpc.Condition:
    from qdrant_client import grpc

    return _field(key, match=grpc.Match(integers=grpc.RepeatedIntegers(integers=values)))


def _range(key: str, **bounds: float) -> grpc.Condition:
    from qdrant_client import grpc

    return _field(key, range=grpc.Range(**bounds))


def _any(conditions: list[grpc.Condition]) -> grpc.Condition:
    """What meets one of the conditions; nothing if there are none."""
    from qdrant_client import grpc

    if not conditions:
        return grpc.Condition(has_id=grpc.HasIdCondition(has_id=[]))
    return grpc.Condition(filter=grpc.Filter(should=conditions))
