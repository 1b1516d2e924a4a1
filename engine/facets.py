"""Facets: how many of the items that match a query have each value of an attribute.

An item matches if it has all words that the query looks for, in any of their forms, and meets the
filters (`engine.matching`). If none does, what the sources of the search returned is counted. A
facet does not narrow itself: it counts for a search without the filters on its own attribute, so
that a value's count is the `matching` of the search in which its filter takes their place.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from omnisearch.data.catalogue.schema import ITEM_ENTITIES
from omnisearch.data.workspace.errors import InputError
from omnisearch.engine.attribute import STEP, Attribute
from omnisearch.engine.filter_syntax import filter_by
from omnisearch.engine.filters import Filters
from omnisearch.engine.index import Index, Items
from omnisearch.engine.matching import Rows, meeting, size

AUTO = "auto"
MOST_FACETS = 20
MOST_VALUES = 20
_RANGES = 5
_FEW = 12  # a number of so many distinct values is counted by value


@dataclass(frozen=True)
class FacetValue:
    """A value, or a range of numbers.

    Attributes:
        value: as shown. count: how many matching items have it.
        filter: what to filter by to keep these; chosen: whether the search is filtered so.
    """

    value: str
    count: int
    filter: str
    chosen: bool = False


@dataclass(frozen=True)
class Facet:
    """The values of one attribute.

    Attributes:
        kind: 'text', 'list', 'flag', 'number' or 'path'.
        values: most frequent first; numbers ascend; of a path the nodes below `parent`.
        more: how many further values there are.
        least, most: of a number.
        parent: of a path, the node that the search is filtered by, or "".
    """

    name: str
    kind: str
    values: list[FacetValue]
    more: int = 0
    least: float | None = None
    most: float | None = None
    parent: str = ""


def facet_names(index: Index, names: Sequence[str]) -> list[str]:
    """The attributes to count; AUTO stands for the usual ones.

    Raises InputError unless all are names of attributes.
    """
    usual = index.attributes.usual if AUTO in names else []
    names = [*usual, *(name for name in names if name != AUTO)]
    if len(names) > MOST_FACETS:
        raise InputError(f"There are more than {MOST_FACETS} facets.", where="facets")
    for name in names:
        index.attributes.named(name, "facets")
    return names


def facets_of(
    index: Index,
    having: Rows,
    found: Items,
    names: Sequence[str],
    filters: Filters,
    again: Callable[[Filters], Items],
) -> list[Facet]:
    """The facets of a search.

    Args:
        having: the items that have all words of the query.
        found: what the sources returned.
        again: what they return with other filters, for facets of attributes that are filtered.
    """
    own = meeting(index, having, filters)
    every = own if size(own) else _rows_of(found)
    facets = []
    for name in dict.fromkeys(names):
        attribute = index.attributes.named(name, "facets")
        others = filters.without(attribute.name, index.attributes)
        counted = every
        if others != filters:
            counted = meeting(index, having, others)
            counted = counted if size(counted) else _rows_of(again(others))
        chosen = [
            value
            for each in filters.conditions
            if each.op == "=" and index.attributes.named(each.name) is attribute
            for value in each.values
        ]
        facets.append(_COUNT[attribute.kind](attribute, counted, chosen))
    return facets


def _rows_of(items: Items) -> Rows:
    return {entity: items.row[items.part(entity)] for entity in ITEM_ENTITIES}


def _of_values(attribute: Attribute, counted: Rows, chosen: Sequence[str]) -> Facet:
    counts = np.zeros(len(attribute.values), np.int64)
    for entity, rows in counted.items():
        counts += attribute.tally(entity).counts(rows)
    if attribute.name == "language":  # a language is that of its regions too
        inside = [attribute.places_of(value) for value in attribute.values]
        counts = np.array([counts[places].sum() for places in inside], np.int64)
    picked = {attribute.place.get(attribute.folded(value), -1) for value in chosen}
    some = np.flatnonzero(counts)
    order = some[np.argsort(-counts[some], kind="stable")]
    shown = order[:MOST_VALUES].tolist()
    shown += sorted(place for place in picked if place >= 0 and place not in shown)
    values = [
        FacetValue(
            attribute.values[place],
            int(counts[place]),
            filter_by(attribute.name, attribute.values[place]),
            place in picked,
        )
        for place in shown
    ]
    return Facet(attribute.name, attribute.kind, values, max(0, len(order) - len(shown)))


def _of_path(attribute: Attribute, counted: Rows, chosen: Sequence[str]) -> Facet:
    parent = attribute.folded(chosen[0]) if len(chosen) == 1 else ""
    depth, shown_parent = (len(parent.split(STEP)) if parent else 0), ""
    names, node_of = attribute.nodes(depth)
    if parent:
        inside = attribute.places_of(parent)
        above, lies_in = attribute.nodes(depth - 1)
        shown_parent = above[lies_in[inside[0]]]
        below = np.full(len(node_of), -1)
        below[inside] = node_of[inside]
        node_of = below
    counts = np.zeros(len(names), np.int64)
    for entity, rows in counted.items():
        counts += attribute.tally(entity).grouped(rows, node_of, len(names))
    order = sorted(np.flatnonzero(counts).tolist(), key=lambda at: (-counts[at], names[at]))
    values = [
        FacetValue(names[at], int(counts[at]), filter_by(attribute.name, names[at]))
        for at in order[:MOST_VALUES]
    ]
    more = len(order) - len(values)
    return Facet(attribute.name, "path", values, more, parent=shown_parent)


def _of_number(attribute: Attribute, counted: Rows, chosen: Sequence[str]) -> Facet:
    each = np.zeros(len(attribute.numbers), np.int64)
    for entity, rows in counted.items():
        each += attribute.tally(entity).counts(rows)
    some = np.flatnonzero(each)
    if not len(some):
        return Facet(attribute.name, "number", [])
    distinct = attribute.numbers[some]
    if len(distinct) <= _FEW:
        bounds, texts = distinct, [_digits(number) for number in distinct.tolist()]
    else:
        inner = _bounds(distinct, each[some])
        ends = ["", *map(_digits, inner), ""]
        texts = [f"{low}..{high}" for low, high in pairwise(ends)]
        bounds = np.array([-np.inf, *inner])
    range_of = np.searchsorted(bounds, attribute.numbers, "right") - 1
    counts = np.zeros(len(texts), np.int64)
    for entity, rows in counted.items():
        counts += attribute.tally(entity).grouped(rows, range_of, len(texts))
    values = [
        FacetValue(text, count, filter_by(attribute.name, text), text in chosen)
        for text, count in zip(texts, counts.tolist(), strict=True)
        if count or text in chosen
    ]
    least, most = float(distinct[0]), float(distinct[-1])
    return Facet(attribute.name, "number", values, 0, least, most)


def _digits(number: float) -> str:
    """The fewest digits that are read as this number again."""
    short = f"{number:.15g}"
    return short if float(short) == number else repr(number)


def _bounds(numbers: np.ndarray, counts: np.ndarray) -> list[float]:
    """Round numbers that part the given ones into about equally large ranges.

    Args:
        numbers: (d,), ascending; counts: int64 (d,), how often there is each.
    """
    least, most = float(numbers[0]), float(numbers[-1])
    low, *shares, high = _quantiles(numbers, counts, [0.1, *np.arange(1, _RANGES) / _RANGES, 0.9])
    spread = high - low or most - least
    unit = 10.0 ** math.floor(math.log10(spread / _RANGES))
    step = max(u for u in (unit, 2 * unit, 5 * unit) if u <= spread / _RANGES or u == unit)
    rounded = {round(round(share / step) * step, 10) for share in shares}
    inner = sorted(bound for bound in rounded if least < bound <= most)
    return inner or _quantiles(numbers, counts, [0.5])


def _quantiles(numbers: np.ndarray, counts: np.ndarray, shares: Sequence[float]) -> list[float]:
    """As `np.quantile`, of each number as often as it is there."""
    ends = np.cumsum(counts)
    at = np.array(shares) * (ends[-1] - 1)
    low, high = (numbers[np.searchsorted(ends, place, "right")] for place in (at // 1, -(-at // 1)))
    found: list[float] = (low + (high - low) * (at % 1)).tolist()
    return found


_COUNT: dict[str, Callable[[Attribute, Rows, Sequence[str]], Facet]] = {
    **dict.fromkeys(("text", "list", "flag"), _of_values),
    "path": _of_path,
    "number": _of_number,
}
