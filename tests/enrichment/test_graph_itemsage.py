"""ItemSage: near its queries, the pins beside it and its like; new products need no training."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
from graph_world import END, add_boards, cosine, engage, items

from omnisearch.data.catalogue.schema import open_catalogue
from omnisearch.data.catalogue.splits import DAY, check_leak, time_split
from omnisearch.data.catalogue.vectors import open_vectors
from omnisearch.data.catalogue.vectors_write import write_vectors
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import NotReady
from omnisearch.encoders.models.hash_embedding import Levels
from omnisearch.encoders.models.ngrams import NgramIndex
from omnisearch.enrichment.graph.embeddings import embed_graph
from omnisearch.enrichment.graph.itemsage import NAME, embed_itemsage, fit_itemsage, network
from omnisearch.enrichment.graph.network_inputs import Items, Source
from omnisearch.enrichment.graph.pinsage import fit_pinsage
from omnisearch.enrichment.graph.saved_networks import load, save
from omnisearch.enrichment.graph.temporal_recall import temporal_recall
from omnisearch.enrichment.inputs import MODALITIES
from omnisearch.pipeline.stale import stale
from omnisearch.pipeline.status import workspace_status

KINDS = {"sofa": "couch settee", "lamp": "bulb shade", "vase": "pot flower", "rug": "carpet mat"}


def shop(db, each=20):
    """Products and pins of four kinds; queries are of other words than what they engage."""
    chance = np.random.default_rng(0)
    for kind, said in KINDS.items():
        one, other = said.split()
        products = {f"{kind}{n}": f"{one if n % 2 else other} number {n}" for n in range(each)}
        pins = {f"pin-{kind}{n}": f"{kind} idea" for n in range(each)}
        items(db, "products", products)
        items(db, "pins", pins)
        for board in range(8):
            kept = chance.choice(sorted(products), 3, replace=False).tolist()
            add_boards(db, {f"{kind}-{board}": kept}, entity="product")
            kept = chance.choice(sorted(pins), 4, replace=False).tolist()
            add_boards(db, {f"{kind}-{board}": kept})
        for keys, entity in ((products, "product"), (pins, "pin")):
            for n, key in enumerate(keys):
                if n < each - 4:  # the last ones were never engaged
                    time = END - (60 + n) * DAY
                    engage(db, entity, (time, f"{kind} {n % 3}", key, "save"))
    engage(db, "product", (END, "sofa 0", "sofa0", "save"))


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """The shop, both networks fitted. Change nothing."""
    workspace = Workspace.create(tmp_path_factory.mktemp("shop") / "workspace")
    db = open_catalogue(workspace.catalogue, create=True)
    shop(db)
    fit_pinsage(workspace, db, dim=32)
    fit_itemsage(workspace, db, dim=32)
    return workspace, db


def kind_of(key):
    return key.removeprefix("pin-").rstrip("0123456789")


def share_of_kind(sources, kinds, feature, k=5):
    """The share of the k nearest of a feature that are of each source's kind."""
    nearest = np.argsort(-sources @ feature.vectors.T, axis=1)[:, :k]
    of = np.array([kind_of(key) for key in feature.ids])
    return (of[nearest] == np.array(kinds)[:, None]).mean()


def test_products_are_near_what_they_go_with(fitted):
    workspace, db = fitted
    products = open_vectors(workspace, db, "itemsage", "product")
    pins = open_vectors(workspace, db, "pinsage", "pin")
    kinds = [kind_of(key) for key in products.ids]
    assert products.vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(products.vectors, axis=1), 1, atol=1e-5)
    assert share_of_kind(products.vectors, kinds, pins) > 0.9
    # "couch" and "settee" share no word, but queries and boards.
    assert cosine(products, "sofa0", "sofa1") > cosine(products, "sofa0", "lamp1") + 0.3
    saved = load(workspace, "itemsage")
    texts = [f"{kind} {n}" for kind in KINDS for n in range(3)]
    levels = Levels(NgramIndex(saved.vocabulary).bags_of([[t] for t in texts]), backward=False)
    queries = network(saved).queries(levels).numpy()
    assert share_of_kind(queries, [text.split()[0] for text in texts], products) > 0.9


def test_embedding_again_changes_nothing_and_new_products_need_no_training(fitted, tmp_path):
    shutil.copytree(fitted[0].root, tmp_path / "copy")
    workspace = Workspace.open(tmp_path / "copy")
    db = open_catalogue(workspace.catalogue)
    before = np.array(open_vectors(workspace, db, "itemsage", "product").vectors)
    assert np.array_equal(embed_itemsage(workspace, db).vectors, before)
    items(db, "products", {"new": "carpet number 99", "silent": ""})
    feature = embed_itemsage(workspace, db)
    assert "silent" not in feature.index
    near = np.argsort(-feature.vectors @ feature.vectors[feature.index["new"]])[1:6]
    assert sum(kind_of(feature.ids[row]) == "rug" for row in near) >= 4
    db.conn.close()


def test_vectors_of_earlier_content_are_named(fitted, tmp_path):
    shutil.copytree(fitted[0].root, tmp_path / "copy")
    workspace = Workspace.open(tmp_path / "copy")
    db = open_catalogue(workspace.catalogue)
    assert stale(workspace, db) == []
    with db.conn:
        db.conn.execute("UPDATE pins SET title = 'attic' WHERE id IN ('pin-rug1', 'pin-rug2')")
        db.conn.execute("UPDATE products SET brand = 'Acme' WHERE id = 'rug1'")
    items(db, "products", {"new": "carpet number 99", "silent": ""})
    assert [str(each) for each in stale(workspace, db)] == [
        "Stale pinsage vectors of pins: 2 of earlier texts and vectors; "
        "run `omnisearch enrich graph`.",
        "Stale itemsage vectors of products: 1 of earlier texts and vectors, 1 missing; "
        "run `omnisearch enrich graph`.",
    ]
    embed_graph(workspace, db)
    assert stale(workspace, db) == []
    # A killed run: the network was saved, the vectors were not.
    save(workspace, "pinsage", load(workspace, "pinsage"))
    rows = len(open_vectors(workspace, db, "pinsage", "pin").ids)
    items(db, "pins", {"later": "rug idea"})
    [found] = stale(workspace, db)
    assert str(found) == (
        f"Stale pinsage vectors of pins: {rows} of an earlier network, 1 missing; "
        "run `omnisearch enrich graph`."
    )
    assert workspace_status(workspace)["lacking"] == {"pinsage of pin": rows + 1}
    embed_graph(workspace, db)
    assert stale(workspace, db) == []
    db.conn.close()


def test_a_pair_does_not_see_its_own_query(workspace, db):
    items(db, "products", {"a": "oak", "b": "elm"})
    with db.conn:
        db.conn.execute(
            "UPDATE products SET engaged_queries = ?", ['[["oak",4,1],["big tree",2,1]]']
        )
    shown = Items(Source.open(workspace, db, "product", NAME))
    m, oak = len(MODALITIES[NAME]), shown.index.find("oak")

    def tokens(hidden):
        levels = shown.batch(np.array([0, 1]), np.array(hidden)).levels
        _, offsets = levels.levels[0][0]
        return np.diff(offsets.numpy()).reshape(-1, m).tolist()

    assert tokens([-1, -1]) == [[1, 0, 0, 2], [1, 0, 0, 2]]
    # As an engaged query it is hidden; a title that says the same is the product's own.
    assert tokens([oak, oak]) == [[1, 0, 0, 1], [1, 0, 0, 1]]


def test_what_comes_after_training_is_not_read(workspace, db, quick):
    shop(db, each=8)
    before = np.array(fit_itemsage(workspace, db, dim=16).vectors)
    engage(db, "product", *((END - DAY, "leak", f"sofa{n}", "save") for n in range(5)))
    engage(db, "product", *((END - 70 * DAY, "kept", f"lamp{n}", "save") for n in range(5)))
    with db.conn:
        db.conn.execute("INSERT INTO queries (id, split) VALUES ('kept', 'test')")
    assert np.array_equal(fit_itemsage(workspace, db, dim=16).vectors, before)
    check_leak(db, time_split(db))
    assert not np.array_equal(fit_itemsage(workspace, db, dim=16, until=2**62).vectors, before)
    with pytest.raises(NotReady, match="itemsage"):
        check_leak(db, time_split(db))


def test_vectors_know_what_pinsage_knows(workspace, db, quick):
    shop(db, each=8)
    fit_pinsage(workspace, db, dim=16, until=END + DAY)
    fit_itemsage(workspace, db, dim=16)
    db.conn.execute("DELETE FROM item_vectors WHERE name = 'pinsage'")
    with pytest.raises(NotReady, match="itemsage"):
        check_leak(db, time_split(db))


def test_without_a_log_products_learn_from_their_own_words(workspace, db):
    words = ["oak wood table for four", "pine wood table for two", "red silk dress with belt"]
    items(db, "products", {f"g{n}": f"{words[n % 3]} {n}" for n in range(30)})
    feature = fit_itemsage(workspace, db, dim=16)
    assert len(feature.ids) == 30
    assert cosine(feature, "g0", "g3") > cosine(feature, "g0", "g2")
    assert temporal_recall(workspace, db) == {}


def test_nothing_to_learn_from_is_no_error(workspace, db):
    assert fit_itemsage(workspace, db).ids == []
    items(db, "products", {"g": "oak"})
    assert fit_itemsage(workspace, db).vectors.shape == (0, 256)


def test_recall_of_later_pairs_is_that_of_a_plain_count(fitted, tmp_path):
    shutil.copytree(fitted[0].root, tmp_path / "copy")
    workspace = Workspace.open(tmp_path / "copy")
    db = open_catalogue(workspace.catalogue)
    engage(db, "product", *((END - DAY, "later", key, "save") for key in ("sofa1", "rug1")))
    products = open_vectors(workspace, db, "itemsage", "product")
    similar = products.vectors @ products.vectors.T
    np.fill_diagonal(similar, -2)
    hits = []
    for first, second in (("sofa1", "rug1"), ("rug1", "sofa1")):
        a, b = products.index[first], products.index[second]
        hits.append((similar[a] >= similar[a, b]).sum() <= 100)
    found = temporal_recall(workspace, db)
    assert found["product → product, one query"][1] == pytest.approx(np.mean(hits))
    assert set(found) >= {"query → product"}
    db.conn.close()


def test_features_count_where_they_are(workspace, db, quick):
    """A product with nothing but a picture has a vector; what is absent is not attended to."""
    shop(db, each=8)
    items(db, "products", {"mute": ""})
    looks = np.random.default_rng(0).standard_normal((9, 12)).astype(np.float32)
    write_vectors(
        workspace, db, "image", "product", [f"sofa{n}" for n in range(8)] + ["mute"], looks
    )
    feature = fit_itemsage(workspace, db, dim=16)
    assert "mute" in feature.index
    saved = load(workspace, "itemsage")
    net = network(saved)
    tokens = torch.randn(3, 5, 128, generator=torch.Generator().manual_seed(0))
    present = torch.tensor([[True, False, True, False, True]] * 3)
    other = torch.where(present[:, :, None], tokens, tokens + 9.0)
    with torch.inference_mode():
        assert torch.allclose(net(tokens, present), net(other, present), atol=1e-6)
