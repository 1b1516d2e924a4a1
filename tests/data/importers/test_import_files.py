"""Files in all formats into the catalogue: what is taken, repeated, updated and refused."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from importing import jsonl, refusals, small_catalogue, table, taken

from omnisearch.cli.importing import sentences
from omnisearch.data.catalogue.items import read_items
from omnisearch.data.catalogue.schema import get_meta, open_catalogue
from omnisearch.data.importers.files import ImportOptions, import_file
from omnisearch.data.importers.folders import import_folder
from omnisearch.data.importers.rows import engaged_queries
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import InputError
from omnisearch.data.workspace.files import sha256_file

PRODUCT = {
    "id": "s1",
    "title": 'A "copper" sink,\nhammered',
    "price": 249.5,
    "currency": "usd",
    "colours": ["antique copper", "brown"],
    "created_at": "2024-02-29T12:00:00+02:00",
    "language": "EN",
    "country": "us",
}
STORED = {
    "id": "s1",
    "title": 'A "copper" sink,\nhammered',
    "price": 249.5,
    "currency": "USD",
    "colours": ["antique copper", "brown"],
    "created_at": 1709200800,
    "language": "en",
    "country": "US",
}


def item(workspace: Workspace, entity: str, key: str) -> dict:
    db = open_catalogue(workspace.catalogue)
    [[found]] = read_items(db, entity, ids=[key])
    db.conn.close()
    return {name: value for name, value in found.items() if value is not None}


def as_csv(path: Path, delimiter: str) -> Path:
    cells = ["s1", '"A ""copper"" sink,\nhammered"', "249.5", "usd", "antique copper|brown"]
    cells += ["2024-02-29T12:00:00+02:00", "EN", "us"]
    path.write_text(delimiter.join(PRODUCT) + "\n" + delimiter.join(cells) + "\n")
    return path


def as_parquet(path: Path) -> Path:
    moment = datetime(2024, 2, 29, 10, tzinfo=UTC)
    rows = pa.Table.from_pylist([PRODUCT | {"created_at": moment}])
    pq.write_table(rows, path)
    return path


def as_gzip(path: Path) -> Path:
    path.write_bytes(gzip.compress(json.dumps(PRODUCT).encode()))
    return path


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("products.jsonl", lambda path: jsonl(path, PRODUCT)),
        ("products.csv", lambda path: as_csv(path, ",")),
        ("products.tsv", lambda path: as_csv(path, "\t")),
        ("products.parquet", as_parquet),
        ("products.jsonl.gz", as_gzip),
    ],
)
def test_every_format_gives_the_same_product(workspace, tmp_path, name, write):
    path = write(tmp_path / name)
    report = taken(workspace, path)
    assert (report.rows, report.taken, report.changed, report.kind) == (1, 1, 1, "products")
    assert item(workspace, "product", "s1") == STORED
    columns = "file, sha256, kind, format, rows, taken, changed, refused, rejects"
    [recorded] = table(workspace, "imports", columns)
    suffix = path.name.removesuffix(".gz").split(".")[1]
    assert recorded == (str(path), sha256_file(path), "products", suffix, 1, 1, 1, 0, None)


def test_an_import_is_recorded_by_its_absolute_path(workspace, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("pins.csv").write_text("id,title,image\np1,A,pictures/1.svg\n")
    taken(workspace, Path("pins.csv"))
    columns = "file, kind, rows"
    assert table(workspace, "imports", columns) == [(str(tmp_path / "pins.csv"), "pins", 1)]


def test_a_byte_order_mark_is_no_part_of_the_first_field(workspace, tmp_path):
    path = tmp_path / "pins.csv"
    path.write_bytes(b"\xef\xbb\xbfid,title\np1,Caf\xc3\xa9\n")
    taken(workspace, path)
    assert table(workspace, "pins", "id, title, link") == [("p1", "Café", None)]


def test_repeating_every_kind_changes_nothing(workspace, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    jsonl(folder / "pins.jsonl", {"id": "p1", "title": "One", "engaged_queries": ["a", ["b", 3]]})
    jsonl(folder / "boards.jsonl", {"id": "b1", "items": ["p1"]})
    jsonl(folder / "queries.jsonl", {"text": "Copper  Sink", "language": "en"})
    event = {"time": 5, "query": "copper sink", "entity": "pin", "item_id": "p1", "action": "save"}
    jsonl(folder / "engagements.jsonl", event, event | {"action": "click", "event_id": 7})
    jsonl(folder / "judgments.jsonl", {**event, "grade": 2})
    before = import_folder(workspace, folder)
    state = [table(workspace, name) for name in ("pins", "boards", "board_items", "queries")]
    state += [table(workspace, name) for name in ("engagements", "judgments")]
    after = import_folder(workspace, folder)
    assert [report.changed for report in before] == [1, 2, 1, 2, 1]
    assert [report.changed for report in after] == [0] * 5
    assert [report.taken for report in before] == [report.taken for report in after]
    again = [table(workspace, name) for name in ("pins", "boards", "board_items", "queries")]
    again += [table(workspace, name) for name in ("engagements", "judgments")]
    assert again == state


def test_an_absent_field_stays_and_a_null_clears(workspace, tmp_path):
    first = {"id": "p1", "title": "Old", "description": "D", "board_titles": ["kitchens"]}
    taken(workspace, jsonl(tmp_path / "pins.jsonl", first))
    report = taken(
        workspace, jsonl(tmp_path / "pins.jsonl", {"id": "p1", "title": "New"}, {"id": "p2"})
    )
    assert report.changed == 2
    assert item(workspace, "pin", "p1") == first | {"title": "New"}
    taken(workspace, jsonl(tmp_path / "pins.jsonl", {"id": "p1", "description": None}))
    assert item(workspace, "pin", "p1") == {
        "id": "p1",
        "title": "New",
        "board_titles": ["kitchens"],
    }
    (tmp_path / "pins.csv").write_text("id,title\np1,\n")  # an empty cell is a null
    taken(workspace, tmp_path / "pins.csv")
    assert item(workspace, "pin", "p1") == {"id": "p1", "board_titles": ["kitchens"]}


def test_engaged_queries_are_stored_as_enrichment_writes_them(workspace, tmp_path):
    given = ["Boho  Bedroom", ["copper sink", 4, "1970-01-02"], ["lamp", 2.5], ["LAMP", 9], ""]
    taken(workspace, jsonl(tmp_path / "pins.jsonl", {"id": "p1", "engaged_queries": given}))
    assert item(workspace, "pin", "p1")["engaged_queries"] == [
        ["copper sink", 4, 86400],
        ["lamp", 2.5, 0],
        ["boho bedroom", 1, 0],
    ]


def test_columns_are_renamed_and_unknown_ones_named(workspace, tmp_path):
    path = jsonl(tmp_path / "x.jsonl", {"sku": 17, "product_title": "Sink", "title": "t", "w": 1})
    mapping = {"id": "sku", "title": "product_title"}
    report = taken(workspace, path, "products", mapping=mapping)
    assert (report.ignored, report.attributes) == ((), ("w",))
    assert item(workspace, "product", "17") == {"id": "17", "title": "Sink", "attributes": {"w": 1}}


def test_unknown_columns_of_other_kinds_are_named(workspace, tmp_path):
    report = taken(workspace, jsonl(tmp_path / "queries.jsonl", {"text": "sink", "w": 1}))
    assert (report.ignored, report.attributes) == (("w",), ())


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_a_mapping_to_no_column_refuses_the_file(workspace, tmp_path, suffix):
    path = tmp_path / f"pins.{suffix}"
    path.write_text("id,name\np1,x\n" if suffix == "csv" else '{"id": "p1", "name": "x"}\n')
    with pytest.raises(InputError, match="titel"):
        import_file(workspace, path, options=ImportOptions({"title": "titel"}))
    assert not workspace.catalogue.exists() or table(workspace, "pins") == []
    with pytest.raises(InputError, match="no field 'titel'"):
        import_file(workspace, path, options=ImportOptions({"titel": "name"}))


def test_queries_of_events_and_judgments_join_the_queries(workspace, tmp_path):
    small_catalogue(workspace, tmp_path)
    event = {"time": 1, "entity": "pin", "item_id": "p1", "action": "save"}
    path = jsonl(
        tmp_path / "engagements.jsonl",
        event | {"query": "Boho  Bedroom"},
        event | {"query": "boho bedroom", "time": 2},
        event | {"query": "rug", "entity": "query", "item_id": "Jute Rug", "action": "click"},
        event | {"query": "never taken", "item_id": "p9"},
    )
    assert import_file(workspace, path).refused == 1
    row = {"query": "Copper", "entity": "product", "item_id": "s1", "grade": 0.5}
    taken(workspace, jsonl(tmp_path / "judgments.jsonl", row))
    assert table(workspace, "queries", "id, text, split") == [
        ("boho bedroom", "Boho  Bedroom", None),
        ("copper", "Copper", None),
        ("jute rug", "Jute Rug", None),
        ("rug", "rug", None),
    ]
    path = jsonl(tmp_path / "queries.jsonl", {"text": "COPPER", "country": "gb", "split": "test"})
    taken(workspace, path)
    columns = "id, text, country, split"
    assert ("copper", "Copper", "GB", "test") in table(workspace, "queries", columns)


def test_one_event_is_one_event(workspace, tmp_path):
    small_catalogue(workspace, tmp_path)
    event = {"time": 1, "query": "q", "entity": "pin", "item_id": "p1", "action": "save"}
    named = event | {"event_id": "e1"}
    report = taken(
        workspace,
        jsonl(
            tmp_path / "engagements.jsonl",
            event,
            event | {"time": "1970-01-01T00:00:01Z", "query": " Q ", "surface": "search"},
            event | {"position": 3},
            named,
            named,
        ),
    )
    assert (report.taken, report.changed) == (5, 3)
    later = jsonl(tmp_path / "engagements.jsonl", named | {"count": 4})
    assert taken(workspace, later).changed == 1
    found = table(workspace, "engagements", "count, COALESCE(position, 0), action")
    assert found == [(1, 0, "save"), (1, 3, "save"), (4, 0, "save")]


def test_references_to_what_does_not_exist_are_refused(workspace, tmp_path):
    small_catalogue(workspace, tmp_path)
    boards = jsonl(
        tmp_path / "boards.jsonl",
        {"id": "b2", "items": ["p1", "p9", {"entity": "product", "id": "s1"}, {"entity": "x"}]},
    )
    report = import_file(workspace, boards)
    assert (report.rows, report.taken) == (5, 3)
    assert refusals(report) == [
        (1, "item_id", "names a pin that does not exist"),
        (1, "items", "is not a known entity (known: pin, product)"),
    ]
    items = jsonl(
        tmp_path / "board_items.jsonl",
        {"board_id": "b9", "item_id": "p1"},
        {"board_id": "b1", "item_id": "s1"},
        {"board_id": "b1", "item_id": "s1", "entity": "product", "added_at": 9},
    )
    assert refusals(import_file(workspace, items)) == [
        (1, "board_id", "names a board that does not exist"),
        (2, "item_id", "names a pin that does not exist"),
    ]
    assert table(workspace, "board_items") == [
        ("b1", "product", "s1", 9),
        ("b2", "pin", "p1", None),
        ("b2", "product", "s1", None),
    ]
    row = {"query": "q", "entity": "product", "item_id": "p1", "grade": 1}
    judgments = jsonl(tmp_path / "judgments.jsonl", row, row | {"entity": "pin"})
    expected = [(1, "item_id", "names a product that does not exist")]
    assert refusals(import_file(workspace, judgments)) == expected


def test_of_two_rows_that_contradict_each_other_the_first_is_taken(workspace, tmp_path):
    rows = [{"id": "p1", "title": "first"}, {"id": "p1", "title": "first"}]
    path = jsonl(tmp_path / "pins.jsonl", *rows, {"id": "p1", "title": "second"}, {"id": "p1"})
    report = import_file(workspace, path)
    reason = "appears earlier in this file with other values"
    assert refusals(report) == [(3, "id", reason), (4, "id", reason)]
    assert (report.taken, report.changed) == (2, 1)
    assert item(workspace, "pin", "p1")["title"] == "first"


def test_a_contradiction_is_seen_over_any_distance(workspace, tmp_path):
    rows = [{"id": f"p{i}"} for i in range(2500)]
    path = jsonl(tmp_path / "pins.jsonl", *rows, {"id": "p3", "title": "late"}, {"id": "p4"})
    assert refusals(import_file(workspace, path)) == [
        (2501, "id", "appears earlier in this file with other values")
    ]


def test_strict_imports_nothing_and_says_why(workspace, tmp_path):
    small_catalogue(workspace, tmp_path)
    path = jsonl(tmp_path / "pins.jsonl", {"id": "p7"}, "{", {"id": "p8", "created_at": "soon"})
    with pytest.raises(
        InputError,
        match=r"1 of 3 rows and 1 value were refused.*nothing of this file was imported",
    ) as said:
        import_file(workspace, path, options=ImportOptions(strict=True))
    assert [row[0] for row in table(workspace, "pins")] == ["p1", "p2"]
    [name] = [row[-1] for row in table(workspace, "imports") if row[-1]]
    listed = workspace.rejects / name
    assert str(listed) in said.value.how
    assert [json.loads(line)["line"] for line in listed.read_text().splitlines()] == [2, 3]
    assert table(workspace, "imports", "rows, taken, changed, refused")[-1] == (3, 0, 0, 1)


def test_deletions_drop_an_entity_with_all_that_names_it(workspace, tmp_path):
    small_catalogue(workspace, tmp_path)
    items = [{"board_id": "b1", "item_id": key} for key in ("p1", "p2")]
    taken(workspace, jsonl(tmp_path / "board_items.jsonl", *items))
    event = {"time": 1, "entity": "pin", "action": "save", "grade": 1}
    events = [event | {"query": q, "item_id": p} for q in "ab" for p in ("p1", "p2")]
    related = event | {"entity": "query", "query": "b", "item_id": "A"}
    taken(workspace, jsonl(tmp_path / "engagements.jsonl", *events, related))
    taken(workspace, jsonl(tmp_path / "judgments.jsonl", *events))
    doomed = [{"entity": "pin", "id": "p1"}, {"entity": "query", "id": " A "}]
    path = jsonl(tmp_path / "deletions.jsonl", *doomed, {"entity": "pin", "id": "never there"})
    assert taken(workspace, path).changed == 2
    assert taken(workspace, path).changed == 0
    assert table(workspace, "pins", "id, title, link") == [("p2", None, None)]
    assert table(workspace, "board_items", "board_id, entity, item_id") == [("b1", "pin", "p2")]
    assert table(workspace, "engagements", "query, entity, item_id") == [("b", "pin", "p2")]
    assert table(workspace, "judgments", "query, entity, item_id") == [("b", "pin", "p2")]
    boards = jsonl(tmp_path / "deletions.jsonl", {"entity": "board", "id": "b1"}, {"entity": "x"})
    reason = "is not a known entity (known: pin, product, query, board)"
    assert refusals(import_file(workspace, boards)) == [(2, "entity", reason)]
    assert table(workspace, "boards") == [] == table(workspace, "board_items")


def test_a_folder_of_spreadsheets_is_told_how_to_save_them(workspace, tmp_path):
    (tmp_path / "products.xlsx").write_bytes(b"PK")
    with pytest.raises(InputError, match=r"products.xlsx: .* are not read. Save the sheet as CSV"):
        import_folder(workspace, tmp_path)


def test_hidden_and_temporary_files_of_a_folder_are_passed_over(workspace, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("~$products.xlsx", ".~lock.products.ods#", ".DS_Store", "pins.csv.part"):
        (folder / name).write_bytes(b"x")
    with pytest.raises(InputError, match=r"in: .*has no files, or only hidden and temporary ones"):
        import_folder(workspace, folder)
    jsonl(folder / "pins.jsonl", {"id": "p1", "title": "One"})
    [report] = import_folder(workspace, folder)
    assert (report.taken, report.notes) == (1, ())


def test_a_folder_is_imported_in_the_order_of_its_references(workspace, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    event = {"time": 1, "query": "q", "entity": "pin", "item_id": "p1", "action": "save"}
    jsonl(folder / "engagements-2024.jsonl", event)
    jsonl(folder / "engagements-2025.jsonl", event | {"time": 2})
    jsonl(folder / "board_items.jsonl", {"board_id": "b1", "item_id": "p1"})
    jsonl(folder / "boards.jsonl", {"id": "b1"})
    jsonl(folder / "pins.jsonl", {"id": "p1", "title": "One"})
    (folder / "meta.json").write_text('{"synthetic": true}')
    (folder / "notes.txt").write_text("not ours")
    reports = import_folder(workspace, folder)
    assert [report.kind for report in reports] == [
        "pins",
        "boards",
        "board_items",
        "engagements",
        "engagements",
    ]
    assert all(report.refused == 0 for report in reports)
    assert reports[0].notes == ("Other files of the folder were not imported: notes.txt.",)
    db = open_catalogue(workspace.catalogue)
    assert get_meta(db, "synthetic") is True
    db.conn.close()


def test_progress_ends_at_the_total(workspace, tmp_path):
    seen: list[tuple[int, int]] = []
    path = jsonl(tmp_path / "pins.jsonl", *({"id": f"p{i}"} for i in range(3000)))
    import_file(workspace, path, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (path.stat().st_size, path.stat().st_size)
    assert len(seen) >= 3
    assert all(a[0] <= b[0] for a, b in pairwise(seen))


def test_a_blank_weight_of_an_engaged_query_is_the_usual_one(workspace, tmp_path):
    given = [["a", ""], ["b", float("nan")], ["c", 3]]
    taken(workspace, jsonl(tmp_path / "pins.jsonl", {"id": "p1", "engaged_queries": given[::2]}))
    assert item(workspace, "pin", "p1")["engaged_queries"] == [["c", 3, 0], ["a", 1, 0]]
    assert engaged_queries(given[:2], "engaged_queries") == '[["a",1,0],["b",1,0]]'


def test_actions_however_they_are_spelled(workspace, tmp_path):
    small_catalogue(workspace, tmp_path)
    event = {"time": 1, "query": "q", "entity": "pin", "item_id": "p1"}
    said = ["Click", "ADD TO CART", "add-to-cart", "purchase", " Purchase ", "checkout"]
    rows = [event | {"action": action} for action in said]
    report = taken(workspace, jsonl(tmp_path / "engagements.jsonl", *rows))
    assert report.changed == 3  # the same event, spelled in another way
    found = [action for _, _, action in table(workspace, "engagements", "query, time, action")]
    assert sorted(found) == ["add_to_cart", "checkout", "click"]


def test_a_files_own_words_for_actions_are_taken(workspace, tmp_path):
    small_catalogue(workspace, tmp_path)
    path = tmp_path / "log.csv"
    path.write_text(
        "date,query,entity,item_id,quoi\n"
        "2026-11-01,lampe,pin,p1,Clic\n2026-11-01,lampe,pin,p2, vue \n"
        "2026-11-01,lampe,Artikel,s1,panier\n2026-11-01,lampe,product,s1,select_item\n"
        "2026-11-01,lampe,pin,p1,save\n2026-11-01,lampe,pin,p1,hum\n",
        encoding="utf-8",
    )
    mapping = {
        "time": "date",
        "action": "quoi",
        "action.click": "clic,VUE",
        "action.add_to_cart": "panier",
        "entity.product": "artikel",
    }
    report = import_file(workspace, path, "engagements", ImportOptions(mapping=mapping))
    assert refusals(report)[0][1:2] == ("action",) and report.refused == 1
    assert "action.click=" in " ".join(sentences(report))
    assert sorted(table(workspace, "engagements", "item_id, action, query")) == [
        ("p1", "click", "lampe"),
        ("p1", "save", "lampe"),
        ("p2", "click", "lampe"),
        ("s1", "add_to_cart", "lampe"),
        ("s1", "click", "lampe"),
    ]


@pytest.mark.parametrize(
    ("mapping", "told"),
    [
        ({"action.clic": "click"}, "action has no value 'clic'"),
        ({"action.click": "vue", "action.save": "VUE"}, "The word 'vue' is given to both"),
        ({"title.x": "y"}, "have no field 'title.x'"),
    ],
)
def test_a_wrong_mapping_of_words_is_refused(workspace, tmp_path, mapping, told):
    path = tmp_path / "log.csv"
    path.write_text("time,query,entity,item_id,action\n")
    with pytest.raises(InputError, match=told):
        import_file(workspace, path, "engagements", ImportOptions(mapping=mapping))
