"""Checkpoints and the encoder that is loaded from them."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import orjson
import pytest
import torch
from safetensors.torch import load_file, save_file

from omnisearch.data.catalogue.items import read_items
from omnisearch.data.catalogue.vectors import open_all_vectors
from omnisearch.data.workspace.artefacts import sealed, write_manifest
from omnisearch.data.workspace.errors import Corrupt, InputError, NotReady
from omnisearch.encoders.checkpoint import CHECKPOINT, load_encoder, load_parts, verify


@pytest.fixture(scope="module")
def encoder(small, trained):
    return load_encoder(small.workspace)


@pytest.fixture
def copied(small, trained, tmp_path):
    """A workspace of its own with the trained checkpoint, to be damaged."""
    from omnisearch.data.workspace import Workspace

    workspace = Workspace.create(tmp_path / "w")
    shutil.copytree(small.workspace.checkpoints / "default", workspace.checkpoints / "default")
    return workspace, workspace.checkpoints / "default" / trained[0].name


def items_and_features(small, entity):
    items = next(read_items(small.db, entity))
    ids = [item["id"] for item in items]
    found = open_all_vectors(small.workspace, small.db, entity)
    return items, {name: feature.rows(ids)[0] for name, feature in found.items()}


def test_vectors_are_unit_rows_of_the_trained_size(small, encoder) -> None:
    assert encoder.dim == 32
    assert encoder.feature_dims == {"image": 8, "itemsage": 32, "pinsage": 16}
    assert encoder.compat_spaces == {"pinsage": "pin", "itemsage": "product"}
    assert len(encoder.checkpoint) == 16 and int(encoder.checkpoint, 16) >= 0
    for entity in ("pin", "product"):
        items, features = items_and_features(small, entity)
        vectors = encoder.items(items, features)
        assert vectors.shape == (len(items), 32) and vectors.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    queries = encoder.queries(["red sofa", "paris"])
    assert queries.shape == (2, 32) and queries.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(queries, axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(
        np.linalg.norm(encoder.compat("pinsage", np.ones((3, 16))), axis=1), 1, rtol=1e-5
    )


def test_the_query_finds_what_it_was_trained_to_find(small, encoder) -> None:
    items, features = items_and_features(small, "pin")
    vectors = encoder.items(items, features)
    queries = ["sofa", "wedding", "crochet", "laptop"]
    best = (encoder.queries(queries) @ vectors.T).argmax(axis=1)
    found = [items[row]["board_titles"][0] for row in best]
    assert sum(f"{query} ideas" == title for query, title in zip(queries, found, strict=True)) >= 3


def test_a_vector_does_not_depend_on_its_neighbours_or_on_what_came_before(small, encoder) -> None:
    items, features = items_and_features(small, "pin")
    whole = encoder.items(items, features)
    alone = encoder.items(items[7:8], {name: rows[7:8] for name, rows in features.items()})
    np.testing.assert_allclose(alone[0], whole[7], atol=1e-6)
    texts = ["red sofa", "a much longer query about blue crochet patterns", "paris"]
    together = encoder.queries(texts)
    for row, text in enumerate(texts):
        np.testing.assert_allclose(encoder.queries([text])[0], together[row], atol=1e-5)


def test_features_and_texts_may_be_missing(small, encoder) -> None:
    items, features = items_and_features(small, "pin")
    zeros = {name: np.zeros_like(rows) for name, rows in features.items()}
    np.testing.assert_array_equal(encoder.items(items, {}), encoder.items(items, zeros))
    assert not np.allclose(encoder.items(items, {}), encoder.items(items, features))
    bare = encoder.items([{"id": "x", "title": None}, {"id": "y", "title": "qqqq"}], {})
    assert np.isfinite(bare).all()
    extra = features | {"unknown": np.ones((len(items), 3), np.float32)}
    np.testing.assert_array_equal(encoder.items(items, extra), encoder.items(items, features))
    assert encoder.items([], {}).shape == (0, 32)


def test_wrong_shapes_and_spaces_are_named(small, encoder) -> None:
    items, features = items_and_features(small, "pin")
    with pytest.raises(InputError, match="'pinsage' must have shape"):
        encoder.items(items, {"pinsage": features["pinsage"][:, :5]})
    with pytest.raises(InputError, match=r"7 dimensions.*trained with 16.*omnisearch train"):
        encoder.compat("pinsage", np.ones((2, 7)))
    with pytest.raises(InputError, match="not trained for 'nothing'"):
        encoder.compat("nothing", np.ones((2, 16)))


def test_itemsage_of_the_querys_size_is_only_normalised(encoder) -> None:
    vectors = np.random.default_rng(0).normal(size=(5, 32)).astype(np.float32)
    expected = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    np.testing.assert_allclose(encoder.compat("itemsage", vectors), expected, atol=1e-6)


def test_any_query_gets_a_vector(encoder) -> None:
    texts = [
        "",
        " ",
        "\x00",
        "x" * 10_000,
        "sofa " * 3_000,
        "ソファ 赤い",
        "диван",
        "أريكة",
        "सोफ़ा",
    ]
    texts += ["กข", "🛋️", "a\ud800b"]
    vectors = encoder.queries(texts)
    assert vectors.shape == (len(texts), 32) and np.isfinite(vectors).all()
    np.testing.assert_array_equal(encoder.queries(["  RED   sofa "]), encoder.queries(["red sofa"]))
    assert encoder.queries([]).shape == (0, 32)


def test_many_threads_get_the_same_vectors(small, encoder) -> None:
    texts = [[f"{word} {n}" for word in ("red", "sofa", "paris")] for n in range(40)]
    expected = [encoder.queries(part) for part in texts]
    items, features = items_and_features(small, "product")
    of_items = encoder.items(items, features)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(encoder.queries, texts))
        again = list(pool.map(lambda _: encoder.items(items, features), range(4)))
    for a, b in zip(expected, found, strict=True):
        np.testing.assert_array_equal(a, b)
    assert all(np.array_equal(of_items, vectors) for vectors in again)


def test_a_checkpoint_holds_no_pickle_and_lists_every_file(trained) -> None:
    folder, _ = trained
    files = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert {file.rsplit(".", 1)[-1] for file in files} <= {"json", "safetensors", "md", "txt"}
    listed = set(verify(folder)) | {"manifest.json"}
    assert listed == {file for file in files if not file.startswith("training/")}
    card = (folder / "README.md").read_text("utf-8")
    for part in ("Recall@10", "pinsage (16)", "| pin | 3", "120 pins", "seed", "## Limits"):
        assert part in card


def test_loading_for_inference_needs_no_optimiser_state(small, encoder, copied) -> None:
    workspace, folder = copied
    shutil.rmtree(folder / "training", ignore_errors=True)
    assert load_encoder(workspace).checkpoint == encoder.checkpoint
    assert not any(p.requires_grad for p in encoder.model.parameters())


@pytest.mark.parametrize(
    "file", ["model.safetensors", "config.json", "query/tokenizer.json", "ngrams/bigrams.txt"]
)
def test_a_changed_file_is_refused_before_it_is_read(copied, file) -> None:
    workspace, folder = copied
    content = bytearray((folder / file).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / file).write_bytes(content)
    with pytest.raises(Corrupt, match="does not match its manifest"):
        load_encoder(workspace)
    (folder / file).unlink()
    with pytest.raises(Corrupt, match="missing"):
        load_encoder(workspace)


@pytest.mark.parametrize("manifest", [b"", b"{}", b"[]", b'{"format": 9, "files": {}}', None])
def test_a_broken_manifest_is_refused(copied, manifest) -> None:
    workspace, folder = copied
    (folder / "manifest.json").unlink()
    if manifest is not None:
        (folder / "manifest.json").write_bytes(manifest)
    with pytest.raises(Corrupt):
        load_encoder(workspace)


def test_a_manifest_cannot_point_outside_its_folder(copied) -> None:
    workspace, folder = copied
    manifest = orjson.loads((folder / "manifest.json").read_bytes())
    manifest["files"]["../../../secret"] = {"sha256": "0", "bytes": 0}
    (folder / "manifest.json").write_bytes(sealed(manifest))
    with pytest.raises(Corrupt):
        load_encoder(workspace)


def test_weights_of_another_shape_are_refused(copied) -> None:
    _, folder = copied
    description = orjson.loads((folder / "config.json").read_bytes())
    description["config"]["item_hidden"] = 65
    (folder / "config.json").write_bytes(orjson.dumps(description))
    with pytest.raises(Corrupt, match="cannot be read"):
        load_parts(folder)


def test_a_checkpoint_without_rotations_opens(encoder, copied) -> None:
    """As they were written before towers had one: it stands for none."""
    workspace, folder = copied
    tensors = load_file(folder / "model.safetensors")
    kept = {name: tensor for name, tensor in tensors.items() if not name.endswith(".rotation")}
    assert len(tensors) == len(kept) + 2
    save_file(kept, folder / "model.safetensors")
    (folder / "manifest.json").unlink()
    write_manifest(folder, CHECKPOINT)
    asked = ["red sofa", "lamp"]
    np.testing.assert_array_equal(load_encoder(workspace).queries(asked), encoder.queries(asked))


def test_what_is_not_there_is_said(small, copied) -> None:
    workspace, folder = copied
    with pytest.raises(NotReady, match="omnisearch train"):
        load_encoder(workspace, "other")
    shutil.rmtree(folder)
    with pytest.raises(Corrupt, match="does not exist"):
        load_encoder(workspace)


def test_temperatures_stay_within_their_bounds(trained) -> None:
    model = load_parts(trained[0]).model
    assert model.temperature("pin").item() == pytest.approx(0.07, rel=0.3)
    with torch.no_grad():
        model.log_temperature.fill_(-50.0)
    assert model.temperature("pin").item() == pytest.approx(0.01)
    with torch.no_grad():
        model.log_temperature.fill_(50.0)
    assert model.temperature("query").item() == pytest.approx(1.0)
