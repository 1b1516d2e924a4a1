"""Parquet of any type: a value that no field can take is dropped, and its row is taken."""

from __future__ import annotations

import subprocess
import sys
from datetime import date
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from importing import refusals, table

from omnisearch.data.importers.files import import_file
from omnisearch.data.importers.parquet_rows import python_values
from omnisearch.data.importers.rows import FIELDS, QueryIds, parser_of
from omnisearch.data.importers.value_checks import Refused

BAD = pa.array([b"fine", b"caf\xe9"], pa.binary()).view(pa.string())
FAR = pa.array([19_000, 2_932_897])  # days; the second is in the year 10000


def products(path, **columns):
    pq.write_table(pa.table({"id": ["a", "b"], **columns}), path)
    return path


@pytest.mark.parametrize(
    ("field", "column", "reason"),
    [
        ("created_at", FAR.cast(pa.int32()).cast(pa.date32()), "is out of the range of its type"),
        (
            "created_at",
            pa.array([0, 253_402_300_800_000]).cast(pa.date64()),
            "is out of the range of its type",
        ),
        (
            "created_at",
            pa.array([0, 2**62]).cast(pa.timestamp("ms")),
            "is out of range (seconds since 1970 are expected)",
        ),
        ("colours", pa.array([["red"], [b"caf\xe9"]], pa.list_(pa.binary())), "is not UTF-8"),
        ("title", BAD.dictionary_encode(), "is not UTF-8"),
        ("title", pa.array([None, {"a": 1}]), "is not text"),
        ("title", pa.array(["x", "y" * 400_001]), "is longer than 100,000 characters"),
        ("price", pa.array([Decimal("1.5"), Decimal("-2.5")]), "is out of range"),
        ("colours", pa.array([["red"], ["x"] * 100_001]), "has more than 100,000 entries"),
    ],
)
def test_a_value_is_refused_and_the_other_rows_are_taken(
    workspace, tmp_path, field, column, reason
):
    if field == "colours" and column.type == pa.list_(pa.binary()):
        column = pa.ListArray.from_arrays(column.offsets, column.values.view(pa.string()))
    report = import_file(workspace, products(tmp_path / "products.parquet", **{field: column}))
    assert [key for key, *_ in table(workspace, "products")] == ["a", "b"]
    assert refusals(report) == [(2, field, reason)]


@pytest.mark.parametrize(
    "kind", [pa.time32("s"), pa.time32("ms"), pa.time64("us"), pa.time64("ns"), pa.duration("ns")]
)
def test_times_of_day_and_durations_are_named(workspace, tmp_path, kind):
    width = pa.int32() if kind.bit_width == 32 else pa.int64()
    column = pa.array([None, 2**30], width).cast(kind)
    path = products(tmp_path / "products.parquet", created_at=column, unknown=column)
    assert refusals(import_file(workspace, path)) == [
        (2, "created_at", "is neither text, a number nor a time"),
        (2, "unknown", "is neither text, a number nor a time"),
    ]


def test_nan_is_null_and_whole_numbers_are_texts(workspace, tmp_path):
    nan = float("nan")
    columns = {"price": [5.0, nan], "title": [nan, 17.0], "colours": [["red"], None]}
    columns |= {"gtin": [3146262571.0, nan], "created_at": [20240115.0, nan]}
    report = import_file(workspace, products(tmp_path / "products.parquet", **columns))
    assert (report.taken, report.refused, report.left_out) == (2, 0, 0)
    assert table(workspace, "products", "id, price, title, gtin, created_at") == [
        ("a", 5.0, None, "3146262571", 1705276800),
        ("b", None, "17", None, None),
    ]


def test_dates_and_dictionaries_are_still_read(workspace, tmp_path):
    path = products(
        tmp_path / "products.parquet",
        created_at=pa.array([date(1970, 1, 2), None]),
        colours=pa.array([["red", "blue"], None]),
        brand=pa.array(["x", "x"]).dictionary_encode(),
        price=pa.array([1.5, 2], pa.float16()),
    )
    assert import_file(workspace, path).refused == 0
    assert table(workspace, "products", "created_at, colours, brand, price") == [
        (None, None, "x", 2.0),
        (86400, '["red","blue"]', "x", 1.5),
    ]


leaves = st.sampled_from(
    [
        *(pa.date32(), pa.date64(), pa.time32("ms"), pa.time64("ns"), pa.duration("us")),
        *(pa.timestamp("s"), pa.timestamp("ns", "Europe/Rome"), pa.timestamp("us", "+99:99")),
        *(pa.int8(), pa.uint64(), pa.float16(), pa.float64(), pa.bool_(), pa.null()),
        *(pa.string(), pa.large_string(), pa.binary(), pa.binary(3)),
        *(pa.decimal128(38, 2), pa.decimal256(76, 40), pa.dictionary(pa.int8(), pa.string())),
    ]
)
kinds = st.recursive(
    leaves,
    lambda inner: (
        inner.map(pa.list_)
        | inner.map(pa.large_list)
        | inner.map(lambda kind: pa.list_(kind, 2))
        | inner.map(lambda kind: pa.map_(pa.string(), kind))
        | st.lists(inner, max_size=2).map(
            lambda parts: pa.struct([(f"f{i}", part) for i, part in enumerate(parts)])
        )
    ),
    max_leaves=3,
)


def some_array(draw, kind, length):
    """An array of this type whose values are any bits, also those that mean nothing."""
    missing = pa.array(draw(st.lists(st.booleans(), min_size=length, max_size=length)), pa.bool_())
    if pa.types.is_dictionary(kind):
        words = some_array(draw, pa.string(), 2)
        indices = draw(st.lists(st.integers(0, 1), min_size=length, max_size=length))
        return pa.DictionaryArray.from_arrays(pa.array(indices, pa.int8()), words)
    if pa.types.is_struct(kind):
        parts = [some_array(draw, field.type, length) for field in kind]
        return (
            pa.StructArray.from_arrays(parts, fields=list(kind))
            if parts
            else pa.array([{}] * length, kind)
        )
    if pa.types.is_map(kind):
        offsets = pa.array(range(length + 1), pa.int32())
        keys = pa.array([f"k{i}" for i in range(length)], pa.string())
        return pa.MapArray.from_arrays(offsets, keys, some_array(draw, kind.item_type, length))
    if pa.types.is_fixed_size_list(kind):
        return pa.FixedSizeListArray.from_arrays(some_array(draw, kind.value_type, 2 * length), 2)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        values = some_array(draw, kind.value_type, length)
        made = pa.ListArray if pa.types.is_list(kind) else pa.LargeListArray
        offsets = pa.array(range(length + 1), pa.int32() if made is pa.ListArray else pa.int64())
        return made.from_arrays(offsets, values, mask=missing)
    if pa.types.is_null(kind):
        return pa.nulls(length)
    if kind in (pa.string(), pa.large_string(), pa.binary()):
        raw = draw(st.lists(st.binary(max_size=6), min_size=length, max_size=length))
        wide = pa.large_binary() if kind == pa.large_string() else pa.binary()
        return pa.array(raw, wide).view(kind)
    width = max(1, kind.bit_width) * max(length, 1)
    bits = draw(st.binary(min_size=(width + 7) // 8, max_size=(width + 7) // 8))
    array = pa.Array.from_buffers(kind, length, [None, pa.py_buffer(bits)])
    return array


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_any_arrow_value_is_taken_or_refused_by_its_field(data):
    kind = data.draw(kinds)
    array = some_array(data.draw, kind, data.draw(st.integers(0, 3)))
    values = python_values(array)
    assert len(values) == len(array)
    for field in FIELDS["products"]:
        for value in values:
            try:
                parser_of("products", QueryIds())({"id": "a", field: value})
            except Refused as refused:
                assert refused.field == field and refused.reason


def peak(tmp_path, path):
    """MB that importing a file takes at most."""
    code = (
        "import re, sys; from pathlib import Path\n"
        "from omnisearch.data.workspace import Workspace\n"
        "from omnisearch.data.importers.files import import_file\n"
        "report = import_file(Workspace(Path(sys.argv[1])), Path(sys.argv[2]))\n"
        "status = Path('/proc/self/status').read_text()\n"
        "print(report.taken, int(re.search(r'VmHWM:\\s+(\\d+)', status)[1]) // 1024)\n"
    )
    arguments = [sys.executable, "-c", code, str(tmp_path / "w"), str(path)]
    ran = subprocess.run(arguments, capture_output=True, text=True, check=True)
    taken, megabytes = map(int, ran.stdout.split())
    return taken, megabytes


@pytest.mark.parametrize("distinct", [True, False])
def test_memory_is_bounded_by_bytes_where_values_are_long(tmp_path, distinct):
    """Eight values of 20 MB, in the file once or eight times."""
    path = tmp_path / "products.parquet"
    long = ["x" * 20_000_000 + str(i * distinct) for i in range(8)]
    pq.write_table(
        pa.table({"id": [f"p{i}" for i in range(9)], "title": ["fine", *long]}),
        path,
        use_dictionary=not distinct,
    )
    taken, megabytes = peak(tmp_path, path)
    assert taken == 9
    assert megabytes < 400


def test_memory_is_bounded_where_every_row_repeats_a_long_text(tmp_path):
    path = tmp_path / "products.parquet"
    words = pa.DictionaryArray.from_arrays(pa.array([0] * 5000, pa.int32()), ["x" * 3_000_000])
    pq.write_table(pa.table({"id": [f"p{i}" for i in range(5000)], "title": words}), path)
    taken, megabytes = peak(tmp_path, path)
    assert taken == 5000
    assert megabytes < 400


def test_memory_is_bounded_where_lines_are_long(tmp_path):
    path = tmp_path / "products.jsonl"
    with path.open("w") as file:
        for i in range(25):
            texts = ",".join(f'"{"y" * 99_000}{j}"' for j in range(60))
            file.write(f'{{"id": "p{i}", "colours": [{texts}]}}\n')
    taken, megabytes = peak(tmp_path, path)
    assert taken == 25
    assert megabytes < 400
