"""The PinSage and ItemSage stand-ins: near means alike, absent means unknown, nothing leaks."""

from __future__ import annotations

import random

import numpy as np
import pytest
import scipy.sparse as sp

from data.catalogue import open_catalogue
from data.errors import NotReady
from data.features import open_feature, write_feature
from data.pairs import DAY, check_leak, time_split
from encoders.graph.factorise import truncated_svd, unit_rows
from encoders.graph.itemsage import fit_itemsage, tf_idf
from encoders.graph.pinsage import RESUME, WALKS, fit_pinsage, pin_board_graph, walk_vectors

END = 1_600_000_000


@pytest.fixture
def db(workspace):
    db = open_catalogue(workspace.catalogue, create=True)
    yield db
    db.conn.close()


def add_boards(db, memberships, added=None):
    """Memberships: board → pins."""
    with db.conn:
        for board, pins in memberships.items():
            for pin in pins:
                db.conn.execute("INSERT OR IGNORE INTO pins (id) VALUES (?)", [pin])
                db.conn.execute(
                    "INSERT INTO board_items VALUES (?, 'pin', ?, ?)", [board, pin, added]
                )


def themes(db, count=6, size=30, boards=20, seed=0):
    """Pins 't<theme>-<n>' on boards that keep to one theme, and some that do not."""
    chance = random.Random(seed)
    pins = [f"t{theme}-{n}" for theme in range(count) for n in range(size)]
    add_boards(
        db,
        {
            f"b{theme}-{b}": chance.sample(pins[theme * size : (theme + 1) * size], 6)
            for theme in range(count)
            for b in range(boards)
        },
    )
    add_boards(db, {f"misc-{b}": chance.sample(pins, 15) for b in range(8)})


def neighbours_of_the_same_theme(feature, k=10):
    similar = feature.vectors @ feature.vectors.T
    np.fill_diagonal(similar, -2)
    nearest = np.argsort(-similar, axis=1)[:, :k]
    theme = np.array([key.split("-")[0] for key in feature.ids])
    return (theme[nearest] == theme[:, None]).mean()


def log(db, *events):
    """Events are (time, query, item, action) of products."""
    with db.conn:
        db.conn.executemany(
            "INSERT INTO engagements (time, query, entity, item_id, action, count) "
            "VALUES (?, ?, 'product', ?, ?, 1)",
            events,
        )


def test_pins_of_one_theme_are_near(workspace, db):
    themes(db)
    feature = fit_pinsage(workspace, db, dim=64)
    assert feature.vectors.shape == (len(feature.ids), 64) and len(feature.ids) > 170
    assert feature.vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(feature.vectors, axis=1), 1, atol=1e-5)
    assert neighbours_of_the_same_theme(feature) > 0.9
    assert open_feature(workspace, db, "pinsage", "pin").ids == feature.ids


def test_the_same_seed_gives_the_same_vectors(workspace, db):
    themes(db, count=3)
    first, second = (np.array(fit_pinsage(workspace, db, dim=32).vectors) for _ in range(2))
    assert np.array_equal(first, second)
    assert not np.array_equal(first, fit_pinsage(workspace, db, dim=32, seed=1).vectors)


def test_walk_vectors_approximate_the_dense_walk(db):
    """Cosines of the projected rows are those of the exact walk distributions, but for noise."""
    themes(db, count=3)
    _, graph = pin_board_graph(db, 2**62)
    links = graph.toarray()
    step = links / links.sum(axis=1, keepdims=True)
    back = (links / links.sum(axis=0)).T
    size = 1 / np.sqrt(links.sum(axis=0))
    exact, reach = np.zeros(links.shape), step
    for k in range(WALKS):
        scaled = reach * size
        exact = exact + RESUME**k * scaled / np.linalg.norm(scaled, axis=1, keepdims=True)
        reach = reach @ back @ step
    exact = exact / np.linalg.norm(exact, axis=1, keepdims=True)
    found = walk_vectors(graph, 4096, seed=0)
    assert np.abs(found @ found.T - exact @ exact.T).max() < 0.12
    # What the projection loses at the usual size is noise of about 1 / sqrt(dim).
    small = walk_vectors(graph, 256, seed=0)
    assert np.abs(small @ small.T - exact @ exact.T).std() < 1.2 / np.sqrt(256)


def test_pins_of_which_nothing_is_known_are_absent(workspace, db):
    themes(db, count=2)
    add_boards(db, {"alone": ["lonely"]})
    with db.conn:
        db.conn.execute("INSERT INTO pins (id) VALUES ('nowhere')")
        db.conn.execute("INSERT INTO board_items VALUES ('b0-0', 'pin', 'deleted', NULL)")
    ids = fit_pinsage(workspace, db, dim=32).ids
    assert len(ids) > 55 and not {"lonely", "nowhere", "deleted"} & set(ids)


def test_without_a_graph_there_is_no_feature(workspace, db):
    with db.conn:
        db.conn.execute("INSERT INTO pins (id) VALUES ('p')")
    feature = fit_pinsage(workspace, db)
    assert feature.vectors.shape == (0, 256)
    assert open_feature(workspace, db, "pinsage", "pin") is None
    add_boards(db, {"b": ["p"]})
    assert fit_pinsage(workspace, db).ids == []
    add_boards(db, {"both": ["p", "q"]})
    feature = fit_pinsage(workspace, db)
    assert feature.ids == ["p", "q"] and np.allclose(feature.vectors[0], feature.vectors[1])


@pytest.mark.parametrize("size", [16, 90])
def test_pictures_join_the_walks_and_reach_cold_pins(workspace, db, size):
    themes(db, count=3)
    chance = np.random.default_rng(0)
    ids = [f"t{theme}-{n}" for theme in range(3) for n in range(30)] + ["cold"]
    looks = chance.standard_normal((3, size))[[0] * 30 + [1] * 30 + [2] * 30 + [1]]
    looks = looks + 0.3 * chance.standard_normal((91, size))
    with db.conn:
        db.conn.execute("INSERT INTO pins (id) VALUES ('cold')")
    plain = neighbours_of_the_same_theme(fit_pinsage(workspace, db, dim=64))
    write_feature(workspace, db, "image", "pin", ids, looks.astype(np.float32))
    feature = fit_pinsage(workspace, db, dim=64)
    assert set(feature.ids) == set(ids)
    assert neighbours_of_the_same_theme(feature) >= plain
    near = np.argsort(-feature.vectors @ feature.vectors[feature.index["cold"]])[1:6]
    assert {feature.ids[row].split("-")[0] for row in near} == {"t1"}


def test_fitting_again_keeps_nothing_of_another_space(workspace, db):
    themes(db, count=2)
    fit_pinsage(workspace, db, dim=32)
    with db.conn:
        db.conn.execute("DELETE FROM board_items WHERE item_id = 't0-0'")
    assert "t0-0" not in fit_pinsage(workspace, db, dim=48).index


def test_saves_of_the_evaluation_are_not_walked(workspace, db):
    add_boards(db, {"early": ["a", "b"]}, END - 50 * DAY)
    add_boards(db, {"late": ["c", "d"]}, END - DAY)
    add_boards(db, {"undated": ["e", "f"]})
    with db.conn:
        db.conn.execute("INSERT INTO products (id, title) VALUES ('g', 'lamp')")
    log(db, (END - 90 * DAY, "q", "g", "save"), (END, "q", "g", "save"))
    assert set(fit_pinsage(workspace, db, dim=16).ids) == {"a", "b", "e", "f"}
    check_leak(db, time_split(db))
    assert len(fit_pinsage(workspace, db, dim=16, until=2**62).ids) == 6
    with pytest.raises(NotReady, match="pinsage"):
        check_leak(db, time_split(db))
    # Imported vectors take the fit's place: where they come from is not ours to judge.
    write_feature(
        workspace, db, "pinsage", "pin", ["a"], np.ones((1, 16), np.float32), replace=True
    )
    check_leak(db, time_split(db))


def products(db, titles):
    with db.conn:
        db.conn.executemany(
            "INSERT INTO products (id, title) VALUES (?, ?)",
            [(f"g{n}", title) for n, title in enumerate(titles)],
        )


def cosine(feature, a, b):
    return float(feature.vectors[feature.index[a]] @ feature.vectors[feature.index[b]])


def test_products_of_alike_text_are_near(workspace, db):
    products(db, ["oak table", "oak table large", "silk dress", "red silk dress", "oak chair", ""])
    feature = fit_itemsage(workspace, db, dim=16)
    assert feature.dim == 16 and feature.ids == ["g0", "g1", "g2", "g3", "g4"]  # g5 says nothing
    assert np.allclose(np.linalg.norm(feature.vectors, axis=1), 1, atol=1e-5)
    assert cosine(feature, "g0", "g1") > 0.9 > 0.1 > abs(cosine(feature, "g0", "g2"))
    assert cosine(feature, "g2", "g3") > 0.9


def test_queries_in_common_bring_different_words_together(workspace, db):
    products(db, ["sofa grey", "couch blue", "lamp grey", "vase blue", "sofa red", "couch red"])
    apart = cosine(fit_itemsage(workspace, db, dim=16), "g0", "g1")
    log(db, *((n, f"q{n % 3}", f"g{n % 2}", "save") for n in range(6)))
    feature = fit_itemsage(workspace, db, dim=16)
    assert cosine(feature, "g0", "g1") > apart + 0.2
    assert np.array_equal(feature.vectors, fit_itemsage(workspace, db, dim=16).vectors)


def test_engagement_of_the_evaluation_and_of_held_out_queries_is_not_read(workspace, db):
    products(db, ["sofa grey", "couch blue", "lamp grey", "vase blue"])
    log(db, (END - 90 * DAY, "first", "g2", "save"), (END, "last", "g2", "save"))
    before = np.array(fit_itemsage(workspace, db, dim=16).vectors)
    log(db, (END - DAY, "leak", "g0", "save"), (END - DAY, "leak", "g1", "save"))
    log(db, (END - 60 * DAY, "kept", "g0", "save"), (END - 60 * DAY, "kept", "g1", "save"))
    with db.conn:
        db.conn.execute("INSERT INTO queries (id, split) VALUES ('kept', 'test')")
    assert np.array_equal(fit_itemsage(workspace, db, dim=16).vectors, before)
    check_leak(db, time_split(db))
    assert not np.array_equal(fit_itemsage(workspace, db, dim=16, until=2**62).vectors, before)
    with pytest.raises(NotReady, match="itemsage"):
        check_leak(db, time_split(db))


def test_one_product_or_none_is_no_error(workspace, db):
    assert fit_itemsage(workspace, db).ids == []
    products(db, ["oak table"])
    feature = fit_itemsage(workspace, db)
    assert feature.ids == ["g0"] and feature.vectors.shape == (1, 256)


@pytest.mark.parametrize("shape", [(900, 700), (900, 50), (50, 900), (7, 1), (1, 7), (1, 1)])
def test_the_svd_equals_the_dense_one(shape):
    chance = np.random.default_rng(0)
    matrix = sp.random(*shape, density=0.4, rng=chance, format="csr", dtype=np.float32)
    factors = truncated_svd(matrix, 20, seed=0)
    values = np.linalg.svd(matrix.toarray(), compute_uv=False)[:20]
    assert np.allclose(factors.values, values[: len(factors.values)], rtol=1e-3, atol=1e-3)
    # Left vectors times values span what the matrix does: their Gram matrix is its best one.
    kept = factors.rows * factors.values
    u, s, _ = np.linalg.svd(matrix.toarray(), full_matrices=False)
    best = (u[:, :20] * s[:20]) @ (u[:, :20] * s[:20]).T
    assert np.allclose(kept @ kept.T, best, atol=1e-2 * max(1.0, s[0] ** 2) * 0.05)


def test_unit_rows_pads_and_tells_the_absent():
    rows, present = unit_rows(np.array([[3.0, 4.0], [0.0, 0.0]], np.float32), 5)
    assert present.tolist() == [True, False]
    assert np.allclose(rows, [[0.6, 0.8, 0, 0, 0]])


def test_tf_idf_prefers_rare_words_and_drops_what_ties_nothing():
    counts = sp.csr_matrix(np.array([[1, 1, 1], [1, 1, 0], [1, 0, 0]], np.float32))
    weighted = tf_idf(counts, 10).toarray()
    assert weighted.shape == (3, 2)  # the last column is in one row only
    assert weighted[0, 1] > weighted[0, 0] > 0
    assert tf_idf(counts, 1).shape == (3, 1)
