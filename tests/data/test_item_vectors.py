"""Item vectors on disk: merged, replaced, checked."""

from __future__ import annotations

import os
import sqlite3
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnisearch.data.catalogue import vectors_write
from omnisearch.data.catalogue.schema import open_catalogue
from omnisearch.data.catalogue.vectors import check_item_vectors, open_all_vectors, open_vectors
from omnisearch.data.catalogue.vectors_write import write_vectors
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import Corrupt, InputError, NotReady
from omnisearch.data.workspace.files import sha256_file


@pytest.fixture
def db(workspace):
    db = open_catalogue(workspace.catalogue, create=True)
    yield db
    db.conn.close()


keys = st.text('abcé\n"', min_size=1, max_size=2)


@settings(max_examples=25)
@given(
    st.lists(
        st.dictionaries(keys, st.integers(0, 99), min_size=1),
        min_size=1,
        max_size=4,
    )
)
def test_later_rows_replace_earlier_ones(tmp_path_factory, writes):
    workspace = Workspace.create(tmp_path_factory.mktemp("vectors"))
    db = open_catalogue(workspace.catalogue, create=True)
    expected: dict[str, int] = {}
    for rows in writes:
        expected |= rows
        vectors = np.array([[value, 1] for value in rows.values()], np.float32)
        found = write_vectors(workspace, db, "image", "pin", list(rows), vectors)
        assert dict(zip(found.ids, found.vectors[:, 0].tolist(), strict=True)) == expected
    assert len(list(workspace.item_vectors.glob("*.npy"))) == 1
    assert len(list(workspace.item_vectors.glob("*.ids"))) == 1
    db.conn.close()


def test_rows_of_absent_ids_are_zeros(workspace, db):
    write_vectors(workspace, db, "image", "pin", ["a", "b"], np.eye(2, dtype=np.float32))
    found = open_vectors(workspace, db, "image", "pin")
    rows, present = found.rows(["b", "none", "a"])
    assert rows.tolist() == [[0, 1], [0, 0], [1, 0]]
    assert present.tolist() == [True, False, True]
    assert rows.dtype == np.float32
    assert found.rows([])[0].shape == (0, 2)
    assert set(open_all_vectors(workspace, db, "pin")) == {"image"}
    assert open_all_vectors(workspace, db, "product") == {}
    assert open_vectors(workspace, db, "image", "product") is None


@pytest.mark.parametrize(
    ("ids", "vectors", "said"),
    [
        (["a"], np.eye(2), "1 ids and 2 vectors"),
        (["a"], np.array([[1, np.nan]]), "NaN or infinity"),
        (["a"], np.array([[1, 1e300]]), "NaN or infinity"),
        (["a"], np.array([[3e30, 3e30]]), "too long for float32"),
        (["a"], np.ones(3), "shape"),
        (["a"], np.array([["x"]]), "numeric"),
        (["a"], np.ones((1, 3)), "3 dimensions, the existing ones 2"),
    ],
)
def test_vectors_that_do_not_fit_change_nothing(workspace, db, ids, vectors, said):
    write_vectors(workspace, db, "image", "pin", ["a"], np.ones((1, 2), np.float32))
    with pytest.raises(InputError, match=said):
        write_vectors(workspace, db, "image", "pin", ids, vectors)
    assert open_vectors(workspace, db, "image", "pin").vectors.tolist() == [[1, 1]]


@pytest.mark.parametrize("suffix", [".npy", ".ids"])
@pytest.mark.parametrize("damage", ["cut", "gone", "swapped"])
def test_a_damaged_file_is_named(workspace, db, suffix, damage):
    write_vectors(workspace, db, "image", "pin", ["a", "b"], np.eye(2, dtype=np.float32))
    [path] = workspace.item_vectors.glob(f"*{suffix}")
    if damage == "cut":
        path.write_bytes(path.read_bytes()[: -3 if suffix == ".npy" else 4])
    elif damage == "gone":
        path.unlink()
    elif suffix == ".npy":
        np.save(path, np.eye(3, dtype=np.float32))
    else:
        path.write_bytes(b'"a"\n')
    with pytest.raises(Corrupt, match="again") as error:
        open_vectors(workspace, db, "image", "pin")
    assert "image" in error.value.where


def flip(path, at: int, bit: int = 6) -> None:
    """Flip one bit, and keep the file's size and times."""
    before = path.stat()
    content = bytearray(path.read_bytes())
    content[at] ^= 1 << bit
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("suffix", [".npy", ".ids", ".made"])
def test_one_flipped_bit_is_found(workspace, db, suffix):
    made = np.arange(32, dtype=np.uint8).reshape(2, 16)
    vectors = np.eye(2, dtype=np.float32)
    write_vectors(workspace, db, "image", "pin", ["a", "b"], vectors, made=made, made_by="m")
    assert check_item_vectors(workspace, db) == []
    [path] = workspace.item_vectors.glob(f"*{suffix}")
    flip(path, {".npy": -2, ".ids": 1, ".made": 5}[suffix], bit=1)
    [problem] = check_item_vectors(workspace, db)
    assert path.name in problem and "does not match its hash" in problem
    assert "Import them again, or run `omnisearch enrich images` if it made them." in problem
    os.utime(path)  # another version of the file
    with pytest.raises(Corrupt, match="hash"):
        open_vectors(workspace, db, "image", "pin")


@pytest.mark.parametrize("value", [np.nan, np.inf, 2e38])
def test_a_right_hash_does_not_make_values_usable(workspace, db, value):
    write_vectors(workspace, db, "image", "pin", ["a", "b"], np.eye(2, dtype=np.float32))
    [path] = workspace.item_vectors.glob("*.npy")
    np.save(path, np.array([[1, 0], [0, value]], np.float32))
    db.conn.execute("UPDATE item_vectors SET sha256 = ?", [sha256_file(path)])
    with pytest.raises(Corrupt, match=r"1 vectors hold NaN.* the first that of 'b'"):
        open_vectors(workspace, db, "image", "pin")


def test_hashes_of_what_rows_were_made_of_stay_with_their_rows(workspace, db):
    made = np.arange(1, 33, dtype=np.uint8).reshape(2, 16)
    eye = np.eye(2, dtype=np.float32)
    write_vectors(workspace, db, "text", "pin", ["a", "b"], eye, made=made, made_by="m")
    found = write_vectors(workspace, db, "text", "pin", ["c", "a"], eye)  # imported
    assert found.ids == ["a", "b", "c"] and found.made_by == "m"
    assert found.made.tolist() == [[0] * 16, made[1].tolist(), [0] * 16]
    found = write_vectors(workspace, db, "text", "pin", ["a"], eye[:1], replace=True)
    assert found.made is None and found.made_by is None


def test_leftovers_go_and_what_is_being_published_stays(workspace, db):
    write_vectors(workspace, db, "image", "pin", ["a"], np.ones((1, 2), np.float32))
    folder = workspace.item_vectors
    stem = f"text-product-{'0' * 16}"
    left = [folder / f"{stem}.npy", folder / f"{stem}.ids", folder / f"{stem}.made"]
    for path in left:
        path.touch()
    (folder / "notes.txt").touch()
    # Another process has its files in place and has not committed.
    other = sqlite3.connect(workspace.catalogue)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        db.conn.execute("PRAGMA busy_timeout = 10")
        write_vectors(workspace, db, "image", "pin", ["b"], np.ones((1, 2), np.float32))
    assert all(path.exists() for path in left)
    other.close()
    write_vectors(workspace, db, "image", "pin", ["b"], np.ones((1, 2), np.float32))
    assert not any(path.exists() for path in left) and (folder / "notes.txt").exists()
    assert len(list(folder.glob("*-pin-*"))) == 2


def test_a_reader_of_replaced_files_is_told_to_run_again(workspace, db):
    write_vectors(workspace, db, "image", "pin", ["a"], np.ones((1, 2), np.float32))
    db.conn.execute("BEGIN")
    db.conn.execute("SELECT * FROM item_vectors").fetchall()
    other = open_catalogue(workspace.catalogue)
    write_vectors(workspace, other, "image", "pin", ["a"], np.zeros((1, 2), np.float32))
    with pytest.raises(NotReady, match="replaced"):
        open_vectors(workspace, db, "image", "pin")
    other.conn.close()


def test_others_write_while_an_array_is_merged(workspace, db, monkeypatch):
    """The slow part holds no lock, and what came meanwhile is merged with, not overwritten."""

    def write(connection, ids, value):
        rows = np.full((len(ids), 2), value, np.float32)
        return write_vectors(workspace, connection, "image", "pin", ids, rows)

    write(db, ["a", "b"], 1)
    digest_of, others = vectors_write.digest_of, []

    def hashed(path):
        if path.suffix == ".tmp" and not others:
            others.append(open_catalogue(workspace.catalogue))
            others[0].conn.execute("PRAGMA busy_timeout = 0")
            write(others[0], ["b", "c"], 2)
        return digest_of(path)

    monkeypatch.setattr(vectors_write, "digest_of", hashed)
    rows, present = write(db, ["a", "d"], 3).rows(["a", "b", "c", "d"])
    assert present.all() and rows[:, 0].tolist() == [3, 2, 2, 3]
    assert not list(workspace.item_vectors.glob(".*"))
    others[0].conn.close()


def test_a_writer_that_others_overtake_again_and_again_ends(workspace, db, monkeypatch):
    eye, other = np.eye(2, dtype=np.float32), open_catalogue(workspace.catalogue)
    other.conn.execute("PRAGMA busy_timeout = 0")
    write_vectors(workspace, db, "image", "pin", ["a", "b"], eye)
    digest_of, overtaken = vectors_write.digest_of, []

    def hashed(path):
        if path.suffix == ".tmp":
            assert len(overtaken) < 20, "it never ends"
            overtaken.append(path)
            with monkeypatch.context() as once, suppress(sqlite3.OperationalError):
                once.setattr(vectors_write, "digest_of", digest_of)
                rows = np.full((1, 2), len(overtaken), np.float32)
                write_vectors(workspace, other, "image", "pin", ["b"], rows)
        return digest_of(path)

    monkeypatch.setattr(vectors_write, "digest_of", hashed)
    found = write_vectors(workspace, db, "image", "pin", ["c"], eye[:1])
    rows, present = found.rows(["a", "b", "c"])
    assert present.all() and rows[1, 0] > 1, "what the others wrote is kept"
    assert not db.conn.in_transaction
    other.conn.close()


def test_rows_of_two_models_are_never_mixed(workspace, db, monkeypatch):
    """A model's rows are merged with its own, also where another model's take their place."""
    eye, made = np.eye(2, dtype=np.float32), np.ones((1, 16), np.uint8)
    write_vectors(workspace, db, "text", "pin", ["a"], eye[:1], made=made, made_by="one")
    other, digest_of = open_catalogue(workspace.catalogue), vectors_write.digest_of

    def hashed(path):
        if path.suffix == ".tmp":
            monkeypatch.setattr(vectors_write, "digest_of", digest_of)
            write_vectors(
                *(workspace, other, "text", "pin", ["a"], eye[1:]),
                replace=True, made=made, made_by="two",
            )  # fmt: skip
        return digest_of(path)

    monkeypatch.setattr(vectors_write, "digest_of", hashed)
    with pytest.raises(NotReady, match="another model"):
        write_vectors(workspace, db, "text", "pin", ["b"], eye[:1], made=made, made_by="one")
    found = open_vectors(workspace, db, "text", "pin")
    assert (found.ids, found.made_by) == (["a"], "two") and not db.conn.in_transaction
    other.conn.close()
