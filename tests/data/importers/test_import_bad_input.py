"""Bad input: each fault is answered with file, line, field and reason, and the rest is taken."""

from __future__ import annotations

import gzip
import json
import sqlite3
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from importing import jsonl, refusals, small_catalogue, table

from omnisearch.data.catalogue.schema import ACTIONS
from omnisearch.data.importers import readers
from omnisearch.data.importers.files import ImportOptions, import_file
from omnisearch.data.importers.folders import import_folder
from omnisearch.data.importers.times import UNCLEAR
from omnisearch.data.workspace.errors import InputError, Unavailable

EVENT = {"time": 1, "query": "q", "entity": "pin", "item_id": "p1", "action": "save"}


def test_bad_lines_of_jsonl(workspace, tmp_path):
    path = tmp_path / "pins.jsonl"
    path.write_bytes(
        b'{"id": "ok1"}\n'
        b"\n"
        b'{"id": "cut\n'
        b'["id", "list"]\n'
        b'{"id": "caf\xe9"}\n'
        b'{"id": "x", "title": "\\ud83d"}\n'
        b'{"id": "y", "title": "a\\u0000b"}\n'
        b'{"title": "no id"}\n'
        b'{"id": "z", "created_at": NaN, "title": NaN}\n'
        b'{"id": "ok2", "title": "\xc3\xa9"}'
    )
    report = import_file(workspace, path)
    assert refusals(report) == [
        (3, None, "is not valid JSON"),
        (4, None, "is not a JSON object"),
        (5, None, "is not UTF-8"),
        (6, "title", "contains a lone surrogate"),
        (7, "title", "contains a NUL character"),
        (8, "id", "is missing"),
    ]
    assert table(workspace, "pins", "id, title, link") == [
        ("ok1", None, None),
        ("ok2", "é", None),
        ("x", None, None),
        ("y", None, None),
        ("z", None, None),
    ]
    assert (report.rows, report.taken, report.refused, report.left_out) == (9, 5, 4, 2)
    assert report.rejects == workspace.rejects / "1-pins.jsonl.jsonl"


def test_bad_lines_of_csv(workspace, tmp_path):
    path = tmp_path / "pins.csv"
    path.write_bytes(
        b"id,title\n"
        b'p1,"two\nlines, ""quoted"""\n'
        b"p2,one,too many\n"
        b"p3\n"
        b'p4,"a" b\n'
        b"p5,caf\xe9\n"
        b"p6,a\x00b\n"
        b"p8,caf\xc3\xa9\n"
        b"\n"
        b'p7,"never closed\n'
    )
    report = import_file(workspace, path)
    columns = "has a different number of columns than the header"
    found = refusals(report)
    assert found[:2] == [(4, None, columns), (5, None, columns)]
    assert found[2][0] == 6 and found[2][2].startswith("is not valid CSV")
    assert found[3:5] == [(7, "title", "is not UTF-8"), (8, "title", "contains a NUL character")]
    assert found[5][0] == 11 and found[5][2].startswith("is not valid CSV")
    assert table(workspace, "pins", "id, title, link") == [
        ("p1", 'two\nlines, "quoted"', None),
        ("p5", None, None),
        ("p6", None, None),
        ("p8", "café", None),
    ]


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("price", -1, "is out of range"),
        ("price", 1e13, "is out of range"),
        ("price", "cheap", "is not a price such as 19.99 USD"),
        ("price", "1_000", "is not a price such as 19.99 USD"),
        ("price", True, "is not a number"),
        ("price", [1], "is not a number"),
        ("price", "Infinity", "is not a price such as 19.99 USD"),
        ("price", float("inf"), "is not a finite number"),
        ("created_at", "yesterday", "is neither ISO 8601 nor seconds"),
        ("created_at", "2024-02-30", "is neither ISO 8601 nor seconds"),
        ("created_at", "31.02.2024", "is neither ISO 8601 nor seconds"),
        ("created_at", "15.02.26", "is neither ISO 8601 nor seconds"),
        ("created_at", "05/02/2024", UNCLEAR),
        ("created_at", "3-2-2024 10:00", UNCLEAR),
        ("created_at", -5, "is out of range (seconds since 1970 are expected)"),
        ("created_at", 99999999, "is neither ISO 8601 nor seconds"),
        ("created_at", 202401, "is neither ISO 8601 nor seconds"),
        ("created_at", "2099-01-01", "is more than a day in the future"),
        ("created_at", 1700000000000, "is out of range (seconds since 1970 are expected)"),
        ("title", ["a"], "is not text"),
        ("title", {"a": 1}, "is not text"),
        ("title", 1.5, "is not text"),
        ("title", "x" * 100_001, "is longer than 100,000 characters"),
        ("id", "x" * 513, "is longer than 512 characters"),
        ("id", "a\tb", "contains a control character"),
        ("id", "  ", "is missing"),
        ("id", None, "is missing"),
        ("colours", {"red": 1}, "is not a list"),
        ("colours", ["red", 1.5], "is not text"),
        ("colours", "[1,", "is not a JSON array"),
        ("colours", ["a"] * 1001, "has more than 1,000 entries"),
        ("language", "English (US)", "is not a code such as en or US"),
        ("country", 49, "is not a code such as en or US"),
        ("engaged_queries", [["a", 1, 2, 3]], "has an entry that is not [query, weight, time]"),
        ("engaged_queries", [["a", "much"]], "is not a number"),
    ],
)
def test_bad_values_of_items(workspace, tmp_path, field, value, reason):
    first = {"id": "a", "brand": "Acme", field: value}
    path = jsonl(tmp_path / "products.jsonl", first, {"id": "good"})
    report = import_file(workspace, path)
    assert refusals(report) == [(1, field, reason)]
    assert report.reasons == {f"{field} {reason}": 1}
    kept = [] if field == "id" else [("a", "Acme", None)]
    columns = "id, brand, " + ("caption" if field == "id" else field)
    assert table(workspace, "products", columns) == [*kept, ("good", None, None)]
    assert (report.refused, report.left_out) == ((1, 0) if field == "id" else (0, 1))


def test_a_bad_value_leaves_what_the_catalogue_holds(workspace, tmp_path):
    jsonl(tmp_path / "products.jsonl", {"id": "a", "price": 5, "title": "Mop"})
    import_file(workspace, tmp_path / "products.jsonl")
    jsonl(tmp_path / "products.jsonl", {"id": "a", "price": "soon", "title": "Best mop"})
    report = import_file(workspace, tmp_path / "products.jsonl")
    assert (report.taken, report.changed, report.left_out) == (1, 1, 1)
    assert table(workspace, "products", "id, price, title") == [("a", 5.0, "Best mop")]


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("action", "like", f"is not a known action (known: {', '.join(ACTIONS)})"),
        ("action", ["save"], f"is not a known action (known: {', '.join(ACTIONS)})"),
        ("action", None, "is missing"),
        ("entity", "board", "is not a known entity (known: pin, product, query)"),
        ("item_id", "p9", "names a pin that does not exist"),
        ("query", " \u3000 ", "is missing"),
        ("query", 1.5, "is not text"),
        ("time", None, "is missing"),
        ("time", "", "is missing"),
        ("count", 0, "is out of range"),
        ("count", 1.5, "is not a whole number"),
        ("time", 4_000_000_000, "is more than a day in the future"),
        ("time", "2099-01-01", "is more than a day in the future"),
        ("time", 20240231, "is neither ISO 8601 nor seconds"),
        ("position", 0, "is out of range"),
        ("surface", "home", "is not a known surface (known: search, offsite)"),
        ("session", "a\nb", "contains a control character"),
        ("language", {}, "is not a code such as en or US"),
    ],
)
def test_bad_values_of_events(workspace, tmp_path, field, value, reason):
    small_catalogue(workspace, tmp_path)
    path = jsonl(tmp_path / "engagements.jsonl", EVENT | {field: value}, EVENT)
    report = import_file(workspace, path)
    assert refusals(report) == [(1, field, reason)]
    optional = field in ("session", "position", "language")
    # Without the value the first row is the second, the same event.
    assert (report.taken, report.changed) == (1 + optional, 1)


@pytest.mark.parametrize("grade", [None, "good", "inf", 1e9])
def test_bad_grades(workspace, tmp_path, grade):
    small_catalogue(workspace, tmp_path)
    path = jsonl(tmp_path / "judgments.jsonl", EVENT | {"grade": grade}, EVENT | {"grade": 0})
    [(line, field, _)] = refusals(import_file(workspace, path))
    assert (line, field) == (1, "grade")


def test_queries_in_six_scripts_and_of_ten_thousand_characters(workspace, tmp_path):
    texts = ["sofa", "диван", "ソファ", "אריכא", "कुर्सी", "كنبة", "x" * 10_000]
    report = import_file(
        workspace, jsonl(tmp_path / "queries.jsonl", *({"text": t} for t in texts))
    )
    assert report.taken == 7
    lengths = sorted(len(key) for (key, *_) in table(workspace, "queries"))
    assert lengths[-1] == 512


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("pins.jsonl", b"", "is empty"),
        ("pins.csv", b"", "is empty"),
        ("pins.csv", b"\n\n", "no header"),
        ("pins.parquet", b"", "is empty"),
        ("pins.csv", "id,title\na,b\n".encode("utf-16")[:-1], "truncated"),
        ("pins.csv", "id;title\n1;Красный стул\n".encode("cp1251"), "neither UTF-8.*--encoding"),
        ("pins.csv", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\xc2\x90\xff\xd8\xdb", "neither UTF-8"),
        ("pins.csv", b"PK\x03\x04\x14\0\x06\0\x08\0\0\0!\0", "or a spreadsheet"),
        ("pins.csv", b"id,id\n1,2\n", "Duplicate columns"),
        ("pins.csv", b"title\nx\n", r"no column 'id', .*--map id=COLUMN\.$"),
        ("pins.csv", b"id;Gr\xf6\xdfe\n" + "1;Süß für große".encode(), "header is not UTF-8, as"),
        ("pins.parquet", b"PAR1 nothing of the kind", "not Parquet"),
        ("pins.jsonl", b"PAR1 nothing of the kind", "a Parquet file"),
        ("pins.jsonl.gz", gzip.compress(b'{"id": "a"}\n' * 99, mtime=0)[:-20], "truncated"),
        ("pins.jsonl.gz", b"\x1f\x8b nothing of the kind", "damaged"),
        ("pins.xlsx", b"x", "are not read. .*as CSV"),
        ("Unsere Artikel.XLS", b"x", "are not read. .*as CSV"),
        ("products.ods", b"x", "are not read. .*as CSV"),
        ("pins.doc", b"x", "does not say its kind"),
        ("cats.jsonl", b'{"id": "a"}\n', "does not say its kind"),
    ],
)
def test_a_file_that_is_bad_as_a_whole(workspace, tmp_path, name, content, said):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError, match=said) as error:
        import_file(workspace, path)
    assert str(path) in error.value.where
    assert not workspace.catalogue.exists() or table(workspace, "pins") == []


def test_files_that_are_none(workspace, tmp_path):
    with pytest.raises(InputError, match="no such file"):
        import_file(workspace, tmp_path / "pins.jsonl")
    (tmp_path / "pins.csv").mkdir()
    with pytest.raises(InputError, match="no such file"):
        import_file(workspace, tmp_path / "pins.csv")
    with pytest.raises(InputError, match=r"no such file\."):  # before its format
        readers.open_source(tmp_path / "labels.bin")
    with pytest.raises(InputError, match="this is a folder"):
        readers.open_source(tmp_path)
    with pytest.raises(InputError, match="no file with a conventional name"):
        import_folder(workspace, tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        import_folder(workspace, tmp_path / "nowhere")
    with pytest.raises(InputError, match="Unknown kind"):
        import_file(workspace, tmp_path / "x.jsonl", "cats")


def test_a_header_alone_is_no_rows(workspace, tmp_path):
    (tmp_path / "pins.csv").write_text("id,title\n")
    pq.write_table(pa.table({"id": pa.array([], pa.string())}), tmp_path / "pins.parquet")
    for name in ("pins.csv", "pins.parquet"):
        report = import_file(workspace, tmp_path / name)
        assert (report.rows, report.taken, report.refused) == (0, 0, 0)


def test_parquet_cut_short_anywhere_imports_nothing(workspace, tmp_path):
    whole = tmp_path / "whole.parquet"
    ids = [f"p{i}" for i in range(5000)]
    rows = pa.table({"id": ids, "title": [f"{key} of many words" for key in ids]})
    pq.write_table(rows, whole, row_group_size=1000, compression="none", use_dictionary=False)
    content = whole.read_bytes()
    path = tmp_path / "pins.parquet"
    for cut in (3, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:cut])
        with pytest.raises(InputError):
            import_file(workspace, path)
    # A hole in the middle is only met on the way.
    middle = len(content) // 2
    path.write_bytes(content[:middle] + b"\xff" * 30_000 + content[middle + 30_000 :])
    with pytest.raises(InputError, match="damaged"):
        import_file(workspace, path)
    assert not workspace.catalogue.exists() or table(workspace, "pins") == []


def test_bytes_in_a_parquet_text_that_are_not_utf8(workspace, tmp_path):
    text = pa.array([b"ok", b"caf\xe9"], pa.binary()).view(pa.string())
    pq.write_table(pa.table({"id": ["a", "b"], "title": text}), tmp_path / "pins.parquet")
    report = import_file(workspace, tmp_path / "pins.parquet")
    assert refusals(report) == [(2, "title", "is not UTF-8")]


def test_a_line_of_any_length_is_refused_and_not_held(workspace, tmp_path, monkeypatch):
    monkeypatch.setattr(readers, "MAX_LINE", 1000)
    (tmp_path / "pins.jsonl").write_text(
        json.dumps({"id": "long", "title": "x" * 5000}) + '\n{"id": "short"}\n'
    )
    report = import_file(workspace, tmp_path / "pins.jsonl")
    assert refusals(report) == [(1, None, "the line is longer than 16 MiB")]
    (tmp_path / "pins.csv").write_text("id,title\nlong," + "x" * 5000 + "\nshort2,\n")
    report = import_file(workspace, tmp_path / "pins.csv")
    assert refusals(report) == [(2, None, "the line is longer than 16 MiB")]
    assert [row[0] for row in table(workspace, "pins")] == ["short", "short2"]


def test_what_a_rejects_file_shows_is_short_and_valid(workspace, tmp_path):
    rows = [{"id": "a\ud800"}, {"id": "b", "title": ["y" * 10_000]}]
    path = tmp_path / "pins.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    report = import_file(workspace, path)
    assert (report.refused, report.left_out) == (1, 1)
    entries = [json.loads(line) for line in report.rejects.read_text("utf-8").splitlines()]
    assert entries[0]["value"] == "'a\\ud800'"
    assert len(entries[1]["value"]) <= 201


def test_many_kinds_of_faults_are_still_a_short_summary(workspace, tmp_path):
    small_catalogue(workspace, tmp_path)
    faults = [EVENT | {"item_id": f"x{i}"} for i in range(300)]
    report = import_file(workspace, jsonl(tmp_path / "engagements.jsonl", *faults))
    assert report.reasons == {"item_id names a pin that does not exist": 300}


def test_a_catalogue_that_another_process_writes_is_waited_for_or_named(
    workspace, tmp_path, monkeypatch
):
    small_catalogue(workspace, tmp_path)
    connect = sqlite3.connect
    other = connect(workspace.catalogue, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    monkeypatch.setattr(sqlite3, "connect", lambda path, timeout: connect(path, timeout=0.05))
    with pytest.raises(Unavailable, match=r"Another process is writing.*Nothing was imported"):
        import_file(workspace, tmp_path / "pins.jsonl")
    other.execute("COMMIT")
    assert import_file(workspace, tmp_path / "pins.jsonl").taken == 2


def test_a_mapping_is_not_of_a_folder(workspace, tmp_path):
    jsonl(tmp_path / "pins.jsonl", {"id": "p1"})
    with pytest.raises(InputError, match="columns of one file"):
        import_folder(workspace, tmp_path, ImportOptions({"title": "name"}))


def test_a_folder_stops_at_a_strict_refusal(workspace, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    jsonl(folder / "pins.jsonl", {"id": "p1"})
    jsonl(folder / "products.jsonl", {"id": "s1"}, {"id": "s2", "price": "x"})
    with pytest.raises(InputError, match="1 value was refused"):
        import_folder(workspace, folder, ImportOptions(strict=True))
    assert len(table(workspace, "pins")) == 1
    assert table(workspace, "products") == []


def test_nothing_is_written_outside_the_workspace(workspace, tmp_path):
    before = {path for path in tmp_path.rglob("*") if workspace.root not in path.parents}
    path = jsonl(tmp_path / "pins.jsonl", {"id": "../../x"}, "{")
    import_file(workspace, path)
    after = {p for p in tmp_path.rglob("*") if workspace.root not in p.parents}
    assert after - before == {path} | ({Path(workspace.root)} - before)
