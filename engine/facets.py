"""Facets: how many of the items that match a query have each value of an attribute.

An item matches if it has all words that the query looks for, in any of their forms, or if a source
of the search returned it; and it meets the filters. A facet does not narrow itself: filters on its
own attribute do not count for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from omnisearch.data.catalogue.schema import ITEM_ENTITIES
from omnisearch.data.workspace.errors import InputError
from omnisearch.engine.attributes import STEP, Attribute
from omnisearch.engine.filters import Filters
from omnisearch.engine.index import Index, Items
from omnisearch.engine.query import Query

AUTO = "auto"
MOST_FACETS = 20
MOST_VALUES = 20
_RANGES = 5
_FEW = 12  # a number of so many distinct values is counted by value

Masks = dict[str, np.ndarray]  # entity type → bool (rows,)


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
    query: Query,
    found: Items,
    names: Sequence[str],
    filters: Filters,
    again: Callable[[Filters], Items],
    hidden: Mapping[str, np.ndarray | None],
) -> list[Facet]:
    """The facets of a search.

    Args:
        found: what its sources returned.
        again: what they return with other filters, for facets of attributes that are filtered.
        hidden: entity type → bool (rows,), what rules hide; None for nothing.
    """
    having = {entity: index.having(query, entity) for entity in ITEM_ENTITIES}
    for entity, unseen in hidden.items():
        if unseen is not None:
            having[entity] &= ~unseen
    every = _matching(index, having, found, filters)
    facets = []
    for name in dict.fromkeys(names):
        attribute = index.attributes.named(name, "facets")
        others = filters.without(attribute.name, index.attributes)
        masks = every
        if others != filters:
            masks = _matching(index, having, again(others), others)
        chosen = [
            value
            for each in filters.conditions
            if each.op == "=" and index.attributes.named(each.name) is attribute
            for value in each.values
        ]
        facets.append(_COUNT[attribute.kind](attribute, masks, chosen))
    return facets


def _matching(index: Index, having: Masks, found: Items, filters: Filters) -> Masks:
    masks = {}
    for code, entity in enumerate(ITEM_ENTITIES):
        allowed = index.allowed(filters, entity)
        mask = having[entity].copy() if allowed is None else having[entity] & allowed
        mask[found.row[found.entity == code]] = True
        masks[entity] = mask
    return masks


def _of_values(attribute: Attribute, masks: Masks, chosen: Sequence[str]) -> Facet:
    counts = np.zeros(len(attribute.values), np.int64)
    for entity, (rows, codes) in attribute.entries.items():
        counts += np.bincount(codes[masks[entity][rows]], minlength=len(counts))
    picked = {attribute.place.get(attribute.folded(value), -1) for value in chosen}
    order = np.argsort(-counts, kind="stable")
    order = order[counts[order] > 0]
    shown = order[:MOST_VALUES].tolist()
    shown += sorted(place for place in picked if place >= 0 and place not in shown)
    values = [
        FacetValue(
            attribute.values[place],
            int(counts[place]),
            f"{attribute.name}={attribute.values[place]}",
            place in picked,
        )
        for place in shown
    ]
    return Facet(attribute.name, attribute.kind, values, max(0, len(order) - len(shown)))


def _of_path(attribute: Attribute, masks: Masks, chosen: Sequence[str]) -> Facet:
    parent = attribute.folded(chosen[0]) if len(chosen) == 1 else ""
    depth = len(parent.split(STEP)) if parent else 0
    # Value → the node below the parent that it lies in, -1 for none.
    nodes: dict[str, int] = {}
    names: list[str] = []
    node_of = np.full(len(attribute.values), -1, np.int64)
    shown_parent = ""
    for text, place in attribute.place.items():
        if parent and text != parent and not text.startswith(parent + STEP):
            continue
        parts = attribute.values[place].split(STEP)
        shown_parent = STEP.join(parts[:depth])
        if len(parts) > depth:
            key = STEP.join(text.split(STEP)[: depth + 1])
            node_of[place] = nodes.setdefault(key, len(nodes))
            if len(names) < len(nodes):
                names.append(STEP.join(parts[: depth + 1]))
    counts = np.zeros(len(nodes), np.int64)
    for entity, (rows, codes) in attribute.entries.items():
        node, kept = node_of[codes], masks[entity][rows]
        kept &= node >= 0
        # An item may be in several places below a node.
        pairs = np.unique(np.stack((rows[kept], node[kept])), axis=1)
        counts += np.bincount(pairs[1], minlength=len(nodes))
    order = sorted(np.flatnonzero(counts).tolist(), key=lambda at: (-counts[at], names[at]))
    values = [
        FacetValue(names[at], int(counts[at]), f"{attribute.name}={names[at]}")
        for at in order[:MOST_VALUES]
    ]
    more = len(order) - len(values)
    return Facet(attribute.name, "path", values, more, parent=shown_parent)


def _of_number(attribute: Attribute, masks: Masks, chosen: Sequence[str]) -> Facet:
    numbers, items, shift = [np.zeros(0)], [np.zeros(0, np.int64)], 0
    for entity, (rows, given) in attribute.entries.items():
        kept = masks[entity][rows]
        numbers.append(given[kept])
        items.append(rows[kept] + shift)
        shift += len(masks[entity])
    every, item = np.concatenate(numbers), np.concatenate(items)
    if not len(every):
        return Facet(attribute.name, "number", [])
    distinct = np.unique(every)
    if len(distinct) <= _FEW:
        bounds, texts = distinct, [f"{number:.15g}" for number in distinct.tolist()]
    else:
        inner = _bounds(every)
        ends = ["", *(f"{bound:.15g}" for bound in inner), ""]
        texts = [f"{low}..{high}" for low, high in pairwise(ends)]
        bounds = np.array([-np.inf, *inner])
    place = np.searchsorted(bounds, every, "right") - 1
    pairs = np.unique(np.stack((item, place)), axis=1)
    counts = np.bincount(pairs[1], minlength=len(texts)).tolist()
    values = [
        FacetValue(text, count, f"{attribute.name}={text}", text in chosen)
        for text, count in zip(texts, counts, strict=True)
        if count or text in chosen
    ]
    least, most = float(distinct[0]), float(distinct[-1])
    return Facet(attribute.name, "number", values, 0, least, most)


def _bounds(numbers: np.ndarray) -> list[float]:
    """Round numbers that part the given ones into about equally large ranges."""
    shares = np.quantile(numbers, np.arange(1, _RANGES) / _RANGES)
    least, most = float(numbers.min()), float(numbers.max())
    spread = float(np.quantile(numbers, 0.9) - np.quantile(numbers, 0.1)) or most - least
    unit = 10.0 ** math.floor(math.log10(spread / _RANGES))
    step = max(u for u in (unit, 2 * unit, 5 * unit) if u <= spread / _RANGES or u == unit)
    rounded = {round(round(share / step) * step, 10) for share in shares.tolist()}
    inner = sorted(bound for bound in rounded if least < bound <= most)
    return inner or [float(np.median(numbers))]


_COUNT: dict[str, Callable[[Attribute, Masks, Sequence[str]], Facet]] = {
    **dict.fromkeys(("text", "list", "flag"), _of_values),
    "path": _of_path,
    "number": _of_number,
}
