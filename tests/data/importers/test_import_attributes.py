"""Availability and attributes: what files say of items beyond their fields."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from importing import jsonl, refusals, table, taken

from omnisearch.data.catalogue.verify import check_catalogue
from omnisearch.data.importers import attributes
from omnisearch.data.importers.attributes import attribute_name, read_attributes
from omnisearch.data.importers.files import ImportOptions, import_file
from omnisearch.data.importers.formats import format_named
from omnisearch.data.workspace.errors import InputError

KNOWN = frozenset({"id", "title", "attributes", "availability"})


def attributes_of(workspace, kind="products"):
    return {
        key: json.loads(text) if text else None
        for key, text, _ in table(workspace, kind, "id, attributes, title")
    }


def test_unknown_columns_of_a_csv_become_attributes(workspace, tmp_path):
    path = tmp_path / "products.csv"
    path.write_text(
        "id,title,Heel Height (cm),heelType,Season\ns1,Boot,4.5,block|wedge,\ns2,Shoe,,,Summer\n"
    )
    report = taken(workspace, path)
    assert report.attributes == ("heel_height_cm", "heel_type", "season")
    assert (report.ignored, report.left_out) == ((), 0)
    assert attributes_of(workspace) == {
        "s1": {"heel_height_cm": "4.5", "heel_type": ["block", "wedge"]},
        "s2": {"season": "Summer"},
    }
    assert check_catalogue(workspace.catalogue) == []


def test_map_and_set_name_attributes_of_a_plain_file(workspace, tmp_path):
    path = tmp_path / "products.csv"
    path.write_text("id,Warengruppe,Category,Title\ns1,Bath,old,Sink\n")
    options = {
        "mapping": {"attributes.category": "warengruppe"},
        "constants": {"attributes.Season": "Summer"},
    }
    report = taken(workspace, path, **options)
    assert (report.attributes, report.left_out) == (("category", "season"), 0)
    assert attributes_of(workspace) == {"s1": {"category": "Bath", "season": "Summer"}}


def test_a_constant_attribute_is_given_to_the_products_of_a_feed(workspace, tmp_path):
    path = tmp_path / "feed.csv"
    path.write_text("Handle,Title,Variant Price,Status\nsink,Sink,5,active\n")
    options = ImportOptions(constants={"attributes.shop": "north"})
    format_named("shopify").read(workspace, path, None, options)
    assert attributes_of(workspace)["sink"]["shop"] == "north"


@pytest.mark.parametrize(
    ("kind", "name", "told"),
    [
        ("products", "category", "no field 'category'.* write --map attributes.category=Group"),
        ("products", "attributes.price", "the field 'price' of products.* Write price alone"),
        ("products", "attributes.", "Write a name after attributes."),
        ("queries", "attributes.category", "no field 'attributes.category'.* fields are text"),
    ],
)
def test_a_name_of_no_attribute_is_refused(workspace, tmp_path, kind, name, told):
    path = tmp_path / "x.csv"
    path.write_text("id,text,Group\n1,sink,Bath\n")
    with pytest.raises(InputError, match=told):
        import_file(workspace, path, kind, ImportOptions({name: "Group"}))


def test_a_pair_of_map_the_wrong_way_round_is_told(workspace, tmp_path):
    path = tmp_path / "products.csv"
    path.write_text("Bezeichnung\nsink\n")
    with pytest.raises(InputError, match="Did you mean --map title=Bezeichnung"):
        import_file(workspace, path, "products", ImportOptions({"Bezeichnung": "title"}))


@pytest.mark.parametrize(
    ("mapping", "constants", "told"),
    [
        ({"brand": "Group", "attributes.category": "Group"}, {}, "'Group' is given to both brand"),
        ({"attributes.Room": "Group", "attributes.room": "Text"}, {}, "is given twice"),
        ({"attributes.Room": "Group"}, {"attributes.room": "L"}, "'attributes.room' is given"),
    ],
)
def test_of_two_pairs_of_map_none_is_silently_left_out(
    workspace, tmp_path, mapping, constants, told
):
    path = tmp_path / "products.csv"
    path.write_text("id,text,Group\n1,sink,Bath\n")
    with pytest.raises(InputError, match=told):
        import_file(workspace, path, "products", ImportOptions(mapping, constants=constants))


def test_an_object_of_attributes_keeps_its_kinds_of_values(workspace, tmp_path):
    values = {
        "vegan": True,
        "weight": 1.5,
        "stock": 7,
        "tags": ["a", "b", "a", ""],
        "b": "<b>x</b>",
    }
    taken(workspace, jsonl(tmp_path / "pins.jsonl", {"id": "p1", "attributes": values}))
    expected = values | {"tags": ["a", "b"], "b": "x"}
    assert attributes_of(workspace, "pins") == {"p1": expected}


def test_what_is_not_named_stays_and_a_null_removes_it(workspace, tmp_path):
    def then(row):
        report = taken(workspace, jsonl(tmp_path / "products.jsonl", {"id": "s1", **row}))
        return report.changed, attributes_of(workspace)["s1"]

    assert then({"a": "1", "b": "x", "c": None}) == (1, {"a": "1", "b": "x"})
    assert then({"a": "2"}) == (1, {"a": "2", "b": "x"})
    assert then({"a": "2"})[0] == 0
    assert then({"title": "Boot"}) == (1, {"a": "2", "b": "x"})
    assert then({"b": None}) == (1, {"a": "2"})
    assert then({"a": ""}) == (1, None)
    assert then({"a": "3"}) == (1, {"a": "3"})
    assert then({"attributes": None}) == (1, None)


@pytest.mark.parametrize(
    ("value", "read"),
    [
        *((text, "in_stock") for text in ("in stock", "In_Stock", "IN STOCK", "instock", "yes")),
        *((value, "in_stock") for value in (True, "true", 1, "http://schema.org/InStock")),
        *((value, "out_of_stock") for value in (False, "out-of-stock", "sold out", "0")),
        *((text, "in_stock") for text in ("ja", "Oui", "sí", "sim", "はい", "WAHR", "auf Lager")),
        *((text, "out_of_stock") for text in ("nein", "Non", "no", "não", "いいえ", "FALSCH")),
        ("Nicht auf Lager", "out_of_stock"),
        ("pre-order", "preorder"),
        ("backorder", "backorder"),
        ("", None),
        (None, None),
    ],
)
def test_availability_is_read_as_feeds_write_it(workspace, tmp_path, value, read):
    taken(workspace, jsonl(tmp_path / "products.jsonl", {"id": "s1", "availability": value}))
    assert table(workspace, "products", "id, availability, title") == [("s1", read, None)]


def test_an_unknown_availability_is_told(workspace, tmp_path):
    path = jsonl(tmp_path / "products.jsonl", {"id": "s1", "availability": "perhaps"})
    report = import_file(workspace, path)
    assert any("availability is no availability" in reason for reason in report.reasons)


def test_what_passes_the_bounds_is_left_out_and_named(workspace, tmp_path, monkeypatch):
    monkeypatch.setattr(attributes, "MOST", 3)
    rows = [
        {"id": "s1", "a": "x", "b": "y" * 501, "c": {"d": 1}, "e": ["z"] * 101},
        {
            "id": "s2",
            "f": "1",
            "g": "2",
            "h": "3",
            "title": "u",
            "Title": "t",
            "??": 1,
            "attributes": [1],
        },
        {"id": "s3", "f": "1", "h": "3", "title": "u", "Title": "t", "??": 1},
    ]
    report = import_file(workspace, jsonl(tmp_path / "products.jsonl", *rows))
    assert (report.taken, report.refused) == (3, 0)
    told = [json.loads(line) for line in report.rejects.read_text("utf-8").splitlines()]
    named = sorted((each["line"], each["field"]) for each in told)
    assert named == [
        *((1, name) for name in "bce"),
        *((2, name) for name in ("??", "Title", "attributes", "h")),
    ]
    assert report.attributes == ("a", "f", "g")
    assert attributes_of(workspace) == {
        "s1": {"a": "x"},
        "s2": {"f": "1", "g": "2"},
        "s3": {"f": "1"},
    }
    # A name that no item has any more makes room for another.
    taken(workspace, jsonl(tmp_path / "products.jsonl", {"id": "s1", "a": None, "h": "3"}))
    taken(workspace, jsonl(tmp_path / "products.jsonl", {"id": "s1", "h": "3"}))
    assert attributes_of(workspace)["s1"] == {"h": "3"}


def test_a_bad_id_still_refuses_its_row(workspace, tmp_path):
    path = jsonl(tmp_path / "products.jsonl", {"id": "", "a": "x"}, {"id": "s1", "a": "x"})
    report = import_file(workspace, path)
    assert refusals(report) == [(1, "id", "is missing")]


VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=600)


@given(st.dictionaries(st.text(max_size=80), VALUES | st.lists(VALUES, max_size=4)))
def test_whatever_a_row_says_becomes_attributes_or_is_told(row):
    record = {}
    left_out = read_attributes(row, KNOWN, record)
    kept = json.loads(record.get("attributes") or "{}")
    for name, value in kept.items():
        assert name == attribute_name(name)
        assert 0 < len(name) <= attributes.LONGEST_NAME
        for each in value if isinstance(value, list) else [value]:
            assert each is None or isinstance(each, bool | int | float | str)
            assert len(str(each)) <= attributes.LONGEST
    told = {each.field for each in left_out}
    for column in row.keys() - KNOWN:
        assert attribute_name(column) in kept or column[:100] in told
