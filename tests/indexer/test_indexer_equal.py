"""Equal and nearly equal vectors hide nothing, with filters and after updates."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import sqlite_utils
from hypothesis import given, settings
from hypothesis import strategies as st
from indexer_fakes import FakeEncoder, new_catalogue, put

from omnisearch.data.workspace.errors import Corrupt
from omnisearch.indexer.build import BuildOptions, build
from omnisearch.indexer.generation import Generation
from omnisearch.indexer.parts import vectors as searched
from omnisearch.indexer.parts.equal import find_pairs
from omnisearch.indexer.parts.hnsw_file import Expected
from omnisearch.indexer.parts.layout import layout_of
from omnisearch.indexer.parts.recall import item_recall_of, recall_sentences
from omnisearch.indexer.parts.vectors import Space, open_space
from omnisearch.indexer.parts.vectors_stacked import StackedSpace
from omnisearch.indexer.parts.vectors_write import GraphOptions, write_space
from omnisearch.indexer.verify import status

OPTIONS = GraphOptions(M=16, ef_construction=150)
DIM = 32


def unit(rows: int, seed: int = 0) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(rows, DIM)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def near(vector: np.ndarray, rows: int, spread: float, seed: int = 9) -> np.ndarray:
    """Unit vectors at about this distance from a vector."""
    noise = np.random.default_rng(1000 + seed).normal(size=(rows, DIM)) / np.sqrt(DIM)
    vectors = (vector + spread * noise).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def written(folder: Path, vectors: np.ndarray, least: int = 1) -> Space:
    """The space as `open_space` reads it back."""
    folder.mkdir(exist_ok=True)
    write_space(folder / "s.npy", vectors, OPTIONS, lambda items: None, least)
    graph = (folder / "s.hnsw").exists()
    return open_space(folder, "s", Expected(DIM, len(vectors), OPTIONS.M), graph)


def stacked(spaces: Sequence[Space], dead: Sequence[Sequence[int]]) -> StackedSpace:
    """Segments one after the other, without the dead places."""
    starts = np.cumsum([0, *(len(space.present) for space in spaces)]).tolist()
    ids = [
        [f"{start + place:05}" for place in range(len(space.present))]
        for space, start in zip(spaces, starts[:-1], strict=True)
    ]
    return StackedSpace(spaces, layout_of(ids, [np.array(places, np.int64) for places in dead]))


def assert_all_are_found(space: Space, rows: np.ndarray, k: int = 10) -> None:
    """Each row is found by its vector, best first, with as many results as asked for."""
    lost = 0
    for row in rows.tolist():
        found, cosines = space.search(np.array(space.vectors[row]), k, 150)
        assert len(found) == len(set(found)) == min(k, space.count)
        np.testing.assert_allclose(cosines, space.vectors[found] @ space.vectors[row], atol=1e-5)
        assert (np.diff(cosines) <= 0).all()
        lost += row not in found and cosines[0] < 1 - 1e-5
    assert lost <= 0.01 * len(rows)


@pytest.mark.parametrize("spread", [0, 1e-6, 1e-4, 3e-3])
@pytest.mark.parametrize("groups", [[500], [900], [100] * 9, [2] * 250])
def test_groups_hide_nothing(groups: list[int], spread: float, tmp_path: Path) -> None:
    alike = [near(unit(1, seed)[0], many, spread, seed) for seed, many in enumerate(groups, 20)]
    vectors = np.concatenate((*alike, unit(1000 - sum(groups))))
    space = written(tmp_path, vectors)
    assert_all_are_found(space, np.arange(0, 1000, 3))
    for query in unit(20, seed=1):
        rows, cosines = space.search(query, 100, 150)
        exact, scores = space.exact(query, 100)
        assert (cosines >= scores[-1] - 1e-6).mean() >= 0.95
        if spread == 0:
            assert len(set(rows) & set(exact)) >= 98


def test_alike_rows_beside_each_other_do_not_cut_the_graph(tmp_path: Path) -> None:
    # Not equal, but each group holds more rows than a search visits.
    alike = [near(unit(1, seed)[0], 200, 0.1, seed) for seed in range(20, 50)]
    space = written(tmp_path, np.concatenate((*alike, unit(2000))))
    assert_all_are_found(space, np.arange(0, 8000, 16))


@pytest.mark.parametrize("many", [200, 1000])
def test_what_is_alike_around_a_middle_is_found(many: int, tmp_path: Path) -> None:
    # All link to the middle, which has room for a few links back.
    centres = unit(4000 // many, seed=7)
    alike = [
        np.concatenate((centre[None], near(centre, many - 1, 0.1, seed)))
        for seed, centre in enumerate(centres)
    ]
    space = written(tmp_path, np.concatenate((*alike, unit(1000))))
    assert_all_are_found(space, np.arange(0, 5000, 10))
    vectors = np.array(space.vectors)
    vectors[1:200:2] = near(centres[-1], 100, 0.1, 99)
    assert_all_are_found(written(tmp_path / "new", vectors), np.arange(0, 5000, 10))


@pytest.mark.parametrize("many", [2, 700])
def test_all_equal(many: int, tmp_path: Path) -> None:
    space = written(tmp_path, np.repeat(unit(1), many, axis=0))
    for k in (1, 10, 600):
        rows, cosines = space.search(unit(1, seed=2)[0], k, 150)
        assert rows.tolist() == list(range(min(k, many)))  # equal cosines are ordered by row
        assert len(set(cosines.tolist())) == 1


def test_zeros_are_no_group(tmp_path: Path) -> None:
    vectors = np.zeros((600, DIM), np.float32)
    vectors[::3] = unit(200)
    vectors[1::3] = vectors[0]
    space = written(tmp_path, vectors)
    assert space.count == 400 and not np.isin(space.groups.members % 3, 2).any()
    assert_all_are_found(space, np.arange(0, 600, 3), k=1)
    assert written(tmp_path / "none", np.zeros((5, DIM), np.float32)).count == 0


@pytest.mark.parametrize("share", [0.01, 0.3, 0.9])
@pytest.mark.parametrize("spread", [0, 1e-4])
def test_filters_see_members(
    spread: float, share: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(searched, "EXACT_SHARE", 0)  # all in the graph
    monkeypatch.setattr(searched, "EXACT_ROWS", 0)
    alike = [near(unit(1, seed)[0], 60, spread, seed) for seed in range(20, 40)]
    space = written(tmp_path, np.concatenate((*alike, unit(1200))))
    allowed = np.random.default_rng(3).random(2400) < share
    allowed[space.groups.leaders] = False
    for query in (*unit(10, seed=1), *np.array(space.vectors[:1200:60])):
        for k in (10, 200):
            rows, cosines = space.search(query, k, 150, allowed)
            exact, scores = space.exact(query, k, allowed)
            assert allowed[rows].all() and len(rows) == len(exact)
            assert (cosines >= scores[-1] - 1e-6).mean() > 0.95


def test_groups_close_to_each_other_are_told_apart() -> None:
    # 40 groups, all in one cell of the first grid; their vectors are 10 times NEAR apart.
    centres = near(unit(1)[0], 40, 0.045)
    vectors = np.repeat(centres, 50, axis=0)
    pairs = find_pairs(vectors, np.arange(2000), np.arange(0))
    assert len(pairs) == 2000 - 40
    assert (pairs[:, 0] // 50 == pairs[:, 1] // 50).all()


def test_members_of_a_leader_that_goes_are_found(tmp_path: Path) -> None:
    vectors = np.concatenate((np.repeat(unit(1), 300, axis=0), unit(400, seed=3)))
    old = written(tmp_path / "old", vectors)
    assert old.groups.leaders.tolist() == [0] and len(old.groups.members) == 299
    new = written(tmp_path / "new", vectors[[500, 0]], least=10)
    assert new.index is None
    space = stacked((old, new), ([0, 5], []))  # rows move up by two
    rows, cosines = space.search(unit(1)[0], 299, 150)
    assert rows.tolist() == [*range(298), 699]
    assert cosines == pytest.approx(np.ones(299), abs=1e-5)
    assert space.search(vectors[500], 2, 150)[0].tolist() == [498, 698]


PLACE = st.integers(0, 39)
ROWS = st.lists(st.sampled_from("0aabcde"), max_size=8)


@settings(max_examples=40)
@given(
    st.lists(st.tuples(ROWS, st.booleans()), max_size=4),
    st.lists(PLACE, max_size=39, unique=True),
    st.sampled_from([0.0, 1e-6, 1e-3]),
)
def test_segments_find_what_exact_search_finds(
    segments: list[tuple[list[str], bool]], dead: list[int], spread: float
) -> None:
    centres = dict(zip("abcde", unit(5, seed=4), strict=True)) | {"0": np.zeros(DIM)}
    vectors = np.concatenate((near(centres["a"], 20, spread), unit(20)))
    with tempfile.TemporaryDirectory() as folder:
        spaces = [written(Path(folder) / "0", vectors)]
        gone = [sorted(dead)]
        for number, (kinds, graph) in enumerate(segments, 1):
            rows = [near(centres[kind], 1, spread, number)[0] for kind in kinds]
            added = np.array(rows, np.float32).reshape(-1, DIM)
            added[[kind == "0" for kind in kinds]] = 0
            spaces.append(written(Path(folder) / str(number), added, 1 if graph else 100))
            gone.append([place for place in dead if place < len(kinds)][:1])
        space = stacked(spaces, gone)
        live = np.asarray(space.vectors)
        for query in (centres["a"], unit(1, seed=6)[0]):
            for allowed in (None, np.arange(len(live)) % 3 > 0):
                shown = space.present if allowed is None else space.present & allowed
                order = np.sort(-(live[shown] @ query))
                for k in (1, 7, len(live)):
                    rows, cosines = space.search(query, k, 150, allowed)
                    assert shown[rows].all() and len(set(rows.tolist())) == len(rows)
                    np.testing.assert_allclose(cosines, -order[:k], atol=1e-6)
                    np.testing.assert_allclose(live[rows] @ query, cosines, atol=1e-6)


def test_a_damaged_file_of_groups_is_refused(tmp_path: Path) -> None:
    vectors = np.concatenate((np.repeat(unit(2), 3, axis=0), unit(10, seed=3), unit(1) * 0))
    space = written(tmp_path, vectors)
    path, right = tmp_path / "s-groups.npy", space.groups.pairs()
    assert right.tolist() == [[1, 0], [2, 0], [4, 3], [5, 3]]
    for damage in (
        right[:-1],  # row 5 is neither in the graph nor in a group
        right[::-1],
        np.array([[1, 0], [2, 0], [4, 3], [5, 10**12]]),
        np.array([[1, 0], [2, 0], [4, 3], [-12, 3]]),
        np.array([[1, 0], [2, 0], [4, 3], [16, 3]]),  # it has no vector
        np.array([[1, 0], [2, 0], [4, 3], [7, 3]]),  # it is far
        np.array([[1, 0], [2, 1], [4, 3], [5, 3]]),  # a member leads
        np.array([[1, 0], [1, 0], [4, 3], [5, 3]]),
        right.astype(np.int32),
        right.astype(float),
        right[:, :1],
        right.T,
        right.ravel(),
    ):
        np.save(path, damage)
        with pytest.raises(Corrupt, match=r"s-groups|s\.hnsw"):
            open_space(tmp_path, "s", Expected(DIM, 17, OPTIONS.M))
    path.unlink()
    with pytest.raises(Corrupt):
        open_space(tmp_path, "s", Expected(DIM, 17, OPTIONS.M))


@pytest.fixture
def cards(tmp_path: Path) -> tuple[Generation, FakeEncoder, sqlite_utils.Database]:
    """500 products of one title, which are first by id, and 500 different ones."""
    workspace, db = new_catalogue(tmp_path / "cards")
    with db.conn:
        rows = [(f"a{number:03}", "Gift card") for number in range(500)]
        rows += [
            (f"p{number:03}", f"colour{number % 50} chair{number // 50}") for number in range(500)
        ]
        db.conn.executemany("INSERT INTO products (id, title) VALUES (?, ?)", rows)
    encoder = FakeEncoder(dim=DIM)
    build(workspace, db, encoder)
    return Generation.open(workspace), encoder, db


def test_products_beside_equal_ones_are_found_by_their_titles(
    cards: tuple[Generation, FakeEncoder, sqlite_utils.Database],
) -> None:
    generation, encoder, _ = cards
    space, table = generation.spaces["product", "learned"], generation.tables["product"]
    for number in range(0, 500, 10):
        title = f"colour{number % 50} chair{number // 50}"
        rows, _ = space.search(encoder.queries([title])[0], 10, 150)
        assert table.ids[rows[0]] == f"p{number:03}"
    [says] = [each for each in generation.manifest["spaces"] if each["entity"] == "product"]
    assert says["item_recall"] == {
        "recall": 1.0, "k": 10, "ef": 150, "sample": 500, "missed": [], "alike": None
    }  # fmt: skip
    assert recall_sentences(generation.manifest["spaces"]) == []


def test_items_that_do_not_find_themselves_are_told(tmp_path: Path) -> None:
    workspace, db = new_catalogue(tmp_path / "poor")
    for number in range(600):
        put(db, "pin", id=f"pin{number:03}", title=f"word{number} other{number}")
    build(workspace, db, FakeEncoder(dim=DIM), BuildOptions(m=2, ef_construction=1, recall_ef=1))
    manifest = Generation.open(workspace).manifest
    [says] = [each for each in manifest["spaces"] if each["entity"] == "pin"]
    assert says["item_recall"]["recall"] < 0.9 and len(says["item_recall"]["missed"]) == 3
    [sentence] = recall_sentences(manifest["spaces"])
    assert sentence.startswith("Of 500 pins tried in the space learned, ")
    assert "not found by their own vector, for example 'pin" in sentence
    assert "`ef_construction` and `m` under [index]" in sentence
    told = status(workspace)["generations"][0]["spaces"]["pin learned"]
    assert told["item_recall"] == says["item_recall"]


def test_the_items_that_hide_others_are_named(tmp_path: Path) -> None:
    # A search that may visit two nodes ends among the alike ones.
    vectors = np.concatenate((near(unit(1)[0], 700, 0.02), unit(300, seed=2)))
    poor = GraphOptions(M=2, ef_construction=2)
    space = write_space(tmp_path / "s.npy", vectors, poor, lambda items: None)
    ids = [f"{'card' if row < 700 else 'chair'}{row}" for row in range(len(vectors))]
    measured = item_recall_of(space, ids, 2)
    assert measured is not None and measured["recall"] < 0.98
    assert measured["alike"]["items"] == 700 and measured["alike"]["example"].startswith("card")
    says = {"entity": "product", "space": "learned", "item_recall": measured}
    [sentence] = recall_sentences([says])
    assert "700 products are nearly alike there, for example 'card" in sentence
    assert "remove copies, give them texts that tell them apart" in sentence
