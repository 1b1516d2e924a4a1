"""Building: rows agree everywhere, what is counted and encoded, catalogues of almost nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlite_utils
from indexer_fakes import DAY, WORDS, FakeEncoder, drop, engage, fill, new_catalogue, put

from omnisearch.data.catalogue.schema import set_meta
from omnisearch.data.catalogue.vectors_write import write_vectors
from omnisearch.data.text.tokens import query_tokens
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import Corrupt, InputError, NotReady
from omnisearch.indexer.build import BuildOptions, build, rebuild
from omnisearch.indexer.generation import Generation
from omnisearch.indexer.signals import encode_signals, read_signals

Small = tuple[Workspace, sqlite_utils.Database]


def test_a_row_is_the_same_item_everywhere(small: Small) -> None:
    workspace, db = small
    ids = [f"pin{number:03}" for number in range(0, 60, 2)]
    vectors = np.random.default_rng(0).normal(size=(30, 16)).astype(np.float32)
    write_vectors(workspace, db, "pinsage", "pin", ids, vectors)
    encoder = FakeEncoder()
    assert build(workspace, db, encoder) == 1
    generation = Generation.open(workspace)
    assert (generation.number, generation.checkpoint) == (1, encoder.checkpoint)
    assert set(generation.spaces) == {
        ("pin", "learned"),
        ("pin", "pinsage"),
        ("product", "learned"),
        ("query", "learned"),
    }
    table = generation.tables["pin"]
    titles = dict(db.conn.execute("SELECT id, title FROM pins").fetchall())
    for row in (0, 1, 17, 59):
        key, title = table.ids[row], titles[table.ids[row]]
        assert table.row_of[key] == row
        assert table.display([row])[0]["title"] == title
        own = encoder.items([{"id": key, "title": title}], {})[0]
        rows, cosines = generation.spaces["pin", "learned"].search(own, 1, 50)
        assert cosines[0] == pytest.approx(1, abs=1e-5)
        assert sorted(titles[table.ids[rows[0]]].split()) == sorted(title.split())
        best, _ = generation.tokens["pin"].search(query_tokens(title), 60)
        assert row in best
        vector = generation.spaces["pin", "pinsage"].vectors[row]
        if key in ids:
            expected = vectors[ids.index(key)] / np.linalg.norm(vectors[ids.index(key)])
            np.testing.assert_allclose(vector, expected, rtol=1e-5)
        else:
            assert not vector.any()
    assert generation.spaces["pin", "pinsage"].count == 30
    assert len(generation.tables["product"]) == 20


def test_columns_say_what_the_catalogue_says(small: Small) -> None:
    workspace, db = small
    put(
        db,
        "product",
        id="product003",
        title="Oak sink",
        brand="Acme",
        price=19.5,
        currency="EUR",
        language="de",
        country="AT",
        created_at=5 * DAY,
        campaign="spring",
        colours=["red", "blue"],
        engaged_queries=[["oak", 2.5, DAY], ["sink basin", 1.0, DAY]],
    )
    with db.conn:
        db.conn.executemany(
            "INSERT INTO board_items (board_id, entity, item_id) VALUES (?, ?, ?)",
            [("b1", "product", "product003"), ("b1", "product", "product007"), ("b1", "pin", "x")],
        )
    build(workspace, db, FakeEncoder())
    table = Generation.open(workspace).tables["product"]
    row, other = table.row_of["product003"], table.row_of["product007"]
    assert table.price[row] == np.float32(19.5) and np.isnan(table.price[other])
    assert table.created_at[row] == 5 * DAY and table.created_at[other] == 0
    assert table.is_ad[row] and not table.is_ad[other]
    assert np.flatnonzero(table.brand.mask("ACME")).tolist() == [row]
    assert np.flatnonzero(table.language.mask("de")).tolist() == [row]
    assert not table.country.mask("CH").any()
    assert sorted(np.flatnonzero(table.boards.mask("b1")).tolist()) == sorted([row, other])
    assert not table.boards.mask("b2").any()
    match = table.engaged.match("sink basin", np.array([other, row]))
    assert match.tolist() == [0.0, 1.0]
    assert table.engaged.match("unknown", np.array([other, row])).tolist() == [0.0, 0.0]
    shown = table.display([row])[0]
    assert (shown["title"], shown["brand"], shown["price"]) == ("Oak sink", "Acme", 19.5)


def test_related_queries_end_where_the_features_end(small: Small) -> None:
    workspace, db = small
    engage(db, "oak", "pin", "pin001", "save", time=DAY, count=3)
    engage(db, "brass", "pin", "pin001", "click", time=2 * DAY)
    engage(db, "brass", "pin", "pin001", "save", time=10 * DAY, count=50)
    engage(db, "linen", "pin", "pin002", "save", time=10 * DAY)
    set_meta(db, "engaged_until", 10 * DAY)
    db.conn.commit()
    build(workspace, db, FakeEncoder())
    generation = Generation.open(workspace)
    assert generation.manifest["engaged_until"] == 10 * DAY
    # Related queries: those that engaged something before, with what they engaged.
    queries = generation.tables["query"]
    assert queries.ids == ["brass", "oak"]
    assert queries.display([1])[0]["title"] == "Oak"


def test_without_engagement_all_queries_are_related_ones(small: Small) -> None:
    workspace, db = small
    engage(db, "oak", "pin", "pin001", "impression")
    build(workspace, db, FakeEncoder())
    assert Generation.open(workspace).tables["query"].ids == sorted(WORDS[:10])


def test_only_what_changed_is_encoded_again(small: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    # Each build measures the floor, with queries that it makes up.
    monkeypatch.setattr("omnisearch.indexer.publish.floor_of", lambda *_: None)
    workspace, db = small
    encoder = FakeEncoder(feature_dims={"image": 4})
    features = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
    ids = [f"pin{number:03}" for number in range(60)]
    write_vectors(workspace, db, "image", "pin", ids, features)
    build(workspace, db, encoder)
    assert (len(encoder.items_seen), len(encoder.queries_seen)) == (80, 10)
    first = np.array(Generation.open(workspace).spaces["pin", "learned"].vectors)

    def encoded(make: Any = build) -> list[str]:
        encoder.items_seen.clear()
        encoder.queries_seen.clear()
        make(workspace, db, encoder)
        return sorted(encoder.items_seen + encoder.queries_seen)

    assert encoded() == []
    np.testing.assert_array_equal(
        first, Generation.open(workspace).spaces["pin", "learned"].vectors
    )
    put(db, "pin", id="pin007", title="another title")
    put(db, "pin", id="pin999", title="a new one")
    put(db, "query", id="new query", text="New query")
    drop(db, "pin", "pin030")
    assert encoded() == ["new query", "pin007", "pin999"]
    changed = features[11] + 1
    write_vectors(workspace, db, "image", "pin", ["pin011"], changed[None])
    assert encoded() == ["pin011"]
    # What search reads but the encoder does not is no reason.
    put(db, "pin", id="pin007", title="another title", language="de", image="x.svg", created_at=9)
    engage(db, "oak", "pin", "pin001")
    for word in ["new query", *WORDS[1:10]]:
        engage(db, word, "pin", "pin002")
    assert encoded() == []
    assert Generation.open(workspace).tables["pin"].language.mask("de").sum() == 1
    assert len(encoded(rebuild)) == 60 + 20 + 11


def test_another_checkpoint_has_signals_of_its_own(small: Small) -> None:
    workspace, db = small
    build(workspace, db, FakeEncoder("a" * 16), BuildOptions(retention=2))
    other = FakeEncoder("b" * 16, dim=8)
    build(workspace, db, other, BuildOptions(retention=2))
    assert len(other.items_seen) == 80
    assert {path.name for path in workspace.signals.iterdir()} == {"a" * 16, "b" * 16}
    assert Generation.open(workspace, 1).spaces["pin", "learned"].dim == 16
    assert Generation.open(workspace, 2).spaces["pin", "learned"].dim == 8
    build(workspace, db, other, BuildOptions(retention=2))
    # No generation uses the first one's any more.
    assert {path.name for path in workspace.signals.iterdir()} == {"b" * 16}


def test_damaged_signals_are_made_again(small: Small) -> None:
    workspace, db = small
    encoder = FakeEncoder()
    folder = encode_signals(workspace, db, encoder).folder
    path = folder / "pin-learned.npy"
    content = bytearray(path.read_bytes())
    content[200] ^= 1
    path.write_bytes(bytes(content))
    encoder.items_seen.clear()
    stats = encode_signals(workspace, db, encoder)
    assert stats.encoded == {"pin": 60, "product": 20, "query": 10} == stats.items
    (folder.parent / "CURRENT").write_text("nonsense")
    stats = encode_signals(workspace, db, encoder)
    assert stats.encoded["pin"] == 60
    assert read_signals(stats.folder)["pin"].ids[0] == "pin000"
    assert {path.name for path in stats.folder.parent.iterdir()} == {"CURRENT", stats.folder.name}


def test_progress_runs_to_its_end(small: Small) -> None:
    workspace, db = small
    seen: list[tuple[int, int]] = []
    build(workspace, db, FakeEncoder(), progress=lambda done, total: seen.append((done, total)))
    assert seen[-1][0] == seen[-1][1] > 0
    assert all(done <= total for done, total in seen)


@pytest.mark.parametrize("text", ["lamp", None, "", "!!!"])
def test_a_catalogue_of_one_item(tmp_path: Path, text: str | None) -> None:
    workspace, db = new_catalogue(tmp_path / "one")
    put(db, "product", id='odd "id"\nof two lines ✓', title=text)
    encoder = FakeEncoder()
    build(workspace, db, encoder)
    for backend in ("tantivy", "rank-bm25"):
        generation = Generation.open(workspace, token_backend=backend)
        query = encoder.queries(["lamp"])[0]
        rows, _ = generation.spaces["product", "learned"].search(query, 10, 50)
        assert rows.tolist() == [0]
        assert len(generation.spaces["pin", "learned"].search(query, 10, 50)[0]) == 0
        assert len(generation.spaces["query", "learned"].search(query, 10, 50)[0]) == 0
        assert len(generation.tokens["pin"].search(query_tokens("lamp"), 10)[0]) == 0
        found = generation.tokens["product"].search(query_tokens("lamp"), 10)[0]
        assert found.tolist() == ([0] if text == "lamp" else [])
        assert generation.tables["product"].ids == ['odd "id"\nof two lines ✓']


def test_an_empty_catalogue(tmp_path: Path) -> None:
    workspace, db = new_catalogue(tmp_path / "none")
    build(workspace, db, FakeEncoder())
    generation = Generation.open(workspace)
    assert [len(table) for table in generation.tables.values()] == [0, 0, 0]


def test_a_feature_of_another_size_is_refused(small: Small) -> None:
    workspace, db = small
    write_vectors(workspace, db, "image", "pin", ["pin001"], np.ones((1, 5), np.float32))
    with pytest.raises(InputError, match="5 dimensions"):
        build(workspace, db, FakeEncoder(feature_dims={"image": 4}))
    with pytest.raises(NotReady):
        Generation.open(workspace)


def test_vectors_of_another_model_than_trained_with_are_refused(small: Small) -> None:
    """An encoder that was trained before the texts were embedded anew."""
    workspace, db = small
    made = np.ones((1, 16), np.uint8)
    vectors = np.ones((1, 4), np.float32)
    encoder = FakeEncoder(feature_dims={"text": 4})
    encoder.feature_models = {"pin/text": "first"}
    for model in ("first", "second"):
        write_vectors(
            workspace,
            db,
            "text",
            "pin",
            ["pin001"],
            vectors,
            replace=True,
            made=made,
            made_by=model,
        )
        if model == "first":
            build(workspace, db, encoder)
    with pytest.raises(InputError, match="another model") as told:
        build(workspace, db, encoder)
    assert "omnisearch train" in told.value.how
    assert Generation.open(workspace).number == 1


@pytest.mark.parametrize("what", ["items", "queries", "compat"])
def test_what_an_encoder_cannot_say_is_not_published(small: Small, what: str) -> None:
    workspace, db = small
    write_vectors(workspace, db, "pinsage", "pin", ["pin001", "pin002"], np.eye(2, 16))

    class Broken(FakeEncoder):
        def broken(self, vectors: np.ndarray) -> np.ndarray:
            vectors[1] = np.nan
            return vectors

        def items(self, items: Any, features: Any) -> np.ndarray:
            found = super().items(items, features)
            return self.broken(found) if what == "items" else found

        def queries(self, texts: list[str], batch_size: int = 256) -> np.ndarray:
            found = super().queries(texts)
            return self.broken(found) if what == "queries" else found

        def compat(self, space: str, vectors: np.ndarray) -> np.ndarray:
            found = super().compat(space, vectors)
            return self.broken(found) if what == "compat" else found

    named = {"items": "pin 'pin001'", "queries": "query 'brass'", "compat": "pin 'pin002'"}[what]
    with pytest.raises(Corrupt, match=rf"NaN.*{named}.*`omnisearch train`"):
        build(workspace, db, Broken())
    with pytest.raises(NotReady):
        Generation.open(workspace)


@pytest.mark.parametrize("options", [{"m": 1}, {"ef_construction": 0}, {"retention": 0}])
def test_options_out_of_range_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(InputError, match="must be a number from"):
        BuildOptions(**options)


def test_building_reads_one_state_of_the_catalogue(small: Small) -> None:
    workspace, db = small
    late = sqlite_utils.Database(workspace.catalogue)

    class Slow(FakeEncoder):
        def items(self, items: Any, features: Any) -> np.ndarray:
            with late.conn:  # an import that ends while items are being encoded
                late.conn.execute("INSERT OR IGNORE INTO pins (id, title) VALUES ('late', 'x')")
                late.conn.execute("DELETE FROM pins WHERE id = 'pin005'")
            return super().items(items, features)

    build(workspace, db, Slow())
    table = Generation.open(workspace).tables["pin"]
    assert "late" not in table.row_of and "pin005" in table.row_of
    build(workspace, db, Slow())
    table = Generation.open(workspace).tables["pin"]
    assert "late" in table.row_of and "pin005" not in table.row_of


def test_recall_is_measured(tmp_path: Path) -> None:
    workspace, db = new_catalogue(tmp_path / "recall")
    fill(db, pins=500, products=0)
    build(workspace, db, FakeEncoder(), BuildOptions(m=16, ef_construction=100))
    (pin,) = (
        says for says in Generation.open(workspace).manifest["spaces"] if says["entity"] == "pin"
    )
    assert pin["recall"]["recall"] > 0.95
    assert (pin["recall"]["k"], pin["recall"]["sample"], pin["recall"]["of"]) == (10, 10, "queries")
