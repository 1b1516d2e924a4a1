"""Item vectors on disk: merged, replaced, checked."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnisearch.data.catalogue.schema import open_catalogue
from omnisearch.data.catalogue.vectors import open_all_vectors, open_vectors, write_vectors
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import Corrupt, InputError


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
