"""Delimiters, names of columns, constants, `.txt` and JSON arrays."""

from __future__ import annotations

import csv
import io
import json
import random
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from importing import jsonl, refusals, small_catalogue, table, taken

from omnisearch.data.importers import json_rows
from omnisearch.data.importers.columns import Names
from omnisearch.data.importers.files import ImportOptions, import_file
from omnisearch.data.importers.readers import open_source
from omnisearch.data.importers.source import Row
from omnisearch.data.workspace.errors import InputError


def test_header_names_match_whatever_their_case(workspace, tmp_path):
    path = tmp_path / "products.csv"
    path.write_text(
        "ID,Title,Description,Price,Created At,productTypes\n1,Sink,A sink,5,2024,a|b\n"
    )
    report = import_file(workspace, path)
    columns = "id, title, description, price, product_types"
    assert table(workspace, "products", columns) == [("1", "Sink", "A sink", 5.0, '["a","b"]')]
    assert report.ignored == ()


def test_of_columns_that_are_spelled_alike_the_exact_one_is_taken():
    names = Names("products", {}, {})
    [row] = names.rename([Row(1, {"Title": "A", "title": "B", "TITLE": "C", "id": "1"})])
    assert row.values == {"Title": "A", "title": "B", "TITLE": "C", "id": "1"}
    [row] = names.rename([Row(1, {"Title": "A", "TITLE": "C", "ID": "1"})])
    assert row.values == {"title": "A", "TITLE": "C", "id": "1"}


def test_map_names_a_column_whatever_its_case(workspace, tmp_path):
    path = tmp_path / "products.csv"
    path.write_text("Sku Code,Title\n17,x\n")
    taken(workspace, path, mapping={"id": "sku_code"})
    assert table(workspace, "products", "id, title, link") == [("17", "x", None)]


def test_a_constant_is_in_every_row(workspace, tmp_path):
    small_catalogue(workspace, tmp_path)
    event = {"time": 1, "query": "q", "item_id": "p1", "action": "click"}
    path = jsonl(tmp_path / "engagements.jsonl", event, event | {"entity": "product"})
    report = taken(workspace, path, constants={"entity": "pin"})
    assert (report.taken, report.changed) == (2, 1)
    assert table(workspace, "engagements", "entity, item_id, action") == [("pin", "p1", "click")]
    with pytest.raises(InputError, match="no field 'entitty'"):
        import_file(workspace, path, options=ImportOptions(constants={"entitty": "pin"}))
    with pytest.raises(InputError, match="'entity' is given twice"):
        import_file(
            workspace, path, options=ImportOptions({"entity": "e"}, constants={"entity": "pin"})
        )
    for name, value in {"entity": "prod", "action": "like", "time": "2099-01-01"}.items():
        with pytest.raises(InputError, match=f"{name} is .*{value}.*No row can be taken"):
            import_file(workspace, path, options=ImportOptions(constants={name: value}))
    bare = tmp_path / "deletions.csv"
    bare.write_text("id\np2\n")
    with pytest.raises(InputError, match=r"no column 'entity'.*--set entity=VALUE"):
        import_file(workspace, bare)
    assert taken(workspace, bare, constants={"entity": "pin"}).changed == 1


@pytest.mark.parametrize(
    ("kind", "field", "value", "why"),
    [
        ("products", "price", "abc", "price is not a price such as 19.99 USD: 'abc'"),
        ("products", "price", "-1", "price is out of range: '-1'"),
        ("products", "language", "xx1", "language: 'xx1' is not the code of a language"),
        ("products", "language", "german", "language: 'german' is not the code of a language"),
        ("products", "country", "Germany", "country: 'Germany' is not the code of a country"),
        ("products", "availability", "maybe", "availability is no availability .*'maybe'"),
        ("products", "currency", "EURO", "currency is not the ISO 4217 code"),
        ("products", "link", "javascript:x", "link is not an http or https address: 'java"),
        ("pins", "attributes", "blue", "attributes is not an object of names and values: 'b"),
        ("pins", "attributes.Heel", "x" * 501, "attributes.Heel is longer than 500 .*…'"),
        ("boards", "items", "[", "items is not a JSON array"),
        ("campaigns", "bid", "0", "bid is not above 0: '0'"),
        ("campaigns", "start", "soon", "start is neither ISO 8601 nor seconds: 'soon'"),
        ("campaigns", "countries", "DE|Austria", "countries: 'Austria' is not the code of a"),
    ],
)
def test_a_constant_that_no_row_can_have_is_refused_once(
    workspace, tmp_path, kind, field, value, why
):
    path = tmp_path / f"{kind}.csv"
    path.write_text("id,bid,items\n1,1,product/1\n" if kind == "campaigns" else "id,title\n1,x\n")
    with pytest.raises(InputError, match=f"--set.*{why}"):
        import_file(workspace, path, options=ImportOptions(constants={field: value}))
    assert not workspace.rejects.exists()


@pytest.mark.parametrize(
    ("field", "value"),
    [("price", "12,50 €"), ("language", "pt_BR"), ("country", "de"), ("availability", "yes")],
)
def test_a_constant_is_read_as_a_file_writes_it(workspace, tmp_path, field, value):
    path = tmp_path / "products.csv"
    path.write_text("id,title\n1,x\n")
    report = taken(workspace, path, constants={field: value})
    assert (report.taken, report.left_out) == (1, 0)


cell = st.text("ab,;|\t\"\n '.€", max_size=6)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.lists(cell, min_size=3, max_size=3), min_size=3, max_size=8),
    st.sampled_from(",;\t|"),
)
def test_the_delimiter_of_what_a_csv_writer_wrote_is_found(rows, delimiter):
    buffer = io.StringIO()
    writer = csv.writer(buffer, delimiter=delimiter, lineterminator="\r\n", quoting=csv.QUOTE_ALL)
    writer.writerows([("id", "title", "price"), *rows])
    with tempfile.TemporaryDirectory() as folder:
        for suffix in ("csv", "tsv", "txt"):
            path = Path(folder) / f"x.{suffix}"
            path.write_bytes(b"\xef\xbb\xbf" + buffer.getvalue().encode())
            source = open_source(path)
            assert source.columns == ("id", "title", "price")
            list(source.rows)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("suffix", ["csv", "tsv", "txt", "csv.gz"])
def test_any_delimiter_under_any_name(workspace, tmp_path, delimiter, suffix):
    import gzip

    texts = ["id,title,price", "1,A sink; with taps | copper,5", "2,Mop\twet; dry,6"]
    content = "\r\n".join(delimiter.join(line.split(",")) for line in texts)
    if delimiter != ",":
        content = content.replace("A sink; with taps | copper", '"A sink; with taps | copper"')
        content = content.replace("Mop\twet; dry", '"Mop\twet; dry"')
    packed = gzip.compress(content.encode()) if suffix.endswith("gz") else content.encode()
    (tmp_path / f"products.{suffix}").write_bytes(packed)
    assert import_file(workspace, tmp_path / f"products.{suffix}").taken == 2
    found = table(workspace, "products", "id, title, price")
    assert found == [("1", "A sink; with taps | copper", 5.0), ("2", "Mop\twet; dry", 6.0)]


def test_a_delimiter_can_be_given_and_a_file_can_say_it(workspace, tmp_path):
    (tmp_path / "products.txt").write_text("id~title\n1~Sink\n")
    taken(workspace, tmp_path / "products.txt", delimiter="~")
    (tmp_path / "products.csv").write_text("sep=;\nid;title\n2;Mop\n\n3;Lamp;x\n")
    report = import_file(workspace, tmp_path / "products.csv")
    assert refusals(report) == [(5, None, "has a different number of columns than the header")]
    assert table(workspace, "products", "id, title, link") == [
        ("1", "Sink", None),
        ("2", "Mop", None),
    ]
    for bad in ("", "ab", '"', "x", "1"):
        if bad:
            with pytest.raises(InputError, match="cannot separate columns"):
                import_file(
                    workspace, tmp_path / "products.csv", None, ImportOptions(delimiter=bad)
                )


def test_columns_without_a_name_are_none(workspace, tmp_path):
    (tmp_path / "products.csv").write_text("id,title,,\n1,Sink,,\n2,Mop,x,\n")
    assert import_file(workspace, tmp_path / "products.csv").taken == 2


def test_an_array_of_json(workspace, tmp_path):
    rows = [{"id": "1", "title": 'A "sink" ]}'}, {"id": "2"}, 7, {"id": "3", "colours": ["a", "b"]}]
    path = tmp_path / "products.json"
    path.write_text(json.dumps(rows, indent=2))
    report = import_file(workspace, path)
    assert refusals(report) == [(9, None, "is not a JSON object")]
    assert table(workspace, "products", "id, title, colours") == [
        ("1", 'A "sink" ]}', None),
        ("2", None, None),
        ("3", None, '["a","b"]'),
    ]
    path.write_text('{"id": "4"}\n{"id": "5"}\n')
    assert import_file(workspace, path).taken == 2
    path.write_text('[{"id": "6", "title": }, {"id": "7"}]')
    assert refusals(import_file(workspace, path)) == [(1, None, "is not valid JSON")]
    for text, said in (
        ('[{"id": "8"}, {"id": ', "not closed"),
        ('[{"id": "8"}] x', "goes on"),
        ('{"a": [\n1]}', "not an array of objects"),
        ("<html></html>", "XML or HTML"),
    ):
        path.write_text(text)
        with pytest.raises(InputError, match=said):
            import_file(workspace, path)
    assert [key for key, *_ in table(workspace, "products")] == ["1", "2", "3", "4", "5", "7"]


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.dictionaries(st.text(max_size=4), values, max_size=4)),
    st.integers(1, 40),
    st.data(),
)
def test_an_array_is_read_in_pieces_of_any_size(rows, size, data):
    indent = data.draw(st.sampled_from([None, 0, 2]))
    text = json.dumps(rows, indent=indent, ensure_ascii=data.draw(st.booleans())).encode()
    pieces = iter([text[i : i + size] for i in range(0, len(text), size)])
    found = list(json_rows.array_rows(Path("x.json"), lambda _: next(pieces, b"")))
    assert [row.values for row in found] == rows
    lines = text.split(b"\n")
    assert all(b"{" in lines[row.line - 1] for row in found)


def test_the_lines_of_an_array_are_physical_ones():
    rows = [{"id": str(i), "text": "x" * random.Random(i).randrange(40)} for i in range(500)]
    text = json.dumps(rows, indent=1).encode()
    pieces = iter([text[i : i + 37] for i in range(0, len(text), 37)])
    found = list(json_rows.array_rows(Path("x.json"), lambda _: next(pieces, b"")))
    assert [row.line for row in found] == [2 + 4 * i for i in range(500)]


def test_a_file_whose_items_have_no_words_says_so(workspace, tmp_path):
    def notes(name, text):
        (tmp_path / name).write_text(text)
        return taken(workspace, tmp_path / name).notes

    [said] = notes("products.csv", "id,Produktname\ns1,Kupferlampe\ns2,Sofa\n")
    assert said == ("No product of this file has a title: name the column with --map title=COLUMN.")
    assert notes("products-one.csv", "id,title\ns1,Kupferlampe\ns2,\n") == ()
    assert notes("products-prices.csv", "id,stock\ns1,5\ns2,7\n") == ()  # s1 has one from before
    [said] = notes("pins.csv", "id,text\np1,A lamp\n")
    assert said.startswith("No pin of this file has a title, description or caption: ")
    assert notes("pins-described.csv", "id,description\np2,A lamp\n") == ()
    assert notes("deletions.csv", "entity,id\npin,p1\n") == ()
