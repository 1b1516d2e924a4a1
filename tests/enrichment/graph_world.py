"""A planted world for the tests of the graph networks: themes, boards that keep to them, a log."""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
import torch

from omnisearch.data.catalogue.vectors_write import write_vectors

END = 1_600_000_000


def items(db, table, titles):
    with db.conn:
        db.conn.executemany(
            f"INSERT OR IGNORE INTO {table} (id, title) VALUES (?, ?)", list(titles.items())
        )


def add_boards(db, memberships, added=None, entity="pin"):
    """Memberships: board → items."""
    with db.conn:
        for board, keys in memberships.items():
            for key in keys:
                if entity == "pin":
                    db.conn.execute("INSERT OR IGNORE INTO pins (id) VALUES (?)", [key])
                db.conn.execute(
                    "INSERT INTO board_items VALUES (?, ?, ?, ?)", [board, entity, key, added]
                )


def engage(db, entity, *events):
    """Events are (time, query, item, action)."""
    with db.conn:
        db.conn.executemany(
            "INSERT INTO engagements (time, query, entity, item_id, action, count) "
            f"VALUES (?, ?, '{entity}', ?, ?, 1)",
            events,
        )


@dataclass
class Looks:
    """What a feature looks like, without a catalogue."""

    ids: list
    vectors: np.ndarray


def themes(workspace, db, count=5, size=30, boards=20):
    """Pins 't<theme>-<n>': a third have a title of their theme, all a noisy picture."""
    chance, rng = random.Random(0), np.random.default_rng(0)
    pins = [f"t{theme}-{n}" for theme in range(count) for n in range(size)]
    titles = {}
    for at, pin in enumerate(pins):
        theme = at // size
        titles[pin] = f"theme{theme} word{theme} {chance.choice('abcdef')}" if at % 3 == 0 else ""
    items(db, "pins", titles)
    for theme in range(count):
        own = pins[theme * size : (theme + 1) * size]
        add_boards(db, {f"b{theme}-{b}": chance.sample(own, 6) for b in range(boards)})
    add_boards(db, {f"misc-{b}": chance.sample(pins, 8) for b in range(4)})
    centre = rng.standard_normal((count, 24))[np.arange(len(pins)) // size]
    looks = (centre + 2.0 * rng.standard_normal(centre.shape)).astype(np.float32)
    write_vectors(workspace, db, "image", "pin", pins, looks)
    return Looks(pins, looks / np.linalg.norm(looks, axis=1, keepdims=True))


def same_theme(feature, k=10):
    """The share of each pin's nearest that are of its theme."""
    similar = feature.vectors @ feature.vectors.T
    np.fill_diagonal(similar, -2)
    theme = np.array([key.split("-")[0] for key in feature.ids])
    nearest = np.argsort(-similar, axis=1)[:, :k]
    return (theme[nearest] == theme[:, None]).mean()


def cosine(feature, a, b):
    return float(feature.vectors[feature.index[a]] @ feature.vectors[feature.index[b]])


def configure(workspace, **settings):
    """Write the section [graph]."""
    lines = [f"{name} = {str(value).lower()}\n" for name, value in settings.items()]
    workspace.settings.write_text("[graph]\n" + "".join(lines))


def convolved(net, selves, near):
    """(n, dim) unit rows by a loop over pins, for z (n, HIDDEN) and each pin's neighbours."""
    states = [torch.relu(row) for row in selves]
    for layer in net.layers:
        after = []
        for pin, state in enumerate(states):
            pooled = torch.zeros_like(state)
            for other, weight in zip(near.rows[pin], near.weights[pin], strict=True):
                message = torch.relu(layer.neighbour.weight @ states[other] + layer.neighbour.bias)
                pooled = pooled + float(weight) * message
            joined = torch.relu(layer.join.weight @ torch.cat((state, pooled)) + layer.join.bias)
            after.append(joined / joined.norm().clamp(min=1e-12))
        states = after
    vectors = torch.stack([net.out(state) for state in states]) + net.skip(selves)
    return (vectors / vectors.norm(dim=1, keepdim=True)).numpy()
