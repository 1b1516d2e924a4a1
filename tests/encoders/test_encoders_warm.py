"""The warm start: items' texts through a pretrained encoder, and training that begins there."""

from __future__ import annotations

import shutil
import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small_catalogue import fill
from transformers import AutoModel, AutoTokenizer

from omnisearch.cli.train import show
from omnisearch.data.catalogue.items import read_items
from omnisearch.data.catalogue.schema import open_catalogue
from omnisearch.data.catalogue.vectors import open_vectors
from omnisearch.data.catalogue.vectors_write import write_vectors
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.artefacts import pointed
from omnisearch.data.workspace.errors import Corrupt, InputError, MissingExtra, NotReady
from omnisearch.encoders.checkpoint import CHECKPOINT, load_encoder, load_parts, load_state
from omnisearch.encoders.config import Config, preset_config
from omnisearch.encoders.form import Form
from omnisearch.encoders.models.hash_embedding import Levels
from omnisearch.encoders.models.item import ItemEncoder
from omnisearch.encoders.models.ngrams import NgramIndex, build_vocabulary
from omnisearch.encoders.text_encoder import text_encoder
from omnisearch.encoders.training.batches import BatchStream
from omnisearch.encoders.training.prepare import prepare
from omnisearch.encoders.training.run import train
from omnisearch.encoders.training.warm_start import pass_through, projection, warm_config
from omnisearch.enrichment import text as text_feature
from omnisearch.enrichment.inputs import PROSE, own_text
from omnisearch.enrichment.text import embed_texts, english_share, usual_encoder


@pytest.fixture(scope="module")
def config(config: Config) -> Config:
    return replace(config, warm_steps=20)


@pytest.fixture(scope="module")
def texts(tmp_path_factory, backbone):
    """A workspace of its own with the feature 'text', and its database."""
    workspace = Workspace.create(tmp_path_factory.mktemp("warm") / "workspace")
    db = fill(workspace)
    db["pins"].insert({"id": "wordless"})
    counts = embed_texts(workspace, db, str(backbone))
    items = [item for kind in ("pin", "product") for part in read_items(db, kind) for item in part]
    wholes = {own_text(item) for item in items} - {""}
    prose = {item[name] for item in items for name in PROSE} - {None}
    assert len(wholes) == 120  # 60 twins
    assert counts == {
        "encoder": str(backbone), "items_in_english": counts["items_in_english"], "items": 180,
        "computed": len(wholes | prose), "dim": 24,
    }  # fmt: skip
    assert int(counts["items_in_english"].rstrip("%")) > 95
    return workspace, db


def plain(backbone: Path, texts: list[str]) -> np.ndarray:
    """Mean pooling as its authors write it down, one text at a time."""
    model, tokeniser = AutoModel.from_pretrained(backbone), AutoTokenizer.from_pretrained(backbone)
    with torch.inference_mode():
        rows = [
            model(**tokeniser(text, return_tensors="pt")).last_hidden_state[0].mean(0)
            for text in texts
        ]
    return torch.nn.functional.normalize(torch.stack(rows), dim=1).numpy()


def test_the_feature_is_what_the_encoder_says_of_each_text(texts, backbone) -> None:
    workspace, db = texts
    feature = open_vectors(workspace, db, "text", "pin")
    items = [item for batch in read_items(db, "pin", ids=["pin0003", "pin0077"]) for item in batch]
    found, present = feature.rows(["pin0003", "pin0077"])
    assert present.all()
    for item, row in zip(items, found, strict=True):
        whole = plain(backbone, [own_text(item)])[0]
        prose = [item[name] for name in PROSE if item[name]]
        assert len(prose) > 1
        expected = whole + plain(backbone, prose).mean(0)
        # The model may compute in bfloat16, and rows are kept as float16.
        assert row @ expected / np.linalg.norm(expected) > 0.99
    assert "wordless" not in feature.index
    assert text_encoder(db) == (str(backbone), Form("mean"))


def test_only_new_texts_are_computed_again(tmp_path, backbone) -> None:
    workspace = Workspace.create(tmp_path / "workspace")
    db = fill(workspace, pins=20, products=5)
    embed_texts(workspace, db, str(backbone))
    before = open_vectors(workspace, db, "text", "pin").rows(["pin0001", "pin0002"])[0]
    db["pins"].update("pin0001", {"title": "baby crib"})
    assert embed_texts(workspace, db, str(backbone))["computed"] == 2  # the whole, the title
    after = open_vectors(workspace, db, "text", "pin").rows(["pin0001", "pin0002"])[0]
    assert not np.allclose(before[0], after[0], atol=1e-3)
    np.testing.assert_array_equal(before[1], after[1])


def test_what_cannot_be_embedded_is_said(tmp_path, backbone) -> None:
    workspace = Workspace.create(tmp_path / "workspace")
    db = fill(workspace, pins=1, products=1)
    with pytest.raises(InputError, match="pooling"):
        embed_texts(workspace, db, str(backbone), pooling="max")
    for table in ("pins", "products"):
        db.conn.execute(f"UPDATE {table} SET title = NULL, caption = ''")
    with pytest.raises(InputError, match="No item has text"):
        embed_texts(workspace, db, str(backbone))
    assert text_encoder(db) is None


def test_another_model_in_the_same_folder_computes_anew(tmp_path, backbone) -> None:
    folder = tmp_path / "encoder"
    shutil.copytree(backbone, folder)
    workspace = Workspace.create(tmp_path / "workspace")
    db = fill(workspace, pins=6, products=0)
    assert embed_texts(workspace, db, str(folder))["computed"] == 18  # two fields, and both
    assert embed_texts(workspace, db, str(folder))["computed"] == 0
    model = AutoModel.from_pretrained(folder)
    with torch.no_grad():
        model.embeddings.word_embeddings.weight.mul_(2)
    model.save_pretrained(folder)
    tiny = preset_config("tiny", dim=16, steps=2, warm_steps=2)
    with pytest.raises(InputError, match="not the encoder that embedded"):
        train(workspace, db, tiny)
    assert embed_texts(workspace, db, str(folder))["computed"] == 18  # two fields, and both
    train(workspace, db, tiny)


def test_nan_in_the_cache_is_computed_again(tmp_path, backbone) -> None:
    workspace = Workspace.create(tmp_path / "workspace")
    db = fill(workspace, pins=5, products=2)
    embed_texts(workspace, db, str(backbone))
    before = np.array(open_vectors(workspace, db, "text", "pin").vectors)
    with closing(sqlite3.connect(workspace.text_cache)) as cache, cache:
        cache.execute("UPDATE vectors SET vector = ?", [np.full(24, np.nan, "<f2").tobytes()])
    [*_, damaged] = sorted(workspace.item_vectors.glob("text-pin-*"))
    damaged.write_bytes(damaged.read_bytes()[:-1])
    with pytest.raises(Corrupt, match="omnisearch enrich text"):
        open_vectors(workspace, db, "text", "pin")
    assert embed_texts(workspace, db, str(backbone))["computed"] == 15
    assert np.array_equal(open_vectors(workspace, db, "text", "pin").vectors, before)


def test_an_encoder_that_says_nan_is_refused(tmp_path, backbone) -> None:
    folder = tmp_path / "encoder"
    shutil.copytree(backbone, folder)
    model = AutoModel.from_pretrained(folder)
    with torch.no_grad():
        model.embeddings.word_embeddings.weight.fill_(float("nan"))
    model.save_pretrained(folder)
    workspace = Workspace.create(tmp_path / "workspace")
    db = fill(workspace, pins=5, products=2)
    with pytest.raises(InputError, match=r"gives NaN or infinity for 'red settee 0"):
        embed_texts(workspace, db, str(folder))
    assert open_vectors(workspace, db, "text", "pin") is None


def test_a_damaged_cache_is_named_and_can_be_deleted(tmp_path, backbone) -> None:
    workspace = Workspace.create(tmp_path / "workspace")
    db = fill(workspace, pins=5, products=2)
    cache = workspace.root / "text_cache.db"
    cache.write_bytes(b"not a database" * 1000)
    with pytest.raises(Corrupt, match=r"text_cache\.db.*Delete it"):
        embed_texts(workspace, db, str(backbone))
    cache.unlink()
    assert embed_texts(workspace, db, str(backbone))["items"] == 7


def test_the_projection_keeps_cosines_and_its_prefixes_keep_most(texts) -> None:
    workspace, db = texts
    vectors = np.asarray(open_vectors(workspace, db, "text", "pin").vectors)
    exact = vectors @ vectors.T
    whole = vectors @ projection([vectors], 32).T
    assert whole.shape == (120, 32)
    np.testing.assert_allclose(whole @ whole.T, exact, atol=1e-4)
    errors = [np.abs(part @ part.T - exact).mean() for part in (whole[:, :4], whole[:, :12])]
    random = np.linalg.qr(np.random.default_rng(0).normal(size=(24, 12)))[0].astype("f4")
    assert errors[1] < errors[0] < np.abs(vectors @ random @ (vectors @ random).T - exact).mean()


def test_training_begins_where_the_pretrained_encoder_stands(texts, backbone, config) -> None:
    workspace, db = texts
    config = replace(
        config, warm_steps=200, warmup_steps=10**9, steps=1, valid_every=1, backbone_lr=0.0
    )
    folder = train(workspace, db, config, name="warm")
    assert load_parts(folder).config.backbone == str(backbone)
    encoder = load_encoder(workspace, "warm")
    queries = ["red settee", "bridal", "blue keyboard"]
    found, known = encoder.queries(queries), plain(backbone, queries)
    np.testing.assert_allclose(found @ found.T, known @ known.T, atol=2e-3)

    items = [item for batch in read_items(db, "product") for item in batch]
    vectors, present = open_vectors(workspace, db, "text", "product").rows([i["id"] for i in items])
    assert present.all()
    layer = load_parts(folder).model.query.projection
    target = vectors @ (layer.rotation @ layer.weight).detach().numpy().T
    target /= np.linalg.norm(target, axis=1, keepdims=True)
    # A random encoder gives all texts much the same vector: what matters is where they differ.
    target -= target.mean(0)
    seen = encoder.items(items, {"text": vectors})
    unseen = encoder.items(items, {})
    assert correlation(seen - seen.mean(0), target) > 0.5
    # With the vectors hidden, the n-grams tell much of it.
    assert correlation(unseen - unseen.mean(0), target) > 0.2


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    return float((one * other).sum() / (np.linalg.norm(one) * np.linalg.norm(other)))


def test_a_warm_start_is_left_out_where_it_cannot_be_or_is_not_wanted(
    small, texts, config: Config, tmp_path, backbone
) -> None:
    assert warm_config(small.db, config).backbone == ""
    _, db = texts
    assert warm_config(db, config).backbone == str(backbone)
    assert warm_config(db, replace(config, warm_steps=0)).backbone == ""
    other = warm_config(db, replace(config, backbone="another"))
    assert (other.backbone, other.warm_steps) == ("another", 0)


def test_before_any_step_an_item_is_the_projection_of_its_text_vector(config) -> None:
    torch.manual_seed(1)
    item = ItemEncoder(config, 50, {"image": 8, "text": 24, "zzz": 3})
    item.feature_scale[8:32] = 24**0.5
    vectors = torch.nn.functional.normalize(torch.randn(40, 24), dim=1)
    teacher = torch.from_numpy(projection([vectors.numpy()], config.dim))
    pass_through(item, teacher, vectors)
    features = torch.zeros(40, 35)
    features[:, 8:32] = vectors
    nothing = NgramIndex(build_vocabulary(Counter(), 1, 1, 1)).bags_of([[]] * 40)
    found = item(Levels(nothing, backward=False), features).detach()
    target = torch.nn.functional.normalize(vectors @ teacher.T, dim=1)
    assert (found * target).sum(1).min() > 0.97


@pytest.mark.parametrize("size", [32, 16])
def test_the_query_tower_starts_compatible_with_embeddings_that_exist(
    tmp_path, backbone, config, size
) -> None:
    """Vectors that are the text's, turned and noisy: of the space's own size, and of another."""
    workspace = Workspace.create(tmp_path / "workspace")
    db = fill(workspace)
    embed_texts(workspace, db, str(backbone))
    text = open_vectors(workspace, db, "text", "pin")
    assert text is not None
    generator = np.random.default_rng(0)
    turn = np.linalg.qr(generator.normal(size=(size, size)))[0]
    known = text.vectors @ projection([text.vectors], size).T @ turn
    known += generator.normal(scale=0.1 * known.std(), size=known.shape)
    write_vectors(workspace, db, "pinsage", "pin", text.ids, known.astype("f4"), replace=True)
    db["item_vectors"].delete_where("name = 'itemsage'")
    still = replace(config, warmup_steps=10**9, steps=1, valid_every=1, warm_steps=1)
    train(workspace, db, still)
    encoder = load_encoder(workspace)
    queries = ["red settee", "bridal", "blue keyboard", "a picture of a lamp"]
    vectors = plain(backbone, queries)
    wanted = encoder.compat("pinsage", (vectors @ projection([text.vectors], size).T @ turn))
    found = encoder.queries(queries) @ wanted.T
    assert found.diagonal().min() > 0.8  # about 0 where nothing is turned
    untold = replace(still, weight_compat=0.0)
    train(workspace, db, untold, name="untold")
    rotated, plainly = (
        load_encoder(workspace, name).queries(queries) for name in ("default", "untold")
    )
    best = pointed(workspace.best_checkpoint("default"), CHECKPOINT)
    back = encoder.model.query.projection.unrotated(torch.from_numpy(rotated)).numpy()
    for prefix in (32, 16, 4):  # before any step they are those of a training without the space
        one, other = back[:, :prefix], plainly[:, :prefix]
        np.testing.assert_allclose(one @ one.T, other @ other.T, atol=2e-3)
    card = (best / "README.md").read_text("utf-8")
    assert ("query.projection.rotation" in card) == (size == 32)


def test_a_catalogue_without_a_log_can_be_trained(tmp_path, backbone, config) -> None:
    workspace = Workspace.create(tmp_path / "workspace")
    db = fill(workspace, pins=40, products=20)
    db.conn.execute("DELETE FROM engagements")
    db.conn.commit()
    with pytest.raises(NotReady, match="no engagement"):
        train(workspace, db, replace(config, steps=2, valid_every=1))
    embed_texts(workspace, db, str(backbone))
    reports = []
    short = replace(config, warm_steps=1, batch_pairs=10, steps=50, valid_every=50)
    train(workspace, db, short, on_step=reports.append)
    assert {"pseudo_pin", "pseudo_product"} <= reports[0].losses.keys()
    assert len(reports) == 12  # two passes over the pseudo-queries of 60 items
    # The query encoder alone learns; with cached gradients it learns the same.
    once = replace(short, steps=1, valid_every=1)
    train(workspace, db, once, name="once")
    train(workspace, db, replace(once, cached_gradients=True, chunk_items=7), name="cached")
    long, once, cached = (load_encoder(workspace, name) for name in ("default", "once", "cached"))
    items = next(iter(read_items(db, "pin")))
    np.testing.assert_array_equal(long.items(items, {}), once.items(items, {}))
    asked = ["red settee", "blue mug"]
    assert not np.allclose(long.queries(asked), once.queries(asked), atol=1e-4)
    np.testing.assert_allclose(cached.queries(asked), once.queries(asked), atol=1e-5)


def test_a_short_log_does_not_shorten_a_training_on_pseudo_queries(tmp_path, backbone) -> None:
    """Ten pairs are no reason to learn less than without any."""
    workspace = Workspace.create(tmp_path / "workspace")
    db = fill(workspace, pins=40, products=20)
    embed_texts(workspace, db, str(backbone))
    config = preset_config("demo", batch_pairs=10)
    many = warm_config(db, config)
    db.conn.execute("DELETE FROM engagements WHERE event >= 10")
    few = warm_config(db, config)
    db.conn.execute("DELETE FROM engagements")
    none = warm_config(db, config)
    assert none.steps == 2 * 60 // 10 and few == none and many.steps > none.steps
    assert (none.valid_every, none.warmup_steps) == (3, 0)  # in proportion, as 150 and 40 of 600


def test_a_resumed_warm_start_does_not_validate_its_beginning_again(texts, config) -> None:
    workspace, db = texts
    config = replace(config, warm_steps=1, steps=2, valid_every=2)

    class Stop(Exception):
        pass

    def stop(report) -> None:
        raise Stop

    with pytest.raises(Stop):
        train(workspace, db, config, name="again", on_step=stop)
    folder = train(workspace, db, config, name="again", resume=True)
    history = load_state(pointed(folder.parent / "LAST", CHECKPOINT)).values["history"]
    assert [entry["step"] for entry in history] == [0, 2]


def test_a_diverged_training_says_so(texts, config) -> None:
    workspace, db = texts
    with pytest.raises(InputError, match="diverged"):
        train(workspace, db, replace(config, lr=float("inf"), clip=1e30, steps=5), name="far")


def test_a_short_log_is_not_learned_by_heart(texts, config) -> None:
    workspace, db = texts
    warm = warm_config(db, replace(config, warm_steps=1, steps=1000))
    for changed, most in ((warm, 10), (replace(warm, warm_steps=0), 10**9)):
        prepared = prepare(workspace, db, changed, None)
        dims = prepared.parts.model.item.feature_dims
        stream = BatchStream(prepared.data, changed, prepared.pieces, prepared.pad, dims)
        for name, pairs in prepared.data.pairs.items():
            passes = changed.steps * stream.counts[name] / len(pairs.queries)
            assert passes <= most or stream.counts[name] == 1
        if changed is not warm:
            assert stream.counts["pin"] * 1000 / len(prepared.data.pairs["pin"].queries) > 20


def test_the_usual_encoder_is_the_one_used_before_or_fits_the_languages(
    texts, backbone, tmp_path, monkeypatch
) -> None:
    assert usual_encoder(texts[1]) == {
        "backbone": str(backbone), "pooling": "mean", "max_tokens": 64,
    }  # fmt: skip
    workspace = Workspace.create(tmp_path / "workspace")
    db = fill(workspace, pins=4, products=0)
    there: set[str] = set()
    monkeypatch.setattr(text_feature, "installed", there.__contains__)
    assert usual_encoder(db) is None
    with pytest.raises(MissingExtra, match="text encoder is not installed") as found:
        embed_texts(workspace, db)
    assert "[minilm]" in found.value.how
    there.add("e5")
    assert usual_encoder(db) == {"backbone": "e5"}  # languages are not known
    there.add("minilm")
    assert usual_encoder(db) == {"backbone": "minilm"}
    db.conn.execute("UPDATE pins SET language = 'de' WHERE id > 'pin0000'")
    assert usual_encoder(db) == {"backbone": "e5"}
    there.remove("e5")
    assert usual_encoder(db) is None
    with pytest.raises(MissingExtra) as found:
        embed_texts(workspace, db)
    assert "[multilingual]" in found.value.how and "25% of items" in found.value.where


def test_the_language_of_items_that_name_none_is_guessed(tmp_path) -> None:
    db = open_catalogue(tmp_path / "catalogue.db", create=True)
    assert english_share(db) == 1.0
    german = ["rotes Ledersofa mit Holzfüßen", "Vorhang für das Wohnzimmer", "kleiner Schrank"]
    db["products"].insert_all({"id": f"d{n}", "title": german[n % 3]} for n in range(9))
    assert english_share(db) == 0.0
    db["products"].insert_all({"id": f"n{n}", "title": "RTX 4090"} for n in range(3))
    assert english_share(db) == 0.0  # codes are of no language
    english = ["red leather sofa with wooden feet", "curtain for the living room", "small wardrobe"]
    db["pins"].insert_all({"id": f"e{n}", "title": english[n % 3]} for n in range(12))
    assert english_share(db) == pytest.approx(0.5, abs=0.05)
    db["pins"].insert_all({"id": f"f{n}", "title": "red sofa", "language": "fr"} for n in range(24))
    assert english_share(db) == pytest.approx(0.25, abs=0.05)


def test_a_training_that_finds_no_more_than_its_start_says_so(texts, config, capsys) -> None:
    workspace, db = texts
    still = replace(config, warmup_steps=10**9, steps=2, valid_every=1, backbone_lr=0.0)
    show(train(workspace, db, still, name="still"))
    said = capsys.readouterr().out
    assert "No step found more on the held-out pairs than the start" in said
    assert "Trained encoder" not in said
    show(train(workspace, db, replace(still, warm_steps=0), name="first"))
    said = capsys.readouterr().out
    assert "No step found more" not in said and "Trained encoder" in said
