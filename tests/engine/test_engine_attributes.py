"""Filters and facets over attributes, against plain loops over dicts."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from omnisearch.data.importers.attributes import attribute_name
from omnisearch.data.workspace.errors import InputError
from omnisearch.engine.attributes import Attributes
from omnisearch.engine.facets import facets_of
from omnisearch.engine.filter_syntax import Condition, condition_of
from omnisearch.engine.filters import Filters, allowed_rows
from omnisearch.engine.index import Items
from omnisearch.indexer.parts.attributes import (
    AttributesOf,
    StackedAttributes,
    open_attributes,
)
from omnisearch.indexer.parts.layout import layout_of

PATHS = ("Shoes > Running", "Shoes > Running > Trail", "Shoes > Hiking", "Bags", "Shoes")
ITEM = st.fixed_dictionaries(
    {"entity": st.sampled_from(("pin", "product"))},
    optional={
        "colour": st.lists(
            st.sampled_from(("red", "Red", "blue", "dark green")), min_size=1, unique=True
        ),
        "weight": st.sampled_from((0.5, 1, 2, 30)) | st.integers(0, 40),
        "vegan": st.sampled_from((True, False, "yes", "no")),
        "category": st.sampled_from(PATHS),
        "availability": st.sampled_from(("in_stock", "out_of_stock")),
    },
)
FILTER = st.sampled_from(
    (
        *("colour=RED", "colour=blue|dark green", "weight<2", "weight>=1", "weight=1|30"),
        *("weight=1..30", "weight=..2|30..", "vegan", "vegan=no", "in_stock"),
        *("category=Shoes", "category=shoes>running", "category=Bags|Shoes > Hiking"),
    )
)
KINDS = {"colour": "list", "weight": "number", "vegan": "flag", "category": "path"}
# Some of each, so that every value that is asked for exists.
ALL = [
    *({"entity": "pin", "colour": [c], "weight": 1} for c in ("red", "blue", "dark green")),
    {"entity": "pin", "colour": ["red", "blue"]},
    *({"entity": "product", "category": path} for path in PATHS),
    *({"entity": "product", "vegan": flag, "weight": 30} for flag in (True, False)),
    *({"entity": "pin", "availability": a} for a in ("in_stock", "out_of_stock")),
]


def segment(items: list[dict[str, Any]]) -> dict[str, Any]:
    """The columns of items, stored and opened."""
    written = AttributesOf()
    for row, item in enumerate(items):
        own = {
            name: value for name, value in item.items() if name not in ("entity", "availability")
        }
        written.add(row, {"attributes": own, "availability": item.get("availability")})
    with tempfile.TemporaryDirectory() as folder:
        written.write(Path(folder))
        return open_attributes(Path(folder), len(items))


def tables_of(items: list[dict[str, Any]], cut: int, dead: int) -> tuple[Any, dict[str, list]]:
    """Tables of two segments, one of them with items that no longer count; and the items by row."""
    tables, rows = {}, {}
    for entity in ("pin", "product"):
        own = [item for item in items if item["entity"] == entity]
        parts = [own[:cut], own[cut:]]
        ids = [
            [f"{at:03}" for at, _ in enumerate(own)][part]
            for part in (slice(cut), slice(cut, None))
        ]
        gone = [np.arange(min(dead, len(parts[0]))), np.zeros(0, np.int64)]
        layout = layout_of(ids, gone)
        attributes = StackedAttributes([segment(part) for part in parts], layout)
        rows[entity] = own[min(dead, len(parts[0])) :]
        assert len(layout) == len(rows[entity])
        tables[entity] = Table(attributes, len(layout))
    return tables, rows


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(ITEM, min_size=1, max_size=8),
    st.lists(st.tuples(st.sets(st.integers(0, 7)), st.lists(ITEM, max_size=3)), max_size=4),
)
def test_what_a_build_keeps_for_its_updates_never_tells(
    build: list[dict[str, Any]], updates: list[tuple[set[int], list[dict[str, Any]]]]
) -> None:
    """Each update over one open build, in turn, as over a build that is opened for it alone."""
    first = segment(build)
    for replaced, items in [*updates, *updates[:1]]:
        gone = np.array(sorted(at for at in replaced if at < len(build)), np.int64)
        ids = [[f"a{at}" for at in range(len(build))], [f"b{at}" for at in range(len(items))]]
        layout = layout_of(ids, [gone, np.zeros(0, np.int64)])
        kept, alone = (
            Attributes({"product": Table(StackedAttributes([base, segment(items)], layout), 0)})
            for base in (first, segment(build))
        )
        assert kept.names == alone.names and kept.usual == alone.usual
        for name in kept.names:
            one, other = kept.named(name), alone.named(name)
            assert (one.kind, one.values, one.place) == (other.kind, other.values, other.place)
            np.testing.assert_array_equal(one.entries["product"], other.entries["product"])
            assert [one.count(text) for text in (*PATHS, "RED", "yes")] == [
                other.count(text) for text in (*PATHS, "RED", "yes")
            ]


class Table(SimpleNamespace):
    def __init__(self, attributes: Any, size: int) -> None:
        super().__init__(attributes=attributes, size=size)

    def __len__(self) -> int:
        return self.size


def values_of(item: dict[str, Any], name: str) -> list[Any]:
    value = item.get(name)
    if value is None:
        return []
    found = value if isinstance(value, list) else [value]
    if name == "vegan":
        return [each in (True, "yes") for each in found]
    return sorted({each.casefold() if isinstance(each, str) else each for each in found})


def meets(item: dict[str, Any], text: str) -> bool:
    """Whether an item meets one of FILTER, said in other words."""
    name = condition_of(text).name
    own = values_of(item, name)
    loops: dict[str, Any] = {
        "colour=RED": lambda v: v == "red",
        "colour=blue|dark green": lambda v: v in ("blue", "dark green"),
        "weight<2": lambda v: v < 2,
        "weight>=1": lambda v: v >= 1,
        "weight=1|30": lambda v: v in (1, 30),
        "weight=1..30": lambda v: 1 <= v < 30,
        "weight=..2|30..": lambda v: v < 2 or v >= 30,
        "vegan": lambda v: v,
        "vegan=no": lambda v: not v,
        "in_stock": lambda v: v == "in_stock",
        "category=Shoes": lambda v: v == "shoes" or v.startswith("shoes > "),
        "category=shoes>running": lambda v: v.startswith("shoes > running"),
        "category=Bags|Shoes > Hiking": lambda v: v in ("bags", "shoes > hiking"),
    }
    return any(loops[text](value) for value in own)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(ITEM, max_size=30),
    st.lists(FILTER, max_size=3, unique=True),
    st.integers(0, 12),
    st.integers(0, 3),
    st.integers(0, 99),
)
def test_filters_and_facets_equal_plain_loops(
    extra: list[dict[str, Any]], chosen: list[str], cut: int, dead: int, seed: int
) -> None:
    items = [*ALL, *ALL, *extra]
    dead = min(dead, 2)
    tables, rows = tables_of(items, max(cut, 2), dead)
    attributes = Attributes(tables)
    assert {name: attributes.named(name).kind for name in KINDS} == KINDS
    filters = Filters(where=tuple(chosen))
    matching = {
        entity: np.random.default_rng(seed).random(len(own)) < 0.7 for entity, own in rows.items()
    }
    for entity, own in rows.items():
        mask = allowed_rows(filters, entity, tables[entity], attributes)
        found = np.ones(len(own), bool) if mask is None else mask
        assert found.tolist() == [all(meets(item, text) for text in chosen) for item in own]
    index = SimpleNamespace(
        attributes=attributes,
        allowed=lambda filters, entity: allowed_rows(filters, entity, tables[entity], attributes),
    )
    nothing = Items(np.zeros(0, np.uint8), np.zeros(0, np.int64))
    having = {entity: np.flatnonzero(mask) for entity, mask in matching.items()}
    facets = facets_of(index, having, nothing, list(KINDS), filters, lambda others: nothing)
    for facet in facets:
        others = [text for text in chosen if condition_of(text).name != facet.name]
        counted = [
            item
            for entity, own in rows.items()
            for item, matches in zip(own, matching[entity].tolist(), strict=True)
            if matches and all(meets(item, text) for text in others)
        ]
        told = {each.value.casefold(): each.count for each in facet.values if each.count}
        assert told == plain_counts(facet, counted)
        for each in facet.values:  # what a value says to filter by keeps as many
            kept = attributes_kept(index, tables, matching, [*others, each.filter])
            assert kept == each.count


SIGNS = st.text("ab|\\\\>=<.- ＞ﬁİßé\u00ad1", max_size=6) | st.text(max_size=4)
VALUE = SIGNS | st.lists(SIGNS, max_size=3) | st.floats(-1e12, 1e12) | st.booleans()
DIGITS = st.from_regex(r"-?[1-9][0-9]{0,9}\.[0-9]{1,15}", fullmatch=True)
PATH = st.lists(
    st.sampled_from(("a", "A", "b|c", "\\\\", "d", "d ＞ e", "f")), min_size=1, max_size=3
)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(VALUE, max_size=30)
    | st.lists(DIGITS | st.lists(DIGITS, max_size=3), max_size=40)
    | st.lists(PATH.map(" > ".join) | st.lists(PATH.map(" > ".join), max_size=3), max_size=30),
    st.sampled_from(("x", "language", "Größe (cm)")),
)
def test_the_filter_of_any_value_keeps_as_many_items(values: list[Any], name: str) -> None:
    name = attribute_name(name)
    if name == "language":  # a field: an item has one
        values = [each for each in values if not isinstance(each, list)]
    items = [{"entity": ("pin", "product")[at % 2], name: v} for at, v in enumerate(values)]
    tables, _ = tables_of(items, 5, 0)
    attributes = Attributes(tables)
    if not attributes.has(name):
        return
    index = SimpleNamespace(
        attributes=attributes,
        allowed=lambda filters, entity: allowed_rows(filters, entity, tables[entity], attributes),
    )
    every = {entity: np.ones(len(table), bool) for entity, table in tables.items()}
    rows = {entity: np.flatnonzero(mask) for entity, mask in every.items()}
    nothing = Items(np.zeros(0, np.uint8), np.zeros(0, np.int64))
    where: list[str] = []
    while True:  # into a tree, down to its first leaf
        filters = Filters(where=tuple(where))
        [facet] = facets_of(index, rows, nothing, [name], filters, lambda others: nothing)
        for each in facet.values:
            assert attributes_kept(index, tables, every, [each.filter]) == each.count, each
        if facet.kind != "path" or not facet.values:
            break
        where = [facet.values[0].filter]


def attributes_kept(index: Any, tables: Any, matching: Any, where: list[str]) -> int:
    filters = Filters(where=tuple(where))
    masks = [matching[entity] & index.allowed(filters, entity) for entity in tables]
    return sum(int(mask.sum()) for mask in masks)


def plain_counts(facet: Any, items: list[dict[str, Any]]) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for item in items:
        own = values_of(item, facet.name)
        if facet.kind == "flag":
            counts.update(str(value).lower() for value in own)
        elif facet.kind == "path":
            parent = facet.parent.casefold()
            below = {node_below(value, parent) for value in own} - {None}
            counts.update(below)
        elif facet.kind == "number" and any(".." in each.value for each in facet.values):
            counts.update({range_of(value, facet) for value in own})
        else:
            counts.update(f"{v:.15g}" if facet.kind == "number" else v for v in own)
    return dict(counts)


def node_below(path: str, parent: str) -> str | None:
    parts, inside = path.split(" > "), parent.split(" > ") if parent else []
    if parts[: len(inside)] != inside or len(parts) == len(inside):
        return None
    return " > ".join(parts[: len(inside) + 1])


def range_of(value: float, facet: Any) -> str:
    for each in facet.values:
        low, high = each.value.split("..")
        if float(low or "-inf") <= value < float(high or "inf"):
            return each.value
    raise AssertionError((value, facet))


def attributes_of(*items: dict[str, Any], kinds: Any = None) -> Attributes:
    return Attributes({"product": Table(segment(list(items)), len(items))}, kinds)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (("1", "2.5", "-3"), "number"),
        (("007", "1"), "text"),
        (("Yes", "no"), "flag"),
        (("true",), "flag"),
        (("A > B", "C"), "path"),
        (("a", "b"), "text"),
        ((["a", "b"], "c"), "list"),
    ],
)
def test_the_kind_is_what_the_values_are(values: tuple, kind: str) -> None:
    found = attributes_of(*({"entity": "product", "x": value} for value in values))
    assert found.named("x").kind == kind


def test_the_settings_overrule_it() -> None:
    items = [{"entity": "product", "size": value} for value in ("36", "37", "one size")]
    by_number = attributes_of(*items, kinds={"size": "number"}).named("size")
    assert by_number.mask(condition_of("size>36"), "product", 3).tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("colr=red", "Did you mean colour?"),
        ("shape=round", "There are availability, category, colour, vegan, weight."),
        ("colour=rde", "Did you mean red? Its values are"),
        ("colour>3", "has no numbers"),
        ("weight=heavy", "Its values go from 1 to 30"),
        ("weight<10..20", "Its values go from 1 to 30"),
        ("category=Shoes > Swimming", "Its values are"),
        ("shiny", "There are availability"),
    ],
)
def test_what_does_not_exist_is_said_with_what_does(text: str, says: str) -> None:
    found = attributes_of(*ALL)
    condition = condition_of(text)
    with pytest.raises(InputError) as error:
        found.mask(condition, "pin", 3)
    assert says in str(error.value)


def test_usual_names_stand_for_fields() -> None:
    written = AttributesOf()
    written.add(0, {"colours": ["red"], "product_types": ["A > B"]})
    with tempfile.TemporaryDirectory() as folder:
        written.write(Path(folder))
        found = Attributes({"product": Table(open_attributes(Path(folder), 1), 1)})
    for text in ("colour=red", "color=RED", "category=A", "Product Types=A>B"):
        assert found.mask(condition_of(text), "product", 1).tolist() == [True]


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("colour=red|blue|red", Condition("colour", "=", ("red", "blue"))),
        (" price <= 30 ", Condition("price", "<=", ("30",))),
        ("Heel Height (cm)>4", Condition("heel_height_cm", ">", ("4",))),
        ("category=Shoes > Running", Condition("category", "=", ("Shoes > Running",))),
        ("in_stock", Condition("availability", "=", ("in_stock",))),
        ("vegan", Condition("vegan", "=", ("true",))),
        ("note=a=b", Condition("note", "=", ("a=b",))),
    ],
)
def test_the_syntax(text: str, read: Condition) -> None:
    assert condition_of(text) == read


@pytest.mark.parametrize("text", ["", "=", "=red", "colour=", "colour=|", "price<1|2", "x" * 3000])
def test_what_is_no_filter_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="filter"):
        Filters(where=(text,))


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        found = condition_of(text)
    except InputError:
        return
    assert found.name and found.values
