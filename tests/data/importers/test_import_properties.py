"""The row parsers and readers against anything that a file may hold."""

from __future__ import annotations

import csv
import io
import math
import sqlite3
import tempfile
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import orjson
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from omnisearch.data.importers import value_checks as v
from omnisearch.data.importers.readers import open_source
from omnisearch.data.importers.rows import FIELDS, KINDS, QueryIds, inline_items, parser_of
from omnisearch.data.importers.times import time
from omnisearch.data.importers.value_checks import Refused
from omnisearch.data.text.normalise import normalise_query

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
odd_text = st.text(st.characters(), max_size=20)  # lone surrogates too
json_values = st.recursive(
    scalars | odd_text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(odd_text, inner, max_size=3),
    max_leaves=6,
)
words = st.sampled_from(["pin", "query", "save", "search", "test", "en", "2024-01-01", "p1", "7"])


@settings(max_examples=300)
@given(st.data(), st.sampled_from([kind for kind in KINDS if kind != "campaigns"]))
def test_a_row_is_refused_by_field_or_fits_the_catalogue(data, kind):
    fields = st.sampled_from(FIELDS[kind])
    row = data.draw(st.dictionaries(fields, words | json_values, max_size=12))
    try:
        record = parser_of(kind, QueryIds())(row)
    except Refused as refused:
        assert refused.field in FIELDS[kind]
        assert refused.reason
        return
    connection = sqlite3.connect(":memory:")
    # SQLite takes exactly what the parser made, and gives it back.
    columns = ", ".join(f"? AS {name}" for name in record)
    [stored] = connection.execute(f"SELECT {columns}", list(record.values())).fetchall()
    assert stored == tuple(record.values())
    connection.close()


@settings(max_examples=200)
@given(json_values)
def test_inline_items_are_refused_or_rows(value):
    try:
        rows = inline_items("b", value)
    except Refused as refused:
        assert refused.field == "items"
        return
    assert all({"board_id", "item_id"} <= row.keys() for row in rows)


@given(
    st.datetimes(datetime(1970, 1, 2), datetime(5000, 1, 1)),
    st.integers(-14 * 60, 14 * 60),
)
def test_times_of_any_zone(moment, minutes):
    zoned = moment.replace(microsecond=0, tzinfo=timezone(timedelta(minutes=minutes)))
    expected = math.floor(zoned.timestamp())
    assert time(zoned.isoformat(), "time") == expected
    if expected >= 100_000_000:  # eight digits are a date, six a month
        assert time(str(expected), "time") == time(expected, "time") == expected
    utc = zoned.astimezone(UTC).replace(tzinfo=None)
    assert time(utc.isoformat(sep=" "), "time") == expected


@given(st.floats(0, 1e12))
def test_numbers_read_the_same_from_text(number):
    assert v.number(number, "price") == v.number(repr(number), "price") == number


@given(st.lists(st.text(max_size=10)))
def test_query_ids_are_those_of_the_text(texts):
    queries = QueryIds()
    for text in [*texts, *texts]:
        try:
            key = queries.id_of(text, "query")
        except Refused:
            assert not normalise_query(text) or "\0" in text
            continue
        assert key == normalise_query(text)
        assert normalise_query(queries.texts[key]) == key


def read(name: str, content: bytes, encoding: str | None = None) -> list:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        return list(open_source(path, encoding=encoding).rows)


cell = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\x00"), max_size=8)


@given(st.lists(st.tuples(cell, cell), min_size=1), st.sampled_from(["csv", "tsv"]))
def test_what_a_csv_writer_wrote_is_read(rows, suffix):
    buffer = io.StringIO()
    delimiter = "," if suffix == "csv" else "\t"
    # Lines of one field that look like rows are taken for rows, see test_import_quotes.
    assume(not any("\n" in cell and delimiter in cell for row in rows for cell in row))
    writer = csv.writer(buffer, delimiter=delimiter, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerows([("a", "b"), *rows])
    content = buffer.getvalue().encode()
    found = read(f"x.{suffix}", content)
    assert [tuple(row.values.values()) for row in found] == [
        tuple(value or None for value in row) for row in rows
    ]
    # Each row's line is where its first cell stands.
    lines = content.split(b"\n")
    assert all(lines[row.line - 1].startswith(b'"') for row in found)


@given(st.lists(st.binary(max_size=30)))
def test_any_bytes_are_rows_or_refused_lines(chunks):
    content = b'{"id": "first"}\n' + b"\n".join(chunks)
    rows = read("x.jsonl", content, "utf-8")
    assert rows[0].values == {"id": "first"}
    lines = content.split(b"\n")
    for row in rows:
        assert (row.values is None) == (row.error is not None)
        if row.values is not None:
            assert orjson.loads(lines[row.line - 1]) == row.values
    told = {row.line for row in rows}
    assert all(not line.strip() for i, line in enumerate(lines, 1) if i not in told)


@given(st.binary(max_size=200))
def test_any_bytes_of_csv_are_rows_or_refused_lines(content):
    rows = read("x.csv", b"a,b\n" + content, "utf-8")
    for row in rows:
        assert (row.values is None) == (row.error is not None)
        assert row.values is None or set(row.values) == {"a", "b"}
