"""How an encoder reads texts: what its files or its family tell, from enrichment to serving."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import orjson
import pytest
import torch
from small_catalogue import fill
from transformers import AutoModel, AutoTokenizer

from omnisearch.data.text.normalise import normalise_query
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import InputError
from omnisearch.encoders.checkpoint import load_encoder
from omnisearch.encoders.form import Form, form_of, write_form
from omnisearch.encoders.models.query import pooled
from omnisearch.encoders.text_encoder import TextTower, text_encoder
from omnisearch.encoders.training.run import train
from omnisearch.enrichment.text import embed_texts

PROMPTS = Form("last", "ask: ", "say: ")


@pytest.fixture
def asymmetric(backbone: Path, tmp_path: Path) -> Path:
    """An encoder with different prompts for queries and items, and the last token's state."""
    folder = tmp_path / "asymmetric"
    AutoModel.from_pretrained(backbone).save_pretrained(folder)
    AutoTokenizer.from_pretrained(backbone).save_pretrained(folder)
    write_form(folder, PROMPTS)
    return folder


def plain(folder: Path, text: str) -> np.ndarray:
    """One text's vector, as the authors of such encoders write it down."""
    tokeniser = AutoTokenizer.from_pretrained(folder)
    inputs = tokeniser(text, truncation=True, max_length=64, return_tensors="pt")
    with torch.no_grad():
        model = AutoModel.from_pretrained(folder).eval()
        state = model(
            input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]
        ).last_hidden_state[0, -1]
    return (state / state.norm()).numpy()


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("intfloat/multilingual-e5-small", Form("mean", "query: ", "passage: ")),
        ("intfloat/e5-base-v2", Form("mean", "query: ", "passage: ")),
        ("BAAI/bge-m3", Form("cls")),
        ("some/unknown-model", Form("mean")),
        ("/shops/e5-shop/encoders/ours", Form("mean")),
    ],
)
def test_families_have_their_forms(name: str, form: Form) -> None:
    assert form_of(name, local=True) == form


@pytest.mark.parametrize(
    ("name", "pooling", "begins", "ends"),
    [
        ("BAAI/bge-small-en-v1.5", "cls", "Represent this sentence", "passages: "),
        ("intfloat/multilingual-e5-large-instruct", "mean", "Instruct: ", "\nQuery: "),
        ("Qwen/Qwen3-Embedding-0.6B", "last", "Instruct: ", "\nQuery:"),
    ],
)
def test_families_that_instruct_do_so_for_queries_alone(
    name: str, pooling: str, begins: str, ends: str
) -> None:
    form = form_of(name, local=True)
    assert form.pooling == pooling and form.item == ""
    assert form.query.startswith(begins) and form.query.endswith(ends)


def test_what_the_files_tell_comes_before_the_family_and_an_option_before_both(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "e5-ours"
    folder.mkdir()
    assert form_of(str(folder)) == Form("mean", "query: ", "passage: ")
    write_form(folder, PROMPTS)
    assert form_of(str(folder)) == PROMPTS
    assert form_of(str(folder), "cls") == replace(PROMPTS, pooling="cls")
    with pytest.raises(InputError, match="pooling 'max'"):
        form_of(str(folder), "max")
    (folder / "config_sentence_transformers.json").write_bytes(
        orjson.dumps({"prompts": {"query": "q ", "passage": "p "}})
    )
    assert form_of(str(folder)) == Form("last", "q ", "p ")
    (folder / "config_sentence_transformers.json").write_bytes(b"{")
    with pytest.raises(InputError, match="not JSON"):
        form_of(str(folder))


def test_the_last_token_is_the_last_before_the_padding() -> None:
    states = torch.arange(12.0).reshape(2, 3, 2)
    mask = torch.tensor([[1, 1, 1], [1, 0, 0]])
    assert pooled(states, mask, "last").tolist() == [[4.0, 5.0], [6.0, 7.0]]


def test_queries_and_items_are_read_after_their_prompts(asymmetric: Path) -> None:
    tower = TextTower(str(asymmetric))
    texts = ["red sofa", "lamp"]
    asked = np.stack([plain(asymmetric, f"ask: {text}") for text in texts])
    said = np.stack([plain(asymmetric, f"say: {text}") for text in texts])
    np.testing.assert_allclose(tower.queries(texts), asked, atol=1e-2)
    np.testing.assert_allclose(tower(texts), said, atol=1e-2)


def test_the_form_goes_with_the_encoder_into_training_checkpoint_and_export(
    config, asymmetric: Path, tmp_path: Path
) -> None:
    from omnisearch.encoders.onnx.export import export_query_tower
    from omnisearch.encoders.onnx.query_tower import OnnxQueries

    workspace = Workspace.create(tmp_path / "workspace")
    db = fill(workspace)
    embed_texts(workspace, db, str(asymmetric))
    assert text_encoder(db) == (str(asymmetric), PROMPTS)
    query = normalise_query("Red  Sofa")
    train(workspace, db, replace(config, steps=1, valid_every=1, warm_steps=2), "asymmetric")
    encoder = load_encoder(workspace, "asymmetric")
    assert (encoder.config.pooling, encoder.config.query_prompt) == ("last", "ask: ")
    wanted = encoder.tokeniser.hub_tokeniser(f"ask: {query}")["input_ids"]
    assert encoder.tokeniser(["Red  Sofa"]) == [wanted]
    export_query_tower(workspace, encoder, ["red sofa", "blue lamp"])
    exported = OnnxQueries(workspace.export(encoder.checkpoint))
    assert exported.pieces(["Red  Sofa"]) == [wanted]
