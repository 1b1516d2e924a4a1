"""Updates: what changed is seen, at its cost, and they answer as a build does."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
import sqlite_utils
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from indexer_fakes import WORDS, FakeEncoder, drop, engage, fill, new_catalogue, put

from omnisearch.data.catalogue.schema import ENTITIES, ITEM_ENTITIES, open_catalogue, set_meta
from omnisearch.data.catalogue.vectors_write import write_vectors
from omnisearch.data.text.keys import word_keys
from omnisearch.data.text.normalise import normalise
from omnisearch.data.text.prefixes import typed_key
from omnisearch.data.text.tokens import query_tokens
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import NotReady
from omnisearch.encoders.no_encoder import NoEncoder
from omnisearch.engine.attributes import Attributes, kind_of
from omnisearch.engine.snapshot import Snapshot
from omnisearch.indexer import build as building
from omnisearch.indexer import increment as updating
from omnisearch.indexer import merging
from omnisearch.indexer.build import BuildOptions, build
from omnisearch.indexer.generation import Generation, live_number
from omnisearch.indexer.merging import merge
from omnisearch.indexer.parts.attributes import Column
from omnisearch.indexer.parts.layout import whole
from omnisearch.indexer.parts.spelling import Spelling
from omnisearch.indexer.parts.suggest import Found, first_of
from omnisearch.indexer.parts.table import Codes, ItemTable
from omnisearch.indexer.parts.words import idf
from omnisearch.indexer.update import update
from omnisearch.indexer.verify import rollback, verify

Small = tuple[Workspace, sqlite_utils.Database]


def assert_same(updated: Generation, built: Generation, encoder: FakeEncoder) -> None:
    """Rows, columns, tokens, vectors and spelling of two generations give the same answers."""
    for entity in ENTITIES:
        one, other = updated.tables[entity], built.tables[entity]
        assert one.ids == other.ids
        rows = np.arange(len(one))
        assert one.display(rows) == other.display(rows)
        for name in ("price", "created_at", "is_ad", "full_name"):
            column, same = getattr(one, name), getattr(other, name)
            np.testing.assert_array_equal(whole(column), same)
            np.testing.assert_array_equal(column[rows[::2]], same[::2])
        assert_same_attributes(one, other)
        for name in ("language", "country", "brand"):
            assert sizes_of(getattr(one, name)) == sizes_of(getattr(other, name))
        for name in ("en", "de", "fr"):
            np.testing.assert_array_equal(one.language.mask(name), other.language.mask(name))
        for name in ("red", "b1", "b2", *WORDS[:4]):
            for postings in ("boards", "engaged"):
                found, same = (getattr(table, postings).find(name) for table in (one, other))
                np.testing.assert_array_equal(found, same)
        wanted = word_keys(WORDS[:5])
        np.testing.assert_array_equal(
            one.names.at(rows).match(wanted), other.names.at(rows).match(wanted)
        )
        vectors = updated.spaces[entity, "learned"].vectors[rows]
        np.testing.assert_allclose(vectors, built.spaces[entity, "learned"].vectors[:], atol=1e-6)
    spaces = {key: space for key, space in built.spaces.items() if space.count}
    assert {key for key, space in updated.spaces.items() if space.count} == spaces.keys()
    for (entity, name), space in spaces.items():
        for word in WORDS[:6]:
            query = encoder.queries([word])[0]
            for allowed in (None, np.arange(len(space.present)) % 3 > 0):
                ranked = [
                    generation.spaces[entity, name].search(query, 7, 100, allowed)
                    for generation in (updated, built)
                ]
                np.testing.assert_allclose(ranked[0][1], ranked[1][1], atol=1e-5)
                clear = np.diff(ranked[0][1], append=-9) < -1e-5  # not equally near
                if clear.all():
                    np.testing.assert_array_equal(ranked[0][0], ranked[1][0])
    for entity in ITEM_ENTITIES:
        for query in (WORDS[0], " ".join(WORDS[:3]), f"{WORDS[4]} {WORDS[5]}s", "tables", "zzz"):
            for allowed in (None, np.arange(len(built.tables[entity])) % 2 > 0):
                for k in (3, 100):
                    rows, scores = updated.tokens[entity].search(query_tokens(query), k, allowed)
                    same = built.tokens[entity].search(query_tokens(query), k, allowed)
                    np.testing.assert_allclose(scores, same[1], rtol=1e-5)
                    np.testing.assert_array_equal(rows, same[0])
        texts = [generation.texts[entity] for generation in (updated, built)]
        below = [each.texts[entity].known for each in updated.segments if entity in each.texts]
        keys = np.concatenate([*below, texts[1].known])
        np.testing.assert_array_equal(*(each.frequency(keys) for each in texts))
        assert texts[0].size == texts[1].size
    wanted = word_keys(WORDS)
    every = [list(generation.texts.values()) for generation in (updated, built)]
    np.testing.assert_allclose(idf(every[0], wanted), idf(every[1], wanted))
    assert counted(updated.spelling) == counted(built.spelling)
    np.testing.assert_array_equal(updated.spelling.known, built.spelling.known)
    for typed in ("s", "rug", "cop", "table l", "kitchne", "bras si", *WORDS[:3]):
        assert suggested(updated, typed) == suggested(built, typed)
    for typo in ("walnt", "coper lamp", "chairtable", "sinks brss"):
        assert updated.spelling.respelled(typo) == built.spelling.respelled(typo)


def suggested(generation: Generation, typed: str) -> list[Found]:
    """What all sources suggest, with its counts."""
    key, parts = typed_key(typed), generation.suggestions
    found = [part.exact(key, 12) for part in parts] + [part.near(key, 12) for part in parts]
    return first_of(found, 12)


def assert_same_attributes(one: ItemTable, other: ItemTable) -> None:
    """Attributes of two tables give each item the same values."""

    def valued(table: ItemTable) -> dict[str, list[tuple[int, str]]]:
        return {
            name: sorted(
                (row, column.values[code])
                for row, code in zip(column.rows.tolist(), column.codes.tolist(), strict=True)
            )
            for name, column in table.attributes.items()
        }

    assert valued(one) == valued(other)
    assert one.attributes.keys() == other.attributes.keys()
    for name, column in one.attributes.items():
        assert column.folded == [normalise(value) for value in column.values]
        same = Column(column.rows, column.codes, column.values)
        np.testing.assert_array_equal(column.numbers, same.numbers)
        numbers = [
            dict(zip(each.values, each.numbers.tolist(), strict=True))
            for each in (other.attributes[name], column)
        ]
        np.testing.assert_equal({value: numbers[1][value] for value in numbers[0]}, numbers[0])
        kinds = [kind_of({"": table.attributes[name]}) for table in (one, other)]
        assert kinds[0] == kinds[1]


def sizes_of(column: Codes) -> dict[str, int]:
    sizes = zip(column.vocab, column.sizes.tolist(), strict=True)
    return {text: size for text, size in sizes if size}


def counted(spelling: Spelling) -> dict[str, int]:
    """The words that items have, and how many have each."""
    found = {word: spelling.count(word) for part in spelling.vocabularies for word in part.listed}
    return {word: count for word, count in found.items() if count}


def built_anew(workspace: Workspace, folder: Path, backend: str = "tantivy") -> Generation:
    """A generation of a copy of the catalogue, built from scratch."""
    if folder.exists():
        shutil.rmtree(folder)
    copy = Workspace.create(folder)
    if workspace.item_vectors.exists():
        shutil.copytree(workspace.item_vectors, copy.item_vectors, dirs_exist_ok=True)
    db = open_catalogue(workspace.catalogue)
    db.conn.execute("VACUUM INTO ?", [str(copy.catalogue)])
    db.conn.close()
    db = open_catalogue(copy.catalogue)
    build(copy, db, FakeEncoder())
    db.conn.close()
    return Generation.open(copy, token_backend=backend)


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
    put(db, "pin", id="aaa", title="zebra stool")
    put(db, "pin", id="pin010", title="zebra carpet")
    drop(db, "pin", "pin020")
    gone_title = before.tables["pin"].display([before.tables["pin"].row_of["pin020"]])[0]["title"]
    encoder.items_seen.clear()
    assert update(workspace, db, encoder) == 2
    assert sorted(encoder.items_seen) == ["aaa", "pin010"]
    after = Generation.open(workspace)
    table, old = after.tables["pin"], before.tables["pin"]
    assert table.ids == sorted({*old.ids, "aaa"} - {"pin020"})
    assert found_by_tokens(after, "zebra") == {"aaa", "pin010"}
    assert "pin020" not in found_by_tokens(after, gone_title)
    gone = encoder.items([{"id": "", "title": gone_title}], {})[0]
    assert "pin020" in found_by_vector(before, gone, 5)
    assert "pin020" not in found_by_vector(after, gone, 61)
    assert len(found_by_vector(after, gone, 61)) == 60
    new = encoder.items([{"id": "", "title": "zebra stool"}], {})[0]
    assert found_by_vector(after, new, 1) == {"aaa"}
    assert after.manifest["based_on"] == 1 and after.manifest["segments"] == [1, 2]
    assert verify(workspace) == []
    # The generation before still answers as it did.
    assert "pin020" in found_by_tokens(Generation.open(workspace, 1), gone_title)


def test_a_price_is_changed_in_the_table_alone(small: Small) -> None:
    """Nothing is encoded or indexed anew, and what words and vectors were opened for stays open."""
    workspace, db = small
    encoder = FakeEncoder()
    build(workspace, db, encoder)
    before = Generation.open(workspace)
    with db.conn:
        db.conn.execute("UPDATE products SET price = 7.5 WHERE id = 'product003'")
    encoder.items_seen.clear()
    assert update(workspace, db, encoder) == 2
    assert not encoder.items_seen
    written = {path.name for path in (workspace.generation(2) / "product").iterdir()}
    assert "columns.safetensors" in written
    assert not written & {"tantivy", "tokens.txt", "words.safetensors", "learned.npy"}
    after = Generation.open(workspace, like=before)
    row = after.tables["product"].row_of["product003"]
    assert after.tables["product"].price[row] == 7.5
    assert after.tables["product"].display([row])[0]["price"] == 7.5
    assert after.tokens is before.tokens and after.spaces is before.spaces
    assert_same(after, built_anew(workspace, workspace.root / "anew"), encoder)
    # Another title takes the item's words and vectors with it, and its price.
    put(db, "product", id="product003", title="zebra stool", price=7.5)
    assert update(workspace, db, encoder) == 3
    assert encoder.items_seen == ["product003"]
    assert Generation.open(workspace).manifest["segments"] == [1, 3]
    # Written anew with what is next, its words and vectors go with it.
    put(db, "product", id="product004", title="zebra lamp")
    assert update(workspace, db, encoder) == 4
    last = Generation.open(workspace, like=after)
    assert last.manifest["segments"] == [1, 4]
    assert found_by_tokens(last, "zebra", "product") == {"product003", "product004"}
    assert_same(last, built_anew(workspace, workspace.root / "anew"), encoder)
    assert verify(workspace) == []


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (["12,5", "heavy"], ["12,5", "4"]),
        (["12,5", "heavy"], ["12,5", None]),
        (["1,500", "2"], ["1,500", "12,5"]),
        (["12,5", "2"], ["12,5", "1,500"]),
        (["12,5", "1,500"], ["7", "1,500"]),
        (["12,5", "2"], ["12,5", "heavy"]),
    ],
)
def test_attributes_are_those_of_the_items_that_count(
    small: Small, before: list[str], after: list[str | None]
) -> None:
    """What a value is read as, and whether an attribute is usual, does not depend on those that no
    item has any more."""
    workspace, db = small

    def weigh(values: list[str] | list[str | None]) -> None:
        for number, value in enumerate(values):
            told = {} if value is None else {"weight": value}
            with db.conn:
                db.conn.execute(
                    "UPDATE products SET attributes = ?, colours = '[]' WHERE id = ?",
                    [orjson.dumps(told).decode(), f"product{number:03}"],
                )

    weigh(before)
    build(workspace, db, FakeEncoder())
    weigh(after)
    update(workspace, db, FakeEncoder())
    updated, built = Generation.open(workspace), built_anew(workspace, workspace.root / "anew")
    assert updated.manifest["segments"] == [1, 2]
    assert_same(updated, built, FakeEncoder())
    found, same = (Attributes(each.tables) for each in (updated, built))
    assert found.names == same.names and found.usual == same.usual
    assert found.named("weight").kind == same.named("weight").kind


def test_a_language_that_no_item_has_any_more_is_not_recognised(small: Small) -> None:
    workspace, db = small
    put(db, "pin", id="aaa", title="Stuhl ohne Lehne", language="de")
    build(workspace, db, FakeEncoder())
    assert "de" in Snapshot(Generation.open(workspace), NoEncoder(), None, 0).languages
    drop(db, "pin", "aaa")
    update(workspace, db, FakeEncoder())
    assert "de" not in Snapshot(Generation.open(workspace), NoEncoder(), None, 0).languages


def test_prices_may_all_change_without_a_build(
    small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(updating, "BUILD_ITEMS", 10)
    workspace, db = small
    encoder = FakeEncoder()
    build(workspace, db, encoder)
    for price in (3, 4):
        with db.conn:
            db.conn.execute("UPDATE products SET price = ?", [price])
        update(workspace, db, encoder)
    generation = Generation.open(workspace)
    assert generation.manifest["segments"] == [1, 3]
    assert set(whole(generation.tables["product"].price).tolist()) == {4.0}
    assert_same(generation, built_anew(workspace, workspace.root / "anew"), encoder)


def test_most_items_go(small: Small) -> None:
    """What is gone counts for nothing: neither as a frequency nor in the average length."""
    workspace, db = small
    build(workspace, db, FakeEncoder())
    for number in range(57):
        drop(db, "pin", f"pin{number:03}")
    for number in range(20):
        drop(db, "product", f"product{number:03}")
    update(workspace, db, FakeEncoder())
    updated = Generation.open(workspace)
    assert updated.manifest["segments"] == [1]
    assert_same(updated, built_anew(workspace, workspace.root / "anew"), FakeEncoder())


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


def test_the_weight_of_words_is_that_of_the_last_publication(small: Small) -> None:
    workspace, db = small
    build(workspace, db, FakeEncoder())
    assert Generation.open(workspace).word_weight is None
    for weight in (0.8, None):
        set_meta(db, "word_weight", weight)
        db.conn.commit()
        update(workspace, db, FakeEncoder())
        assert Generation.open(workspace).word_weight == weight


def test_an_update_opens_only_what_it_needs(small: Small) -> None:
    """The parts of a build that are large are neither read nor written again."""
    workspace, db = small
    build(workspace, db, FakeEncoder())
    for path in workspace.generation(1).rglob("learned*"):
        path.unlink()
    put(db, "pin", id="aaa", title="zebra stool")
    assert update(workspace, db, FakeEncoder()) == 2
    assert not list(workspace.generation(2).rglob("*.hnsw"))
    assert {path.parent.name for path in workspace.generation(2).rglob("*.npy")} == {"pin"}


def test_small_segments_are_written_anew(small: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(updating, "_SMALL", 2)
    workspace, db = small
    build(workspace, db, FakeEncoder())
    segments = []
    for number in range(24):
        put(db, "pin", id=f"new{number:02}", title="zebra")
        update(workspace, db, FakeEncoder(), BuildOptions(retention=1))
        segments.append(Generation.open(workspace).manifest["segments"])
    assert max(map(len, segments)) <= 4
    kept = {int(path.name) for path in workspace.generations.iterdir()}
    assert kept == {*segments[-1], 25}
    assert len(found_by_tokens(Generation.open(workspace), "zebra")) == 24


def test_after_many_changes_all_is_built(small: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(updating, "BUILD_ITEMS", 10)
    workspace, db = small
    build(workspace, db, FakeEncoder())
    for number in range(12):
        put(db, "pin", id=f"new{number:02}", title="zebra")
        update(workspace, db, FakeEncoder())
    generation = Generation.open(workspace)
    assert generation.manifest["segments"][0] > 1
    assert len(found_by_tokens(generation, "zebra")) == 12


def test_an_update_that_may_not_build_says_that_a_build_is_due(
    small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(updating, "BUILD_ITEMS", 10)
    workspace, db = small
    build(workspace, db, FakeEncoder())
    due = []
    for number in range(12):
        put(db, "pin", id=f"new{number:02}", title="zebra")
        update(workspace, db, FakeEncoder(), may_build=False)
        due.append(Generation.open(workspace).manifest["build_due"])
    assert due == [False] * 10 + [True] * 2
    assert Generation.open(workspace).manifest["segments"][0] == 1
    update(workspace, db, FakeEncoder())  # nothing changed
    assert live_number(workspace) == 13
    put(db, "pin", id="last", title="zebra")
    update(workspace, db, FakeEncoder())
    assert not Generation.open(workspace).manifest["build_due"]


def test_a_build_that_was_removed_is_not_taken_for_one_of_the_same_number(small: Small) -> None:
    workspace, db = small
    put(db, "pin", id="aaa", title="zebra stool")
    build(workspace, db, FakeEncoder())
    put(db, "pin", id="bbb", title="lamp")
    update(workspace, db, FakeEncoder())  # which has read the digests of the first
    shutil.rmtree(workspace.generations)
    workspace.current.unlink()
    drop(db, "pin", "bbb")
    put(db, "pin", id="aaa", title="copper lamp")
    assert build(workspace, db, FakeEncoder()) == 1
    put(db, "pin", id="aaa", title="zebra stool")
    update(workspace, db, FakeEncoder())
    assert found_by_tokens(Generation.open(workspace), "zebra") == {"aaa"}


def test_segments_that_are_open_stay_open(small: Small) -> None:
    workspace, db = small
    build(workspace, db, FakeEncoder())
    first = Generation.open(workspace)
    put(db, "pin", id="aaa", title="zebra stool")
    update(workspace, db, FakeEncoder())
    second = Generation.open(workspace, like=first)
    assert second.segments[0] is first.segments[0]
    assert found_by_tokens(second, "zebra") == {"aaa"}
    assert not found_by_tokens(first, "zebra")
    drop(db, "pin", "aaa")
    build(workspace, db, FakeEncoder())
    third = Generation.open(workspace, like=second)
    assert third.segments[0] is not first.segments[0]


def test_what_an_item_is_made_of_elsewhere(small: Small) -> None:
    workspace, db = small
    build(workspace, db, FakeEncoder())
    with db.conn:
        db.conn.execute("INSERT INTO boards VALUES ('b1', 'Board', 'me', 'en')")
        db.conn.execute("INSERT INTO board_items VALUES ('b1', 'pin', 'pin003', 5)")
    engage(db, WORDS[0], "pin", "pin001")
    update(workspace, db, FakeEncoder())
    generation = Generation.open(workspace)
    on = generation.tables["pin"].boards.find("b1")[0]
    assert [generation.tables["pin"].ids[row] for row in on] == ["pin003"]
    assert generation.tables["query"].ids == [WORDS[0]]  # the only one with engagement
    with db.conn:
        db.conn.execute("DELETE FROM board_items")
    update(workspace, db, FakeEncoder())
    assert not len(Generation.open(workspace).tables["pin"].boards.find("b1")[0])


def test_an_update_of_another_version_s_generation_is_a_build(small: Small) -> None:
    workspace, db = small
    encoder = FakeEncoder()
    path = workspace.generation(build(workspace, db, encoder)) / "manifest.json"
    path.write_bytes(orjson.dumps({**orjson.loads(path.read_bytes()), "format": 1}))
    put(db, "pin", id="aaa", title="zebra")
    assert update(workspace, db, encoder) == 2
    generation = Generation.open(workspace)
    assert generation.tables["pin"].ids[0] == "aaa" and generation.manifest["based_on"] is None


def test_an_update_without_a_base_or_of_another_checkpoint_is_a_build(small: Small) -> None:
    workspace, db = small
    assert update(workspace, db, FakeEncoder("a" * 16)) == 1
    put(db, "pin", id="aaa", title="zebra")
    assert update(workspace, db, FakeEncoder("b" * 16, dim=8)) == 2
    generation = Generation.open(workspace)
    assert generation.tables["pin"].ids[0] == "aaa"
    assert generation.manifest["based_on"] is None


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


ITEM = st.integers(0, 24)
TITLE = st.lists(st.sampled_from(WORDS[:8]), max_size=5)
STEP = st.one_of(
    st.tuples(st.just("put"), st.sampled_from(ITEM_ENTITIES), ITEM, TITLE),
    st.tuples(st.just("drop"), st.sampled_from(ITEM_ENTITIES), ITEM),
    st.tuples(st.just("price"), st.sampled_from(ITEM_ENTITIES), ITEM, st.integers(1, 9)),
    st.tuples(st.just("board"), st.sampled_from(("b1", "b2")), ITEM),
    st.tuples(st.just("engage"), st.sampled_from(WORDS[:10]), ITEM, st.integers(0, 9)),
    st.tuples(st.just("vector"), ITEM, st.integers(0, 3)),
    st.tuples(st.just("back")),
)


def take(workspace: Workspace, db: sqlite_utils.Database, step: tuple) -> None:
    what, *given = step
    if what == "put":
        entity, number, title = given
        language = ("en", "de", None)[number % 3]
        sku = {"sku": f"WH-{number % 5}"} if entity == "product" else {}
        told = {"Colour": title, "weight": number % 7, "of": f"A > {number % 3}"}
        sku |= {"attributes": orjson.dumps({k: v for k, v in told.items() if v}).decode()}
        sku |= {"availability": ("in_stock", "out_of_stock", None)[len(title) % 3]}
        engaged = [[" ".join(title[:1]), 0.5, 1]] if title and number % 4 == 0 else None
        put(
            db,
            entity,
            id=f"{entity}{number:03}",
            title=" ".join(title),
            language=language,
            engaged_queries=engaged,
            **sku,
        )
    elif what == "price":  # and what else is in the table alone
        entity, number, price = given
        told = {"price": price, "created_at": price} | (
            {"availability": "out_of_stock"} if price > 5 else {}
        )
        with db.conn:
            columns = ", ".join(
                f"{name} = :{name}" for name in told if name in db[f"{entity}s"].columns_dict
            )
            key = {"id": f"{entity}{number:03}"}
            db.conn.execute(f"UPDATE {entity}s SET {columns} WHERE id = :id", told | key)
    elif what == "drop":
        drop(db, given[0], f"{given[0]}{given[1]:03}")
    elif what == "board":
        with db.conn:
            key = (given[0], "pin", f"pin{given[1]:03}")
            if not db.conn.execute(
                "DELETE FROM board_items WHERE (board_id, entity, item_id) = (?, ?, ?)", key
            ).rowcount:
                db.conn.execute("INSERT INTO board_items VALUES (?, ?, ?, 1)", key)
    elif what == "engage":
        engage(db, given[0], "pin", f"pin{given[1]:03}", time=given[2])
    elif what == "vector":
        vector = np.random.default_rng(given[1]).normal(size=(1, 16)).astype(np.float32)
        write_vectors(workspace, db, "pinsage", "pin", [f"pin{given[0]:03}"], vector)
    elif live_number(workspace) > 1:
        rollback(workspace)


# Shrinking takes minutes.
@settings(
    max_examples=12,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
    suppress_health_check=list(HealthCheck),
)
@given(
    st.lists(st.lists(STEP, min_size=1, max_size=10), min_size=1, max_size=5),
    st.sampled_from((0, 4, 256)),
    st.sampled_from((None, 1, 6)),
    st.sampled_from(("tantivy", "rank-bm25")),
)
def test_updates_answer_as_a_build_would(
    rounds: list, small: int, most: int | None, backend: str
) -> None:
    with tempfile.TemporaryDirectory() as root, pytest.MonkeyPatch.context() as patch:
        patch.setattr(updating, "_SMALL", small)
        workspace, db = new_catalogue(Path(root) / "updated")
        fill(db, pins=20, products=8)
        encoder, last = FakeEncoder(), None
        build(workspace, db, encoder)
        for steps in rounds:
            for step in steps:
                take(workspace, db, step)
            update(workspace, db, encoder, most=most)
            last = Generation.open(workspace, token_backend=backend, like=last)
            built = built_anew(workspace, Path(root) / "anew", backend)
            assert_same(last, built, encoder)
            assert verify(workspace) == []
            if most is not None and merge(workspace, db, encoder) is not None:
                last = Generation.open(workspace, token_backend=backend, like=last)
                assert_same(last, built, encoder)
                assert verify(workspace) == []
        db.conn.close()


def test_a_publication_leaves_large_segments_to_a_merge(
    small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(updating, "_SMALL", 2)
    workspace, db = small
    build(workspace, db, FakeEncoder())
    sizes, due = [], []
    for number in range(16):
        put(db, "pin", id=f"new{number:02}", title="zebra")
        update(workspace, db, FakeEncoder(), most=3)
        manifest = Generation.open(workspace).manifest
        sizes.append(manifest["entities"]["pin"]["own"])
        due.append(manifest["merge_due"])
    assert max(sizes) <= 4 and any(due)  # at most one that is new, and a segment of three
    before = Generation.open(workspace).manifest
    number = merge(workspace, db, FakeEncoder())
    generation = Generation.open(workspace)
    assert generation.number == number == before["number"] + 1
    assert len(generation.manifest["segments"]) < len(before["segments"])
    assert not generation.manifest["merge_due"]
    assert found_by_tokens(generation, "zebra") == {f"new{number:02}" for number in range(16)}
    assert update(workspace, db, FakeEncoder()) == number  # nothing is left to do
    assert verify(workspace) == []


def test_updates_go_on_while_segments_are_merged(
    small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What they published meanwhile is on top; after a rollback there is nothing to merge."""
    workspace, db = small
    encoder = FakeEncoder()
    build(workspace, db, encoder)
    for key in ("ccc", "ddd"):
        put(db, "pin", id=key, title="zebra lamp")
        update(workspace, db, encoder, most=0)
    assert Generation.open(workspace).manifest["segments"] == [1, 2, 3]
    written = merging.write_merged

    def meanwhile(*arguments: Any) -> Any:
        found = written(*arguments)
        other = open_catalogue(workspace.catalogue)
        put(other, "pin", id="aaa", title="zebra stool")
        drop(other, "pin", "ccc")
        drop(other, "pin", "pin003")
        assert update(workspace, other, FakeEncoder(), most=0) == 4
        other.conn.close()
        return found

    monkeypatch.setattr(merging, "write_merged", meanwhile)
    assert merge(workspace, db, encoder) == 6
    generation = Generation.open(workspace)
    assert generation.manifest["segments"] == [1, 6]  # so few are written anew again
    assert found_by_tokens(generation, "zebra") == {"aaa", "ddd"}
    assert "pin003" not in generation.tables["pin"].row_of
    assert_same(generation, built_anew(workspace, workspace.root / "anew"), encoder)

    def rolled_back(*arguments: Any) -> Any:
        found = written(*arguments)
        build(workspace, db, FakeEncoder())
        return found

    monkeypatch.setattr(merging, "write_merged", rolled_back)
    monkeypatch.setattr(merging, "build_lock", lambda _: nullcontext())
    put(db, "pin", id="eee", title="zebra lamp")
    update(workspace, db, encoder, most=0)
    before = live_number(workspace)
    assert merge(workspace, db, encoder) is None
    assert live_number(workspace) == before + 1
    assert verify(workspace) == []


def test_a_merge_outlives_the_generation_that_it_began_with(
    small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, db = small
    encoder = FakeEncoder()
    build(workspace, db, encoder)
    for key in ("ccc", "ddd"):
        put(db, "pin", id=key, title="zebra lamp")
        update(workspace, db, encoder, most=0)
    written, before = merging.write_merged, live_number(workspace)

    def meanwhile(*arguments: Any) -> Any:
        other = open_catalogue(workspace.catalogue)
        for number in range(5):
            put(other, "pin", id=f"new{number}", title="zebra stool")
            update(workspace, other, FakeEncoder(), most=256)
        other.conn.close()
        assert not workspace.generation(before).exists()
        return written(*arguments)

    monkeypatch.setattr(merging, "write_merged", meanwhile)
    merge(workspace, db, encoder)
    generation = Generation.open(workspace)
    found = {"ccc", "ddd", *(f"new{number}" for number in range(5))}
    assert found_by_tokens(generation, "zebra") == found
    assert verify(workspace) == []


def test_updates_go_on_while_all_is_built(small: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    """What they published meanwhile is on top of the build, and the build is of one state."""
    workspace, db = small
    encoder = FakeEncoder()
    build(workspace, db, encoder)
    written = building.write_build

    def meanwhile(*arguments: Any) -> Any:
        found = written(*arguments)
        other = open_catalogue(workspace.catalogue)
        put(other, "pin", id="aaa", title="zebra stool")
        drop(other, "pin", "pin003")
        assert update(workspace, other, FakeEncoder()) == 2
        put(other, "pin", id="bbb", title="zebra rug")
        assert update(workspace, other, FakeEncoder()) == 3
        with pytest.raises(NotReady, match="building indexes"):
            build(workspace, other, FakeEncoder())
        other.conn.close()
        return found

    monkeypatch.setattr(building, "write_build", meanwhile)
    assert build(workspace, db, encoder) == 5
    generation = Generation.open(workspace)
    assert generation.manifest["segments"] == [4, 5]
    assert found_by_tokens(generation, "zebra") == {"aaa", "bbb"}
    assert "pin003" not in generation.tables["pin"].row_of
    monkeypatch.undo()
    assert_same(generation, built_anew(workspace, workspace.root / "anew"), encoder)
    assert update(workspace, db, encoder) == 5  # nothing is left to do
