"""A space's search against plain numpy, and damaged graph files against the bounds check."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from omnisearch.data.workspace.errors import Corrupt, InputError
from omnisearch.indexer.parts.hnsw_file import Expected, check_hnsw_file
from omnisearch.indexer.parts.recall import measure_recall
from omnisearch.indexer.parts.vectors import Space, open_space
from omnisearch.indexer.parts.vectors_write import GraphOptions, write_space

OPTIONS = GraphOptions(M=8, ef_construction=60)
DIM = 12


def unit(rows: int, dim: int = DIM, seed: int = 0) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(rows, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def written(folder: Path, vectors: np.ndarray, name: str = "learned") -> Space:
    """The space as `open_space` reads it back."""
    folder.mkdir(exist_ok=True)
    write_space(folder / f"{name}.npy", vectors, OPTIONS, lambda items: None)
    return open_space(folder, name, Expected(vectors.shape[1], len(vectors), OPTIONS.M))


def brute(vectors: np.ndarray, query: np.ndarray, k: int, allowed: np.ndarray) -> np.ndarray:
    scores = np.where(allowed, vectors @ query, -np.inf)
    return np.argsort(-scores, kind="stable")[: min(k, int(allowed.sum()))]


def test_search_finds_what_exact_search_finds(tmp_path: Path) -> None:
    vectors = unit(2000)
    space = written(tmp_path, vectors)
    everyone = np.ones(2000, bool)
    hits = 0
    for query in unit(50, seed=1):
        rows, cosines = space.search(query, 10, 100)
        assert rows.dtype == np.int64 and cosines.dtype == np.float32
        assert (np.diff(cosines) <= 0).all()
        np.testing.assert_allclose(cosines, vectors[rows] @ query, atol=1e-5)
        hits += len(set(rows) & set(brute(vectors, query, 10, everyone)))
        exact_rows, _ = space.exact(query, 10)
        assert set(exact_rows) == set(brute(vectors, query, 10, everyone))
    assert hits / 500 > 0.97
    assert measure_recall(space, unit(50, seed=1), 10, 100) == pytest.approx(hits / 500, abs=0.005)


def test_the_same_few_vectors_give_the_same_graph(tmp_path: Path) -> None:
    vectors = unit(3000)
    for name in ("one", "other"):
        written(tmp_path / name, vectors)
    files = [(tmp_path / name / "learned.hnsw").read_bytes() for name in ("one", "other")]
    assert files[0] == files[1]


@pytest.mark.parametrize("share", [0.001, 0.05, 0.19, 0.21, 0.5, 0.9, 1.0])
def test_a_filter_is_obeyed_and_loses_little(tmp_path: Path, share: float) -> None:
    vectors = unit(1500)
    vectors[::7] = 0
    space = written(tmp_path, vectors)
    allowed = np.random.default_rng(3).random(1500) < share
    valid = allowed & vectors.any(axis=1)
    hits = wanted = 0
    for query in unit(20, seed=1):
        rows, _ = space.search(query, 10, 100, allowed)
        assert valid[rows].all()
        assert len(rows) == min(10, valid.sum())
        exact = set(brute(vectors, query, 10, valid))
        hits, wanted = hits + len(exact & set(rows)), wanted + len(exact)
    assert hits >= 0.95 * wanted


def test_nothing_is_allowed_or_asked_for(tmp_path: Path) -> None:
    space = written(tmp_path, unit(30))
    assert len(space.search(unit(1)[0], 5, 50, np.zeros(30, bool))[0]) == 0
    assert len(space.search(unit(1)[0], 0, 50)[0]) == 0
    assert len(space.search(unit(1)[0], 500, 50)[0]) == 30


def test_a_query_of_another_dimension_is_refused(tmp_path: Path) -> None:
    space = written(tmp_path, unit(30))
    with pytest.raises(InputError, match="12 dimensions"):
        space.search(np.ones(11, np.float32), 5, 50)
    with pytest.raises(InputError):
        space.search(np.ones((1, 12), np.float32), 5, 50)


@pytest.mark.parametrize("present", [0, 1, 2])
def test_spaces_of_almost_nothing(tmp_path: Path, present: int) -> None:
    vectors = np.zeros((2, DIM), np.float32)
    vectors[:present] = unit(2)[:present]
    space = written(tmp_path, vectors)
    rows, _ = space.search(unit(1)[0], 10, 50)
    assert sorted(rows.tolist()) == list(range(present))
    assert written(tmp_path / "none", np.zeros((0, DIM), np.float32)).count == 0


def test_a_far_corner_of_the_graph_is_searched_exactly(tmp_path: Path) -> None:
    # Two far clusters; the filter allows a quarter of the rows, none near the query.
    vectors = unit(2000)
    vectors[:, 0] = np.where(np.arange(2000) < 1500, 4, -4)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    space = written(tmp_path, vectors)
    query = np.eye(DIM, dtype=np.float32)[0]
    rows, _ = space.search(query, 20, 20, np.arange(2000) >= 1500)
    assert len(rows) == 20 and (rows >= 1500).all()


def graph_file(folder: Path, rows: int = 300) -> tuple[Path, Expected]:
    vectors = np.concatenate((unit(rows), unit(20, seed=8)))
    vectors[5:15] = 0
    written(folder / "b", vectors)
    return folder / "b" / "learned.hnsw", Expected(DIM, rows + 20, OPTIONS.M)


def test_whole_files_pass_the_check(tmp_path: Path) -> None:
    path, expected = graph_file(tmp_path)
    assert check_hnsw_file(path, expected) == 310
    for rows in (1, 2, 17, 5000):
        written(tmp_path / str(rows), unit(rows))
        found = check_hnsw_file(tmp_path / str(rows) / "learned.hnsw", Expected(DIM, rows, 8))
        assert found == rows


def test_every_field_of_the_header_is_checked(tmp_path: Path) -> None:
    path, expected = graph_file(tmp_path)
    content = path.read_bytes()
    for start, size in [(at, 8) for at in range(0, 48, 8)] + [(48, 4), (52, 4), (56, 8), (64, 8)]:
        for value in (b"\xff" * size, b"\x7f" + b"\xff" * (size - 1)):
            if start == 8 and value[0] == 0x7F:
                continue
            path.write_bytes(content[:start] + value + content[start + size :])
            if start == 8:  # room for more elements: not used, the count is given to hnswlib
                assert check_hnsw_file(path, expected) == 310
                continue
            with pytest.raises(Corrupt):
                check_hnsw_file(path, expected)
    path.write_bytes(content)
    for wrong in (Expected(11, 320, 8), Expected(DIM, 319, 8), Expected(DIM, 320, 16)):
        with pytest.raises(Corrupt):
            check_hnsw_file(path, wrong)


def test_a_file_cut_or_lengthened_anywhere_is_refused(tmp_path: Path) -> None:
    path, expected = graph_file(tmp_path, rows=40)
    content = path.read_bytes()
    for length in [*range(0, 120), *range(120, len(content), 37), len(content) - 1]:
        path.write_bytes(content[:length])
        with pytest.raises(Corrupt):
            check_hnsw_file(path, expected)
    path.write_bytes(content + b"\0\0\0\0")
    with pytest.raises(Corrupt):
        check_hnsw_file(path, expected)


_LOAD_DAMAGED = """
import sys
from pathlib import Path
import numpy as np
from omnisearch.data.workspace.errors import Corrupt
from omnisearch.indexer.parts.vectors import open_space
from omnisearch.indexer.parts.hnsw_file import Expected
folder, rows = Path(sys.argv[1]), int(sys.argv[2])
path = folder / "learned.hnsw"
content = path.read_bytes()
random = np.random.default_rng(0)
query = np.ones(12, np.float32) / np.sqrt(np.float32(12))
refused = 0
for _ in range(400):
    damaged = np.frombuffer(content, np.uint8).copy()
    for at in random.integers(0, len(content), size=random.integers(1, 6)):
        damaged[at] = random.integers(0, 256)
    damaged[random.integers(0, 96)] ^= random.integers(0, 2)
    path.write_bytes(damaged.tobytes())
    try:
        space = open_space(folder, "learned", Expected(12, rows, 8))
    except Corrupt:
        refused += 1
        continue
    space.search(query, 20, 60)
    space.search(query, 20, 60, np.arange(rows) % 2 == 0)
print(refused)
"""


def test_no_damaged_file_that_is_taken_brings_the_process_down(tmp_path: Path) -> None:
    path, expected = graph_file(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", _LOAD_DAMAGED, str(path.parent), str(expected.rows)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert 50 < int(done.stdout) < 400  # some are refused, and some do reach hnswlib
