"""PinSage: near means alike, new pins get vectors without training, nothing leaks."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
from graph_world import END, add_boards, engage, items, same_theme, themes

from omnisearch.cli.main import app
from omnisearch.data.catalogue.schema import open_catalogue
from omnisearch.data.catalogue.splits import DAY, check_leak, time_split
from omnisearch.data.catalogue.vectors import open_vectors
from omnisearch.data.catalogue.vectors_write import write_vectors
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import Corrupt, NotReady
from omnisearch.enrichment.graph import saved_networks as saved
from omnisearch.enrichment.graph.cooccurrence import CrossSource, PairSource, group_edges
from omnisearch.enrichment.graph.embeddings import refresh
from omnisearch.enrichment.graph.pinsage import embed_pinsage, fit_pinsage
from omnisearch.enrichment.graph.pinsage_network import pool
from omnisearch.enrichment.graph.walks import neighbourhoods, pin_board_graph


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """Themes with noisy pictures and texts, the network fitted to them. Change nothing."""
    workspace = Workspace.create(tmp_path_factory.mktemp("sage") / "workspace")
    db = open_catalogue(workspace.catalogue, create=True)
    looks = themes(workspace, db)
    return workspace, db, fit_pinsage(workspace, db, dim=64), looks


def test_importance_pooling_equals_a_plain_loop():
    chance = np.random.default_rng(0)
    messages = chance.standard_normal((9, 5)).astype(np.float32)
    rows, weights = chance.integers(9, size=(4, 3)), chance.random((4, 3)).astype(np.float32)
    weights[3] = 0
    expected = np.zeros((4, 5))
    for pin in range(4):
        for place in range(3):
            expected[pin] += weights[pin, place] * messages[rows[pin, place]]
    found = pool(*(torch.from_numpy(given) for given in (messages, rows, weights)))
    assert np.allclose(found.numpy(), expected, atol=1e-6)


def test_walks_visit_as_the_exact_chain_does(db):
    """Shares of visits are those of the restarting chain, computed densely."""
    add_boards(db, {"a": list("pqr"), "b": list("rs"), "c": list("stuvw")})
    ids = sorted("pqrstuvw")
    graph = pin_board_graph(db, ids, 2**62)
    links = graph.toarray()
    step = (links / links.sum(1, keepdims=True)) @ (links / links.sum(0)).T
    at, visits = np.eye(8), np.zeros((8, 8))
    for _ in range(8):
        after = at @ step
        visits += after
        at = 0.5 * after + 0.5 * np.eye(8)
    np.fill_diagonal(visits, 0)
    exact = visits / visits.sum(1, keepdims=True)
    runs = []
    for seed in range(40):
        near, found = neighbourhoods(graph, ids, 8, seed), np.zeros((8, 8))
        np.add.at(found, (np.arange(8)[:, None], near.rows), near.weights)
        runs.append(found)
    assert np.abs(np.mean(runs, axis=0) - exact).max() < 0.03


def test_neighbours_stay_where_nothing_around_them_changed(db):
    add_boards(db, {"a": list("bcde"), "z": list("xy")})
    ids = list("bcdexy")
    before = neighbourhoods(pin_board_graph(db, ids, 2**62), ids)
    add_boards(db, {"k": list("mnx")})
    more = list("bcdemnxy")
    after = neighbourhoods(pin_board_graph(db, more, 2**62), more)
    assert np.array_equal(before.rows[:4], after.rows[:4])
    assert np.array_equal(before.weights[:4], after.weights[:4])
    assert not np.array_equal(before.weights[4], after.weights[6])


def test_drawn_neighbours_pool_as_all_do_on_average(db):
    add_boards(db, {"a": list("bcde"), "z": list("bx")})
    ids = ["alone", "b", "c", "d", "e", "x"]
    near = neighbourhoods(pin_board_graph(db, ids, 2**62), ids)
    some = near.drawn(np.array([0, 1]), 4000, np.random.default_rng(0))
    assert not some.weights[0].any()
    for row in range(1, 6):
        share = some.weights[1][some.rows[1] == row].sum()
        assert share == pytest.approx(near.weights[1][near.rows[1] == row].sum(), abs=0.04)


def test_pairs_are_drawn_as_often_as_logq_says():
    ids = list("abcdef")
    edges = [("one", key) for key in "abc"] + [("two", key) for key in "cd"] + [("three", "e")]
    rng, groups = np.random.default_rng(0), group_edges(edges, ids)
    pairs = PairSource.of(groups, 6)
    first, second, group = pairs.draw(20_000, rng)
    assert not (first == second).any() and set(group) == {0, 1}
    seen = np.bincount(second, minlength=6) / 20_000
    assert np.allclose(np.exp(pairs.log_share), seen, atol=0.02)
    others = group_edges([("two", "x"), ("one", "x"), ("one", "y"), ("four", "z")], list("xyz"))
    cross = CrossSource.of(groups, others, 3)
    first, second, _ = cross.draw(20_000, rng)
    seen = np.bincount(second, minlength=3) / 20_000
    assert np.allclose(np.exp(cross.log_share), seen, atol=0.02)
    assert set(zip(first.tolist(), second.tolist(), strict=True)) == {
        (0, 0), (1, 0), (2, 0), (0, 1), (1, 1), (2, 1), (3, 0),
    }  # fmt: skip


def test_a_trained_network_beats_the_raw_pictures(fitted):
    _, _, feature, looks = fitted
    assert feature.vectors.shape == (len(feature.ids), 64) and feature.vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(feature.vectors, axis=1), 1, atol=1e-5)
    assert same_theme(feature) > same_theme(looks) + 0.2
    assert same_theme(feature) > 0.8


def test_the_saved_network_equals_the_one_in_memory(fitted):
    workspace, db, feature, _ = fitted
    before = np.array(feature.vectors)
    after = embed_pinsage(workspace, db)
    assert after.ids == feature.ids and np.array_equal(after.vectors, before)


def test_new_pins_get_vectors_without_training(fitted, tmp_path):
    shutil.copytree(fitted[0].root, tmp_path / "copy")
    workspace = Workspace.open(tmp_path / "copy")
    db = open_catalogue(workspace.catalogue)
    items(db, "pins", {"words": "theme3 word3 thing", "boards": "", "nothing": ""})
    add_boards(db, {f"b2-{n}": ["boards"] for n in range(10)})
    assert refresh(workspace, db, "pinsage").how == "embedded"
    feature = open_vectors(workspace, db, "pinsage", "pin")
    assert "nothing" not in feature.index
    of = np.array([key.split("-")[0] for key in feature.ids])
    for key, theme in (("words", "t3"), ("boards", "t2")):
        similar = feature.vectors @ feature.vectors[feature.index[key]]
        means = {each: similar[of == each].mean() for each in ("t0", "t1", "t2", "t3", "t4")}
        assert max(means, key=means.get) == theme
    db.conn.close()


def test_the_same_seed_gives_the_same_vectors(workspace, db, quick):
    themes(workspace, db, count=3)
    first, second = (np.array(fit_pinsage(workspace, db, dim=32).vectors) for _ in range(2))
    assert np.array_equal(first, second)
    assert not np.array_equal(first, fit_pinsage(workspace, db, dim=32, seed=1).vectors)


def test_without_pairs_there_is_no_feature(workspace, db):
    items(db, "pins", {"p": "oak", "q": "elm"})
    add_boards(db, {"b": ["p"]})
    assert fit_pinsage(workspace, db).vectors.shape == (0, 256)
    assert refresh(workspace, db, "pinsage").how == "nothing"
    assert open_vectors(workspace, db, "pinsage", "pin") is None


def test_what_comes_after_training_is_not_read(workspace, db, quick):
    themes(workspace, db, count=2, boards=4)
    engage(db, "pin", (END - 90 * DAY, "q", "t0-0", "save"), (END, "q", "t1-0", "save"))
    before = np.array(fit_pinsage(workspace, db, dim=16).vectors)
    add_boards(db, {"late": ["t0-0", "t1-1", "t1-2"]}, END - DAY)
    engage(db, "pin", *((END - DAY, "r", f"t{n % 2}-{n}", "save") for n in range(9)))
    engage(db, "pin", *((END - 60 * DAY, "kept", f"t{n % 2}-{n}", "save") for n in range(9)))
    with db.conn:
        db.conn.execute("INSERT INTO queries (id, split) VALUES ('kept', 'test')")
    assert np.array_equal(fit_pinsage(workspace, db, dim=16).vectors, before)
    check_leak(db, time_split(db))
    assert not np.array_equal(fit_pinsage(workspace, db, dim=16, until=2**62).vectors, before)
    with pytest.raises(NotReady, match="pinsage"):
        check_leak(db, time_split(db))
    # The network itself has seen it: embedding anew does not mend that, training again does.
    embed_pinsage(workspace, db)
    with pytest.raises(NotReady, match="--again"):
        check_leak(db, time_split(db))
    refresh(workspace, db, "pinsage", again=True)
    check_leak(db, time_split(db))


def test_imported_vectors_are_left_alone(workspace, db, quick):
    themes(workspace, db, count=2, boards=4)
    write_vectors(workspace, db, "pinsage", "pin", ["t0-0"], np.ones((1, 16), np.float32))
    assert refresh(workspace, db, "pinsage").how == "imported"
    assert open_vectors(workspace, db, "pinsage", "pin").dim == 16
    assert refresh(workspace, db, "pinsage", again=True).how == "trained"
    assert open_vectors(workspace, db, "pinsage", "pin").dim == 256


def test_the_command_says_when_the_encoders_know_other_vectors(workspace, db, quick, capsys):
    themes(workspace, db, count=2, boards=4)
    folder = ["--workspace", str(workspace.root)]

    def says(*words: str) -> bool:
        app(["enrich", "graph", *folder, *words], standalone_mode=False)
        return "omnisearch train" in capsys.readouterr().out

    assert not says()  # there are no encoders
    best = workspace.best_checkpoint("default")
    best.parent.mkdir(parents=True)
    best.write_text("untrained-0\n")
    assert not says("--again")  # nothing was trained
    best.write_text("run-1\n")
    assert not says()  # the saved network embeds
    assert says("--again")


def test_pictures_of_another_size_make_it_train_again(workspace, db, quick):
    themes(workspace, db, count=2, boards=4)
    refresh(workspace, db, "pinsage")
    rows = np.random.default_rng(0).standard_normal((5, 7)).astype(np.float32)
    ids = [f"t0-{n}" for n in range(5)]
    write_vectors(workspace, db, "image", "pin", ids, rows, replace=True)
    assert refresh(workspace, db, "pinsage").how == "trained"


def test_killed_while_writing_leaves_the_old_network(workspace, db, quick, monkeypatch):
    themes(workspace, db, count=2, boards=4)
    before = np.array(fit_pinsage(workspace, db, dim=16).vectors)

    def killed(*given):
        raise KeyboardInterrupt

    for step in ("write_manifest", "write_pointer"):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(saved, step, killed)
            fit_pinsage(workspace, db, dim=16, seed=5)
        assert np.array_equal(embed_pinsage(workspace, db).vectors, before)


def test_a_damaged_network_is_named(workspace, db, quick):
    themes(workspace, db, count=2, boards=4)
    fit_pinsage(workspace, db, dim=16)
    path = next(workspace.graph.rglob("model.safetensors"))
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(Corrupt, match="--again"):
        embed_pinsage(workspace, db)
    assert refresh(workspace, db, "pinsage", again=True).how == "trained"
