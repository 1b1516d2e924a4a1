"""PinSage's convolutions and hard negatives, against plain loops over pins."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from graph_world import add_boards, configure, convolved, items, themes

from omnisearch.data.workspace.errors import InputError
from omnisearch.encoders.models.ragged import Ragged
from omnisearch.enrichment.graph import pinsage
from omnisearch.enrichment.graph.cooccurrence import group_edges
from omnisearch.enrichment.graph.hard_negatives import drawn, hard_negatives
from omnisearch.enrichment.graph.network_inputs import Items, Source
from omnisearch.enrichment.graph.pinsage import NAME, embed_pinsage, fit_pinsage, network
from omnisearch.enrichment.graph.saved_networks import load, save
from omnisearch.enrichment.graph.walks import Neighbours, neighbourhoods, pin_board_graph


@pytest.mark.parametrize("convolutions", [1, 2])
def test_vectors_are_those_of_a_loop_over_pins(workspace, db, quick, monkeypatch, convolutions):
    themes(workspace, db, count=2, size=12, boards=5)
    add_boards(db, {"far": ["t0-0", "t1-0"]})
    configure(workspace, convolutions=convolutions)
    feature = fit_pinsage(workspace, db, dim=16)
    net = network(load(workspace, NAME))
    assert len(net.layers) == convolutions
    shown = Items(Source.open(workspace, db, "pin", NAME))
    near = neighbourhoods(pin_board_graph(db, shown.ids, 2**62), shown.ids)
    every = np.arange(len(shown))
    with torch.inference_mode():
        selves = net.selves(net.tokens(shown.batch(every))[0])
        expected = convolved(net, selves, near)
    assert feature.ids == shown.ids
    assert np.abs(feature.vectors - expected).max() < 3e-3  # states are kept in half precision
    # Training computes the same if it draws all neighbours and hides none.
    monkeypatch.setattr(pinsage, "SOME", near.rows.shape[1])
    monkeypatch.setattr(pinsage, "ALONE", 0.0)
    monkeypatch.setattr(
        Neighbours, "drawn", lambda near, rows, *_: Neighbours(near.rows[rows], near.weights[rows])
    )
    task = pinsage.Task(shown, near, [], 0, torch.zeros(0), None)
    rng, nobody = np.random.default_rng(0), np.full(len(shown), -1)
    with torch.inference_mode():
        found = pinsage._vectors(net, task, every, nobody, rng).numpy()
    assert np.abs(found - expected).max() < 1e-5


def test_two_convolutions_reach_pins_two_neighbourhoods_away(workspace, db, quick, monkeypatch):
    """With the neighbours p-q, q-r given, r is seen from p by two convolutions, not by one."""
    items(db, "pins", {"p": "oak", "q": "elm", "r": "fir", "s": "ash"})
    add_boards(db, {"a": ["p", "q"], "b": ["q", "r"], "c": ["r", "s"]})
    chain = Neighbours(np.array([[1], [2], [3], [2]], np.int32), np.ones((4, 1), np.float32))
    monkeypatch.setattr(pinsage, "neighbourhoods", lambda *_, **__: chain)
    for convolutions, sees in ((1, False), (2, True)):
        configure(workspace, convolutions=convolutions, hard_negatives=False)
        before = np.array(fit_pinsage(workspace, db, dim=16).vectors)
        with db.conn:
            db.conn.execute("UPDATE pins SET title = 'oak elm' WHERE id = 'r'")
        after = embed_pinsage(workspace, db).vectors
        with db.conn:
            db.conn.execute("UPDATE pins SET title = 'fir' WHERE id = 'r'")
        assert (np.abs(after - before)[0].max() > 1e-6) == sees
        assert np.abs(after - before)[1].max() > 1e-6


def test_a_pair_does_not_see_each_other_two_steps_away(workspace, db, quick):
    themes(workspace, db, count=2, size=8, boards=6)
    configure(workspace, convolutions=2)
    fit_pinsage(workspace, db, dim=16)
    net = network(load(workspace, NAME))
    shown = Items(Source.open(workspace, db, "pin", NAME))
    near = neighbourhoods(pin_board_graph(db, shown.ids, 2**62), shown.ids)
    task = pinsage.Task(shown, near, [], 0, torch.zeros(0), None)
    rows, hidden = np.array([0, 3]), np.array([1, 1])

    def vectors(hidden):
        with torch.inference_mode():
            rng = np.random.default_rng(0)
            return pinsage._vectors(net, task, rows, hidden, rng).numpy()

    hid, seen = vectors(hidden), vectors(np.array([-1, -1]))
    looks = shown.source.features["image"]
    changed = np.array(looks.vectors)
    changed[looks.index[shown.ids[1]]] += 5
    object.__setattr__(looks, "vectors", changed)
    assert np.array_equal(vectors(hidden), hid)
    assert not np.allclose(vectors(np.array([-1, -1])), seen)


def test_networks_of_before_there_were_two_convolutions_are_read(workspace, db, quick):
    themes(workspace, db, count=2, boards=4)
    before = np.array(fit_pinsage(workspace, db, dim=16).vectors)
    saved = load(workspace, NAME)
    saved.config.pop("convolutions")
    tensors = {k.removeprefix("convolutions.0."): tensor for k, tensor in saved.tensors.items()}
    assert {"neighbour.weight", "join.bias"} <= tensors.keys()
    save(workspace, NAME, type(saved)(saved.config, saved.vocabulary, tensors))
    assert np.array_equal(embed_pinsage(workspace, db).vectors, before)


def test_hard_negatives_are_those_of_a_loop_over_pins(workspace, db):
    themes(workspace, db, count=3)
    ids = [pin for (pin,) in db.conn.execute("SELECT id FROM pins ORDER BY id")]
    boards = db.conn.execute("SELECT board_id, item_id FROM board_items ORDER BY 1, 2").fetchall()
    asked = [("oak", "t0-1"), ("oak", "t0-2"), ("oak", "t1-2"), ("oak", "t2-2")]
    groups = [group_edges(boards, ids), group_edges(asked, ids)]
    visited = neighbourhoods(pin_board_graph(db, ids, 2**62), ids, 64)
    of = {}
    for name, pin in boards + asked:
        of.setdefault(pin, set()).add(name)
    found, total = hard_negatives(visited, groups), 0
    for row, pin in enumerate(ids):
        expected = [
            int(other)
            for other, weight in zip(visited.rows[row, 16:], visited.weights[row, 16:], strict=True)
            if weight > 0 and not of[pin] & of[ids[other]]
        ]
        assert found.take(np.array([row])).flat.tolist() == expected
        total += len(expected)
    assert total > 100
    chosen = np.array([0, 5])
    some = drawn(found, chosen, 500, np.random.default_rng(0))
    assert some.tolist() == sorted(set(found.take(chosen).flat.tolist()))
    assert drawn(Ragged.of([[], [3]]), np.zeros(4, int), 2, np.random.default_rng(0)).size == 0


def test_each_epoch_has_one_hard_negative_more(workspace, db, monkeypatch):
    """Four epochs of equal length, with 0, 1, 2 and 3 hard negatives of each pair."""
    themes(workspace, db, count=2)
    counts = []

    def noted(hard, rows, count, rng):
        counts.append(count)
        return drawn(hard, rows, count, rng)

    monkeypatch.setattr(pinsage, "drawn_hard", noted)
    with_hard = np.array(fit_pinsage(workspace, db, dim=16).vectors)
    assert counts == [1] * 25 + [2] * 25 + [3] * 25  # of 100 steps
    configure(workspace, hard_negatives=False)
    assert not np.allclose(fit_pinsage(workspace, db, dim=16).vectors, with_hard)
    assert len(counts) == 75


def test_three_convolutions_are_refused_in_a_sentence(workspace, db):
    configure(workspace, convolutions=3)
    with pytest.raises(InputError, match="graph convolutions must be 1 or 2, got 3"):
        fit_pinsage(workspace, db)
