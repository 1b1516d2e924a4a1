"""PinSage vectors of products, and ItemSage that reads them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from graph_world import add_boards, configure, convolved, items, themes

from omnisearch.data.catalogue.vectors import open_vectors
from omnisearch.data.catalogue.vectors_write import write_vectors
from omnisearch.enrichment.graph.embeddings import refresh
from omnisearch.enrichment.graph.itemsage import embed_itemsage, fit_itemsage
from omnisearch.enrichment.graph.network_inputs import Source, blocks
from omnisearch.enrichment.graph.pinsage import NAME, fit_pinsage, network, product_vectors
from omnisearch.enrichment.graph.saved_networks import load, save
from omnisearch.enrichment.graph.walks import neighbourhoods, pin_board_graph

ALL = 2**62


def shop(workspace, db, **size):
    """Themes of pins; products with a title, or on the boards of a theme, or with neither."""
    configure(workspace, pinsage_of_products=True)
    themes(workspace, db, **size)
    items(db, "products", {f"g{n}": f"theme{n % 2} thing {n}" for n in range(12)})
    items(db, "products", {"shelved": "", "silent": ""})
    add_boards(db, {f"b1-{n}": ["shelved", "g1"] for n in range(4)}, entity="product")
    looks = np.random.default_rng(1).standard_normal((2, 24)).astype(np.float32)
    write_vectors(workspace, db, "image", "product", ["g0", "g1"], looks)


def test_walks_from_products_visit_pins_as_the_exact_chain_does(db):
    add_boards(db, {"a": list("pqr"), "b": list("rs"), "c": ["t"], "none": ["q"]})
    boards = {"a": ["p", "x"], "b": ["x"], "c": ["x", "y"], "theirs": ["y"]}  # 'p' is a product too
    items(db, "products", dict.fromkeys("pxy", ""))
    add_boards(db, boards, entity="product")
    pins, products = list("pqrst"), list("pxy")
    graph = pin_board_graph(db, pins, ALL, products)
    links = np.zeros((8, 3))
    for column, (board, others) in enumerate((("a", "px"), ("b", "x"), ("c", "xy"))):
        on = {"a": "pqr", "b": "rs", "c": "t"}[board]
        links[[pins.index(pin) for pin in on], column] = 1
        links[[5 + products.index(product) for product in others], column] = 1
    back = links[:5] / links[:5].sum(0)
    step = (links / links.sum(1, keepdims=True)) @ back.T  # (items, pins)
    home = np.eye(8)[5:]  # of the products
    at, visits = home, np.zeros((3, 5))
    for _ in range(8):
        after = at @ step
        visits += after
        at = 0.5 * np.hstack((after, np.zeros((3, 3)))) + 0.5 * home
    exact = visits / visits.sum(1, keepdims=True)
    runs = []
    for seed in range(40):
        near, found = neighbourhoods(graph, pins + products, 5, seed, pins=5), np.zeros((8, 5))
        np.add.at(found, (np.arange(8)[:, None], near.rows), near.weights)
        runs.append(found[5:])
    assert np.abs(np.mean(runs, axis=0) - exact).max() < 0.03


@pytest.mark.parametrize("convolutions", [1, 2])
def test_products_are_embedded_as_a_loop_embeds_them(workspace, db, quick, convolutions):
    shop(workspace, db, count=2, size=12, boards=5)
    configure(workspace, convolutions=convolutions)
    fit_pinsage(workspace, db, dim=16)
    saved = load(workspace, NAME)
    net, found = network(saved), product_vectors(workspace, db, saved, ALL)
    sources = [Source.open(workspace, db, entity, NAME) for entity in ("pin", "product")]
    selves, ids = [], []
    with torch.inference_mode():
        for source in sources:
            [(keys, batch, _)] = blocks(source, saved.vocabulary)
            selves.append(net.selves(net.tokens(batch)[0]))
            ids.append(keys)
        graph = pin_board_graph(db, ids[0], ALL, ids[1])
        near = neighbourhoods(graph, ids[0] + ids[1], pins=len(ids[0]))
        expected = convolved(net, torch.cat(selves), near)[len(ids[0]) :]
    assert found.ids == [key for key in ids[1] if key != "silent"]
    assert np.abs(found.vectors - expected[[ids[1].index(key) for key in found.ids]]).max() < 3e-3


def test_a_product_with_nothing_but_boards_is_near_what_lies_beside_it(workspace, db):
    shop(workspace, db, count=2)
    refresh(workspace, db, "pinsage")
    made = product_vectors(workspace, db, load(workspace, NAME), ALL)
    pins = open_vectors(workspace, db, NAME, "pin")
    similar = pins.vectors @ made.vectors[made.index["shelved"]]
    theme = np.array([key.split("-")[0] for key in pins.ids])
    assert similar[theme == "t1"].mean() > similar[theme == "t0"].mean()
    refresh(workspace, db, "itemsage")
    assert "shelved" in open_vectors(workspace, db, "itemsage", "product").index
    assert "silent" not in open_vectors(workspace, db, "itemsage", "product").index
    assert open_vectors(workspace, db, NAME, "product") is None
    configure(workspace, pinsage_of_products=False)
    assert "shelved" not in fit_itemsage(workspace, db).index


def test_boards_of_after_training_are_not_read(workspace, db, quick):
    shop(workspace, db, count=2, size=12, boards=5)
    fit_pinsage(workspace, db, dim=16)
    saved = load(workspace, NAME)
    before = product_vectors(workspace, db, saved, 1000)
    add_boards(db, {"b0-0": ["g1", "silent"]}, added=1000, entity="product")
    after = product_vectors(workspace, db, saved, 1000)
    assert after.ids == before.ids and np.array_equal(after.vectors, before.vectors)
    assert "silent" in product_vectors(workspace, db, saved, 1001).index


def test_after_another_training_of_pinsage_itemsage_is_trained_too(workspace, db, quick):
    shop(workspace, db, count=2, size=12, boards=5)
    refresh(workspace, db, "pinsage")
    assert refresh(workspace, db, "itemsage").how == "trained"
    assert refresh(workspace, db, "pinsage").how == "embedded"
    assert refresh(workspace, db, "itemsage").how == "embedded"
    refresh(workspace, db, "pinsage", again=True)
    assert embed_itemsage(workspace, db) is None
    assert refresh(workspace, db, "itemsage").how == "trained"


def test_without_the_vectors_that_pinsage_reads_products_have_none(workspace, db, quick):
    themes(workspace, db, count=2, size=12, boards=5)  # pins have pictures
    items(db, "products", {f"g{n}": f"theme{n % 2} thing {n}" for n in range(12)})
    fit_pinsage(workspace, db, dim=16)
    assert product_vectors(workspace, db, load(workspace, NAME), ALL) is None
    assert len(fit_itemsage(workspace, db, dim=16).ids) == 12


def test_an_itemsage_of_before_products_had_pinsage_vectors_is_read(workspace, db, quick):
    shop(workspace, db, count=2, size=12, boards=5)
    fit_pinsage(workspace, db, dim=16)
    configure(workspace, pinsage_of_products=False)
    before = np.array(fit_itemsage(workspace, db, dim=16).vectors)
    configure(workspace, pinsage_of_products=True)
    saved = load(workspace, "itemsage")
    saved.config.pop("pinsage")
    save(workspace, "itemsage", saved)
    assert np.array_equal(embed_itemsage(workspace, db).vectors, before)
