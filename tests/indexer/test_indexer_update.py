"""Updates: what changed is seen, rows stay, and dense, tokens and table never drift apart."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
import sqlite_utils
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from indexer_fakes import WORDS, FakeEncoder, drop, fill, new_catalogue, put

from omnisearch.data.catalogue.schema import set_meta
from omnisearch.data.catalogue.vectors import write_vectors
from omnisearch.data.text.tokens import query_tokens
from omnisearch.data.workspace import Workspace
from omnisearch.indexer.build import BuildOptions, build
from omnisearch.indexer.generation import Generation
from omnisearch.indexer.update import update

Small = tuple[Workspace, sqlite_utils.Database]


def found_by_tokens(generation: Generation, text: str, entity: str = "pin") -> set[str]:
    rows, _ = generation.tokens[entity].search(query_tokens(text), 10_000)
    return {generation.tables[entity].ids[row] for row in rows}


def found_by_vector(generation: Generation, query: np.ndarray, k: int, entity: str = "pin") -> set:
    rows, _ = generation.spaces[entity, "learned"].search(query, k, 200)
    return {generation.tables[entity].ids[row] for row in rows}


def test_added_changed_and_deleted_items(small: Small) -> None:
    workspace, db = small
    encoder = FakeEncoder()
    build(workspace, db, encoder)
    before = Generation.open(workspace)
    put(db, "pin", id="aaa", title="zebra stool")  # sorts first, but its row is new
    put(db, "pin", id="pin010", title="zebra carpet")
    drop(db, "pin", "pin020")
    gone_title = before.tables["pin"].display([before.tables["pin"].row_of["pin020"]])[0]["title"]
    encoder.items_seen.clear()
    assert update(workspace, db, encoder) == 2
    assert sorted(encoder.items_seen) == ["aaa", "pin010"]
    after = Generation.open(workspace)
    table, old = after.tables["pin"], before.tables["pin"]
    assert table.ids[:60] == old.ids and table.ids[60:] == ["aaa"]
    assert table.row_of["aaa"] == 60 and "pin020" not in table.row_of
    row = old.row_of["pin020"]
    assert np.flatnonzero(table.deleted).tolist() == [row]
    assert found_by_tokens(after, "zebra") == {"aaa", "pin010"}
    assert "pin020" not in found_by_tokens(after, gone_title)
    gone = encoder.items([{"id": "", "title": gone_title}], {})[0]
    assert "pin020" in found_by_vector(before, gone, 5)
    assert "pin020" not in found_by_vector(after, gone, 61)
    assert len(found_by_vector(after, gone, 61)) == 60
    assert not after.spaces["pin", "learned"].vectors[row].any()
    assert table.display([row]) == [{}]
    new = encoder.items([{"id": "", "title": "zebra stool"}], {})[0]
    assert found_by_vector(after, new, 1) == {"aaa"}
    assert after.manifest["based_on"] == 1
    # The generation before still answers as it did.
    assert "pin020" in found_by_tokens(Generation.open(workspace, 1), gone_title)


def test_a_deleted_item_that_comes_back_has_its_row(small: Small) -> None:
    workspace, db = small
    encoder = FakeEncoder()
    build(workspace, db, encoder)
    row = Generation.open(workspace).tables["pin"].row_of["pin020"]
    drop(db, "pin", "pin020")
    update(workspace, db, encoder)
    put(db, "pin", id="pin020", title="zebra bench")
    update(workspace, db, encoder)
    generation = Generation.open(workspace)
    assert generation.tables["pin"].row_of["pin020"] == row
    assert found_by_tokens(generation, "zebra") == {"pin020"}
    own = encoder.items([{"id": "", "title": "zebra bench"}], {})[0]
    assert found_by_vector(generation, own, 1) == {"pin020"}


def test_nothing_new_publishes_nothing(small: Small) -> None:
    workspace, db = small
    encoder = FakeEncoder()
    build(workspace, db, encoder)
    assert update(workspace, db, encoder) == 1
    assert [path.name for path in workspace.generations.iterdir()] == ["1"]
    set_meta(db, "engaged_until", 5)
    db.conn.commit()
    assert update(workspace, db, encoder) == 2  # what counts as known has moved
    put(db, "product", id="product001", title="lamp", link="https://example.org")
    assert update(workspace, db, encoder) == 3
    assert update(workspace, db, encoder) == 3


def test_an_update_without_a_base_or_of_another_checkpoint_is_a_build(small: Small) -> None:
    workspace, db = small
    assert update(workspace, db, FakeEncoder("a" * 16)) == 1
    put(db, "pin", id="aaa", title="zebra")
    assert update(workspace, db, FakeEncoder("b" * 16, dim=8)) == 2
    generation = Generation.open(workspace)
    assert generation.tables["pin"].ids[0] == "aaa"
    assert generation.manifest["based_on"] is None


def test_a_build_drops_the_places_of_deleted_items(small: Small) -> None:
    workspace, db = small
    encoder = FakeEncoder()
    build(workspace, db, encoder)
    for number in range(40):
        drop(db, "pin", f"pin{number:03}")
    update(workspace, db, encoder)
    assert len(Generation.open(workspace).tables["pin"]) == 60
    build(workspace, db, encoder)
    generation = Generation.open(workspace)
    assert len(generation.tables["pin"]) == 20
    assert not generation.tables["pin"].deleted.any()


def test_older_embeddings_come_and_change(small: Small) -> None:
    workspace, db = small
    encoder = FakeEncoder()
    build(workspace, db, encoder)
    assert ("pin", "pinsage") not in Generation.open(workspace).spaces
    vectors = np.random.default_rng(0).normal(size=(60, 16)).astype(np.float32)
    ids = [f"pin{number:03}" for number in range(60)]
    write_vectors(workspace, db, "pinsage", "pin", ids[:50], vectors[:50])
    update(workspace, db, encoder)
    assert Generation.open(workspace).spaces["pin", "pinsage"].count == 50
    write_vectors(workspace, db, "pinsage", "pin", [ids[3], ids[55]], vectors[[55, 3]])
    update(workspace, db, encoder)
    generation = Generation.open(workspace)
    space = generation.spaces["pin", "pinsage"]
    assert space.count == 51
    for vector, key in ((vectors[55], ids[3]), (vectors[3], ids[55])):
        rows, cosines = space.search(encoder.compat("pinsage", vector[None])[0], 1, 100)
        assert generation.tables["pin"].ids[rows[0]] == key
        assert cosines[0] == pytest.approx(1, abs=1e-5)


def test_other_graph_parameters_take_effect(small: Small) -> None:
    workspace, db = small
    build(workspace, db, FakeEncoder(), BuildOptions(m=8))
    update(workspace, db, FakeEncoder(), BuildOptions(m=12))
    generation = Generation.open(workspace)
    assert generation.spaces["pin", "learned"].index.M == 12


STEP = st.tuples(
    st.sampled_from(["put", "put", "drop"]),
    st.integers(0, 24),
    st.lists(st.sampled_from(WORDS[:8]), min_size=0, max_size=4),
)


@settings(max_examples=5, suppress_health_check=list(HealthCheck))
@given(st.lists(st.lists(STEP, min_size=1, max_size=12), min_size=1, max_size=4))
def test_updates_answer_as_a_build_would(rounds: list[list[tuple[str, int, list[str]]]]) -> None:
    with tempfile.TemporaryDirectory() as root:
        workspace, db = new_catalogue(Path(root) / "updated")
        fill(db, pins=12, products=0)
        encoder = FakeEncoder()
        build(workspace, db, encoder)
        rows: dict[str, int] = dict(Generation.open(workspace).tables["pin"].row_of)
        for steps in rounds:
            for what, number, title in steps:
                if what == "put":
                    put(db, "pin", id=f"pin{number:03}", title=" ".join(title))
                else:
                    drop(db, "pin", f"pin{number:03}")
            update(workspace, db, encoder)
            updated = Generation.open(workspace)
            for key, row in updated.tables["pin"].row_of.items():
                assert rows.setdefault(key, row) == row
        build(workspace, db, encoder)
        built = Generation.open(workspace)
        assert set(updated.tables["pin"].row_of) == set(built.tables["pin"].row_of)
        live = len(built.tables["pin"])
        for word in WORDS[:8]:
            assert found_by_tokens(updated, word) == found_by_tokens(built, word)
            query = encoder.queries([word])[0]
            assert found_by_vector(updated, query, 25) == found_by_vector(built, query, 25)
            assert len(found_by_vector(updated, query, 25)) == live
        for row in np.flatnonzero(updated.tables["pin"].deleted):
            assert not updated.spaces["pin", "learned"].vectors[row].any()
            assert updated.tables["pin"].display([row]) == [{}]
