"""Files in other encodings than UTF-8: found and told, or named, or refused; never mangled."""

from __future__ import annotations

import gzip
import random

import numpy as np
import pytest
from importing import jsonl, refusals, table

from omnisearch import pipeline
from omnisearch.data.importers import text_files
from omnisearch.data.importers.files import ImportOptions, import_file
from omnisearch.data.workspace.errors import InputError

FRENCH = "id;titre;prix\n1;Canapé d’angle « Élan » – créé à Nîmes, 12 €;12,50\n2;ÉTÉ : fût;9,00\n"
TITLES = [("1", "Canapé d’angle « Élan » – créé à Nîmes, 12 €", 12.5), ("2", "ÉTÉ : fût", 9.0)]
TEXTS = {
    "cp1251": "id;name\n1;Деревянный стул\n2;Стол из дуба\n",
    "koi8-r": "id;name\n1;Деревянный стул\n2;Стол из дуба\n",
    "cp866": "id;name\n1;Деревянный стул\n2;Стол из дуба\n",
    "cp1250": "id;name\n1;Stół dębowy z szufladą\n2;Krzesło różowe\n",
    "iso8859-2": "id;name\n1;Stół dębowy z szufladą\n2;Krzesło różowe\n",
    "cp1253": "id;name\n1;Ξύλινη καρέκλα\n2;Τραπέζι\n",
    "cp1254": "id;name\n1;Ahşap sandalye, yeşil ışık\n2;Koltuk takımı\n",
    "cp1255": "id;name\n1;כיסא עץ\n2;שולחן\n",
    "cp437": "id;name\n1;Küchenstuhl mit Rückenlehne\n2;Gartenmöbel\n",
    "mac_roman": "id;name\n1;Küchenstuhl für draußen, crème\n2;Gartenmöbel\n",
    "shift_jis": "id;name\n1;木製の椅子\n2;ソファー\n",
    "euc_jp": "id;name\n1;木製の椅子\n2;ソファー\n",
    "gb18030": "id;name\n1;木椅\n2;红色沙发\n",
    "big5": "id;name\n1;木椅子\n2;紅色沙發\n",
    "euc_kr": "id;name\n1;나무 의자\n2;소파\n",
}


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize(
    ("encoding", "told"),
    [
        ("cp1252", "Windows-1252 (Canapé, Élan, créé). If these words are wrong"),
        ("utf-16", "UTF-16."),
        ("utf-16-le", "UTF-16."),
        ("utf-16-be", "UTF-16."),
        ("utf-32", "UTF-32."),
        ("utf-32-be", "UTF-32."),
    ],
)
def test_an_encoding_that_is_certain_is_found_and_told(workspace, tmp_path, encoding, told, zipped):
    path = tmp_path / ("products.csv.gz" if zipped else "products.csv")
    content = FRENCH.encode(encoding)
    path.write_bytes(gzip.compress(content) if zipped else content)
    report = import_file(workspace, path, options=ImportOptions(mapping={"title": "titre"}))
    assert (report.taken, report.refused, report.left_out) == (2, 0, 0)
    assert f"It is not UTF-8: it was read as {told}" in report.notes[0]
    assert table(workspace, "products", "id, title, price") == [
        (key, title, None) for key, title, _ in TITLES
    ]


def test_json_in_older_encodings(workspace, tmp_path):
    for name, encoding in (("a.jsonl", "cp1252"), ("b.json", "utf-16"), ("c.json", "cp1252")):
        rows = [f'{{"id": "{name}{i}", "title": "Café"}}' for i in (1, 2)]
        text = "\n".join(rows) if name == "a.jsonl" else f"[{rows[0]},\n{rows[1]}]"
        (tmp_path / name).write_bytes(text.encode(encoding))
        report = import_file(workspace, tmp_path / name, "pins")
        assert (report.taken, report.refused) == (2, 0)
        assert report.notes[0].startswith("It is not UTF-8")
    assert {title for _, title, _ in table(workspace, "pins", "id, title, link")} == {"Café"}


@pytest.mark.parametrize("encoding", TEXTS)
def test_other_encodings_are_refused_until_they_are_named(workspace, tmp_path, encoding):
    path = tmp_path / "products.csv"
    path.write_bytes(TEXTS[encoding].encode(encoding))
    mapping = {"title": "name"}
    with pytest.raises(InputError, match=r"neither UTF-8 nor Windows-1252.*--encoding"):
        pipeline.import_files(workspace, [path], mapping=mapping)
    [report] = pipeline.import_files(workspace, [path], mapping=mapping, encoding=encoding)
    assert (report.taken, report.left_out) == (2, 0)
    titles = [line.split(";")[1] for line in TEXTS[encoding].splitlines()[1:]]
    assert [title for _, title, _ in table(workspace, "products", "id, title, brand")] == titles


def test_one_wrong_byte_deep_in_a_file_of_utf8_is_that_of_one_value(workspace, tmp_path):
    rows = [{"id": f"p{i:05}", "title": f"Gartenmöbel {i}"} for i in range(30_000)]
    path = jsonl(tmp_path / "products.jsonl", *rows)
    content = path.read_bytes()
    path.write_bytes(content.replace("öbel 25000".encode(), b"\xf6bel 25000"))
    report = import_file(workspace, path)
    assert refusals(report) == [(25_001, None, "is not UTF-8")]
    found = dict((key, title) for key, title, _ in table(workspace, "products", "id, title, brand"))
    assert found == {row["id"]: row["title"] for row in rows if row["id"] != "p25000"}


def test_a_first_letter_deep_in_an_older_file_is_read(workspace, tmp_path):
    lines = [f"p{i},plain title\n" for i in range(100_000)]
    lines[90_000] = "p90000,Möbel\n"
    path = tmp_path / "pins.csv"
    path.write_bytes(("id,title\n" + "".join(lines)).encode("cp1252"))
    report = import_file(workspace, path)
    assert (report.taken, report.left_out) == (100_000, 0)
    assert "(Möbel)" in report.notes[0]
    [row] = (row for row in table(workspace, "pins", "id, title, link") if row[0] == "p90000")
    assert row[1] == "Möbel"


def test_half_of_a_file_in_another_encoding_is_refused(workspace, tmp_path):
    """As two exports put together: neither encoding reads it."""
    path = tmp_path / "pins.csv"
    line = "1,Möbel für Gärten\n"
    path.write_bytes(b"id,title\n" + line.encode() * 3 + line.encode("cp1252") * 6)
    with pytest.raises(InputError, match="neither UTF-8"):
        import_file(workspace, path)


def test_an_encoding_that_is_given_is_not_looked_for(workspace, tmp_path):
    path = tmp_path / "pins.csv"
    path.write_bytes("id,title\np1,Døevìná židle\n".encode("cp1252"))
    [report] = pipeline.import_files(workspace, [path], encoding="windows-1250")
    assert report.notes == ()
    assert table(workspace, "pins", "id, title, link")[0][1] == "Dřevěná židle"
    [report] = pipeline.import_files(workspace, [path], encoding="UTF8")
    assert refusals(report) == [(2, "title", "is not UTF-8")]


def test_bytes_that_an_encoding_does_not_have_are_refused_by_value(workspace, tmp_path):
    path = tmp_path / "pins.csv"
    path.write_bytes(b"id,title\n" + b"p1,caf\xe9\n" * 20 + b"p2,\x81\np3,ok\n")
    report = import_file(workspace, path)
    assert refusals(report) == [(22, "title", "is not UTF-8")]
    found = {key: title for key, title, _ in table(workspace, "pins", "id, title, link")}
    assert found == {"p1": "café", "p2": None, "p3": "ok"}


@pytest.mark.parametrize("name", ["klingon", "hex", "rot13", "", "windows 1252\0"])
def test_an_encoding_that_does_not_exist(workspace, tmp_path, name):
    path = jsonl(tmp_path / "pins.jsonl", {"id": "a"})
    with pytest.raises(InputError, match="There is no encoding"):
        import_file(workspace, path, options=ImportOptions(encoding=name))


def test_vectors_and_data_sets_take_no_encoding(workspace, tmp_path):
    (tmp_path / "v.npy").write_bytes(b"")
    for options in ({"vectors": "pinsage"}, {"format": "esci"}):
        with pytest.raises(InputError, match="--encoding"):
            pipeline.import_files(workspace, [tmp_path / "v.npy"], encoding="cp1252", **options)


def test_xml_in_another_encoding_than_it_says(workspace, tmp_path):
    xml = "<rss><channel><item><id>1</id><title>Möbel</title></item></channel></rss>"
    path = tmp_path / "feed.xml"
    path.write_bytes(xml.encode("cp1252"))
    with pytest.raises(InputError, match="--encoding"):
        pipeline.import_files(workspace, [path], format="google-merchant")
    pipeline.import_files(workspace, [path], format="google-merchant", encoding="cp1252")
    assert table(workspace, "products", "id, title, brand") == [("1", "Möbel", None)]


def test_reading_in_parts_is_reading_at_once(tmp_path, monkeypatch):
    draw = random.Random(1)
    text = "".join(draw.choice("aé€\n椅😀,") for _ in range(5000))
    monkeypatch.setattr(text_files, "SAMPLE", 7)
    path = tmp_path / "x.txt"
    for encoding in ("utf-16", "utf-16-be", "utf-32", "gb18030"):
        path.write_bytes(text.encode(encoding))
        raw, file = text_files.open_text(path, encoding)
        with raw, file:
            assert file.read() == text.encode()


def test_a_list_of_ids_as_powershell_writes_it(workspace, tmp_path):
    import_file(workspace, jsonl(tmp_path / "pins.jsonl", {"id": "é1"}, {"id": "é2"}))
    np.save(tmp_path / "v.npy", np.eye(2, dtype=np.float32))
    (tmp_path / "v.txt").write_bytes("é1\r\né2\r\n".encode("utf-16"))
    [report] = pipeline.import_files(workspace, [tmp_path / "v.npy"], vectors="pinsage")
    assert (report.taken, report.refused) == (2, 0)
    (tmp_path / "v.txt").write_bytes("é1\r\né2\r\n".encode("utf-16")[:-1])
    with pytest.raises(InputError, match="damaged or truncated"):
        pipeline.import_files(workspace, [tmp_path / "v.npy"], vectors="pinsage")
