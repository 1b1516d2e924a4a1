"""Time and memory of large and hostile files, and arrays that are none."""

from __future__ import annotations

import gzip
import io
import time
import zipfile

import numpy as np
import pytest
from importing import jsonl, small_catalogue, table

from omnisearch.data.importers import readers
from omnisearch.data.importers.files import import_file
from omnisearch.data.importers.vectors import import_vectors
from omnisearch.data.workspace.errors import InputError


def timed(path):
    """(rows, CPU seconds) of reading a file."""
    start = time.process_time()
    rows = list(readers.open_source(path).rows)
    return rows, time.process_time() - start


def test_a_header_of_100_000_columns_is_read_in_linear_time(tmp_path):
    path = tmp_path / "products.csv"
    path.write_text(",".join(["id", *(f"c{i}" for i in range(100_000))]) + "\np1" + "," * 100_000)
    [row], seconds = timed(path)
    assert row.values["id"] == "p1"
    assert seconds < 2


def test_columns_that_are_ignored_are_named_up_to_a_hundred(workspace, tmp_path):
    path = tmp_path / "queries.csv"
    path.write_text(",".join(["text", *(f"c{i:04}" for i in range(1000))]) + "\np1" + "," * 1000)
    report = import_file(workspace, path)
    assert report.ignored == tuple(f"c{i:04}" for i in range(100))


@pytest.mark.parametrize("name", ["pins.csv", "pins.jsonl.gz"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_a_hundred_megabytes_of_line_ends_are_skipped(tmp_path, name, end):
    path = tmp_path / name
    first, last = (b"id,title", b"p1,x") if name == "pins.csv" else (b'{"id": "a"}', b'{"id": "b"}')
    blank = 100_000_000 // len(end)
    content = first + end + end * blank + last
    path.write_bytes(gzip.compress(content, 1) if name.endswith(".gz") else content)
    rows, seconds = timed(path)
    assert rows[-1].line == blank + 2
    assert seconds < 5


def npy(header, body=b""):
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + body


@pytest.mark.parametrize(
    "content",
    [
        npy(b"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2"),
        npy(b"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2)"),
        npy(b"(" * 5000),
        npy(b"'" * 11),
        npy(b"\xff\xfe\n"),
        npy(b"{'descr': '|O', 'fortran_order': False, 'shape': (2, 2), }\n", b"\0" * 32),
        npy(b"{'descr': '<f4', 'fortran_order': False, 'shape': (2, -2), }\n", b"\0" * 16),
        npy(b"{'descr': '<f4', 'fortran_order': False, 'shape': (9" + b"9" * 30 + b", 2), }\n"),
        npy(b"{'descr': '<M8[s]', 'fortran_order': False, 'shape': (2, 2), }\n", b"\0" * 32),
        npy(b"{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2, 2), }\n", b"\0" * 16),
        npy(b"{'descr': 7, 'fortran_order': False, 'shape': (2, 2), }\n", b"\0" * 16),
        npy(b"{'descr': '<f4'}\n"),
        npy(b"[]\n"),
        b"\x93NUMPY\x09\x00\x02\x00{}",
        b"\x93NUMPY",
        b"PK\x03\x04 nothing of the kind",
    ],
)
def test_an_array_that_is_none_is_refused(workspace, tmp_path, content):
    small_catalogue(workspace, tmp_path)
    path = tmp_path / "x.npy"
    path.write_bytes(content)
    (tmp_path / "x.ids").write_text("a\nb\n")
    with pytest.raises(InputError, match="array"):
        import_vectors(workspace, path, "pinsage", "pin")


def test_an_archive_of_arrays_is_refused(workspace, tmp_path):
    small_catalogue(workspace, tmp_path)
    file = io.BytesIO()
    np.savez(file, a=np.zeros((2, 2)), b=np.array(["x"]))
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("c.txt", "no array")
    (tmp_path / "x.npy").write_bytes(file.getvalue())
    with pytest.raises(InputError, match="array"):
        import_vectors(workspace, tmp_path / "x.npy", "pinsage", "pin")


def test_a_block_of_rows_is_bounded_by_bytes(workspace, tmp_path, monkeypatch):
    monkeypatch.setattr("omnisearch.data.importers.files.BLOCK_BYTES", 1000)
    rows = [{"id": f"p{i}", "title": "x" * 400} for i in range(10)]
    seen = []
    path = jsonl(tmp_path / "pins.jsonl", *rows)
    report = import_file(workspace, path, progress=lambda done, total: seen.append(done))
    assert (report.taken, len(table(workspace, "pins"))) == (10, 10)
    assert len(seen) >= 4
