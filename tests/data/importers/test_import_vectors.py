"""Item vectors: arrays with id lists and Parquet, repeated, replaced and refused."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from importing import jsonl, refusals, table, taken

from omnisearch.data.catalogue.schema import open_catalogue
from omnisearch.data.catalogue.vectors import open_vectors
from omnisearch.data.importers.folders import import_folder
from omnisearch.data.importers.vectors import import_vectors
from omnisearch.data.workspace.errors import Corrupt, InputError


@pytest.fixture
def pins(workspace, tmp_path):
    taken(workspace, jsonl(tmp_path / "pins.jsonl", *({"id": f"p{i}"} for i in range(5))))
    return workspace


def npy(path, vectors, ids):
    np.save(path, vectors)
    path.with_suffix(".ids").write_text("".join(f"{key}\n" for key in ids), encoding="utf-8")
    return path


def stored(workspace, name="pinsage"):
    db = open_catalogue(workspace.catalogue)
    feature = open_vectors(workspace, db, name, "pin")
    db.conn.close()
    return {key: vector.tolist() for key, vector in zip(feature.ids, feature.vectors, strict=True)}


@pytest.mark.parametrize("kind", ["f2", "f4", "f8", "i4"])
def test_arrays_of_numbers(pins, tmp_path, kind):
    path = npy(tmp_path / "v.npy", np.array([[1, 2], [3, 4]], kind), ["p1", "p0"])
    report = import_vectors(pins, path, "pinsage", "pin")
    assert (report.taken, report.changed, report.refused) == (2, 2, 0)
    assert stored(pins) == {"p1": [1, 2], "p0": [3, 4]}
    assert import_vectors(pins, path, "pinsage", "pin").changed == 0
    assert table(pins, "imports", "kind, format, taken")[-1] == ("pins", "jsonl", 5)


def test_bits(pins, tmp_path):
    flags = np.random.default_rng(3).random((5, 1024)) < 0.5
    packed = np.packbits(flags, axis=1)
    ids = [f"p{n}" for n in range(5)]
    wanted = dict(zip(ids, flags.astype(float).tolist(), strict=True))
    import_vectors(pins, npy(tmp_path / "b.npy", flags, ids), "flags", "pin")
    assert stored(pins, "flags") == wanted
    import_vectors(pins, npy(tmp_path / "p.npy", packed, ids), "image", "pin", bits=True)
    assert stored(pins, "image") == wanted
    rows = [row.tobytes() for row in packed]
    for number, column in enumerate((pa.array(rows), pa.array(rows, pa.binary(128)))):
        path = tmp_path / f"{number}.parquet"
        pq.write_table(pa.table({"id": ids, "bits": column}), path)
        report = import_vectors(pins, path, "image", "pin")
        assert (report.taken, report.changed, report.refused) == (5, 0, 0)
    lists = [packed[0].tolist(), packed[1].tolist(), [*packed[2].tolist()[:-1], None], [1]]
    column = pa.array(lists, pa.list_(pa.uint8()))
    pq.write_table(pa.table({"id": ids[:4], "v": column}), tmp_path / "l.parquet")
    report = import_vectors(pins, tmp_path / "l.parquet", "image", "pin", bits=True)
    assert report.taken == 2
    assert refusals(report) == [
        (3, "vector", "is missing"),
        (4, "vector", "does not have 1024 dimensions"),
    ]
    with pytest.raises(InputError, match="bytes, not float64"):
        import_vectors(pins, npy(tmp_path / "f.npy", np.ones((5, 8)), ids), "x", "pin", bits=True)
    with pytest.raises(InputError, match="have 8 dimensions, the existing ones 1024"):
        one = npy(tmp_path / "s.npy", np.ones((5, 1), np.uint8), ids)
        import_vectors(pins, one, "image", "pin", bits=True)


@pytest.mark.parametrize(
    "column",
    [pa.list_(pa.float32()), pa.list_(pa.float32(), 2), pa.large_list(pa.float64())],
    ids=str,
)
def test_parquet(pins, tmp_path, column):
    vectors = pa.array([[1.0, 2.0], [3.0, 4.0], None], column)
    path = tmp_path / "v.parquet"
    pq.write_table(pa.table({"id": ["p1", "p0", "p2"], "vector": vectors}), path)
    report = import_vectors(pins, path, "pinsage", "pin")
    assert refusals(report) == [(3, "vector", "is missing")]
    assert stored(pins) == {"p1": [1, 2], "p0": [3, 4]}


def test_bad_rows_are_refused_by_number(pins, tmp_path):
    vectors = np.array([[1, 2], [np.nan, 1], [3, np.inf], [1, 1], [5, 6], [7, 7], [1, 2]], "f4")
    ids = ["p1", "p2", "p3", "unknown", "p4", "p1", "p1"]
    path = npy(tmp_path / "v.npy", vectors, ids)
    report = import_vectors(pins, path, "pinsage", "pin")
    assert refusals(report) == [
        (2, "vector", "contains NaN or infinity"),
        (3, "vector", "contains NaN or infinity"),
        (4, "id", "names a pin that does not exist"),
        (6, "id", "appears earlier in this file with other values"),
    ]
    assert stored(pins) == {"p1": [1, 2], "p4": [5, 6]}
    rows = pa.table({"id": ["p1", "p2"], "vector": [[1.0, 2.0], [1.0, 2.0, 3.0]]})
    pq.write_table(rows, tmp_path / "v.parquet")
    report = import_vectors(pins, tmp_path / "v.parquet", "pinsage", "pin")
    assert refusals(report) == [(2, "vector", "does not have 2 dimensions")]
    huge = npy(tmp_path / "w.npy", np.array([[1e300, 0]]), ["p0"])
    assert import_vectors(pins, huge, "pinsage", "pin").refused == 1
    long = npy(tmp_path / "l.npy", np.array([[3e30, 0]]), ["p0"])
    assert refusals(import_vectors(pins, long, "pinsage", "pin")) == [
        (1, "vector", "is too long for float32")
    ]


def test_importing_again_mends_damaged_vectors(pins, tmp_path):
    path = npy(tmp_path / "v.npy", np.eye(2), ["p1", "p0"])
    import_vectors(pins, path, "pinsage", "pin")
    [damaged] = pins.item_vectors.glob("*.npy")
    np.save(damaged, np.full((2, 2), np.nan, np.float32))
    with pytest.raises(Corrupt, match=r"-pin-.*\.npy.*hash.*Import them again"):
        stored(pins)
    assert import_vectors(pins, path, "pinsage", "pin").changed == 2
    assert stored(pins) == {"p1": [1, 0], "p0": [0, 1]}


def test_strict_takes_no_vector(pins, tmp_path):
    path = npy(tmp_path / "v.npy", np.array([[1, 2], [np.nan, 1]], "f4"), ["p1", "p2"])
    with pytest.raises(InputError, match="1 of 2 rows was refused"):
        import_vectors(pins, path, "pinsage", "pin", strict=True)
    assert table(pins, "item_vectors") == []


def test_later_rows_replace_and_join_earlier_ones(pins, tmp_path):
    import_vectors(pins, npy(tmp_path / "a.npy", np.eye(2), ["p0", "p1"]), "pinsage", "pin")
    more = npy(tmp_path / "b.npy", np.array([[5.0, 5], [0, 1]]), ["p2", "p1"])
    assert import_vectors(pins, more, "pinsage", "pin").changed == 1
    assert stored(pins) == {"p0": [1, 0], "p1": [0, 1], "p2": [5, 5]}


def test_files_that_are_bad_as_a_whole(pins, tmp_path):
    def refused(said, path, name="pinsage", entity="pin", ids=None):
        with pytest.raises(InputError, match=said):
            import_vectors(pins, path, name, entity, ids)
        assert table(pins, "item_vectors") == before

    before = []
    good = npy(tmp_path / "good.npy", np.eye(2), ["p0", "p1"])
    refused("not a valid name for vectors", good, name="../x")
    refused("not a valid name for vectors", good, name="a-b")
    refused("Unknown entity", good, entity="board")
    refused("no such file", tmp_path / "none.npy")
    refused("2 vectors and 1 ids", npy(tmp_path / "few.npy", np.eye(2), ["p0"]))
    refused("id list", good, ids=tmp_path / "none.ids")
    refused("shape", npy(tmp_path / "flat.npy", np.ones(3), ["p0"]))
    refused("array is empty", npy(tmp_path / "zero.npy", np.ones((0, 3)), []))
    refused("not a numeric .npy array", npy(tmp_path / "obj.npy", np.array([[{}]]), ["p0"]))
    (tmp_path / "cut.npy").write_bytes(good.read_bytes()[:100])
    refused("not a numeric .npy array", tmp_path / "cut.npy")
    (tmp_path / "bad.parquet").write_bytes(b"PAR1")
    refused("not Parquet", tmp_path / "bad.parquet")
    pq.write_table(pa.table({"id": ["p0"], "x": [1.0]}), tmp_path / "flat.parquet")
    refused("one column of lists", tmp_path / "flat.parquet")
    import_vectors(pins, good, "pinsage", "pin")
    before = table(pins, "item_vectors")
    refused("3 dimensions", npy(tmp_path / "wide.npy", np.eye(3), ["p0", "p1", "p2"]))


def test_conventional_names_in_a_folder(pins, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    npy(folder / "vectors-image-pin.npy", np.eye(2, dtype="f4"), ["p0", "p1"])
    rows = pa.table({"id": ["p3"], "vector": [[1.0, 2.0, 3.0]]})
    pq.write_table(rows, folder / "features-pinsage-pin.parquet")
    reports = import_folder(pins, folder)
    assert [report.taken for report in reports] == [1, 2]
    assert stored(pins, "image") == {"p0": [1, 0], "p1": [0, 1]}
    assert stored(pins) == {"p3": [1, 2, 3]}
