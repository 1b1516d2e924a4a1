"""The query encoder: its own word pieces, and backbones that were trained elsewhere."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import AutoTokenizer, BertModel, PreTrainedTokenizerFast

from omnisearch.data.workspace.errors import InputError
from omnisearch.encoders.checkpoint import load_encoder, load_parts
from omnisearch.encoders.config import config_from_json, config_to_json, preset_config
from omnisearch.encoders.models.query import QueryTokeniser
from omnisearch.encoders.training import run
from omnisearch.encoders.training.wordpiece import train_wordpiece

TEXTS = [f"{colour} {word}" for colour in ("red", "blue") for word in ("sofas", "sofa", "bed")]
TEXTS += ["ソファ", "диван", "café-table"]


def test_the_same_texts_give_the_same_word_pieces() -> None:
    found = [train_wordpiece(TEXTS, 60).get_vocab() for _ in range(5)]
    assert all(vocabulary == found[0] for vocabulary in found)
    assert len(found[0]) <= 60


def test_every_word_that_was_seen_can_be_spelled_and_the_unseen_is_unknown() -> None:
    tokeniser = train_wordpiece(TEXTS, 400)
    unknown = tokeniser.unk_token_id
    for text in TEXTS:
        pieces = tokeniser(text)["input_ids"]
        assert unknown not in pieces
        assert pieces[0] == tokeniser.cls_token_id and pieces[-1] == tokeniser.sep_token_id
    assert unknown in tokeniser("ωmega")["input_ids"]
    small = train_wordpiece(TEXTS, 20)  # too few for all characters
    assert len(small) <= 20


def test_long_queries_are_cut_but_keep_their_end_mark() -> None:
    tokeniser = QueryTokeniser(train_wordpiece(TEXTS, 100), max_tokens=8)
    long, short = tokeniser(["red sofa " * 50, "red sofa"])
    assert len(long) == 8
    assert long[0] == short[0] and long[-1] == short[-1]
    assert tokeniser([]) == []


def test_the_words_of_a_vocabulary_begin_a_word() -> None:
    pieces = QueryTokeniser(train_wordpiece(TEXTS * 9, 400), max_tokens=8).words()
    assert {"red", "sofas", "bed"} <= set(pieces)
    assert not any(piece.startswith("##") for piece in pieces)
    sentence = Tokenizer(models.BPE())
    sentence.pre_tokenizer = pre_tokenizers.Metaspace()
    sentence.train_from_iterator(TEXTS * 9, trainers.BpeTrainer(vocab_size=400))  # type: ignore[attr-defined]
    wrapped = PreTrainedTokenizerFast(tokenizer_object=sentence)
    begin = set(QueryTokeniser(wrapped, max_tokens=8).words())
    assert {"red", "sofas", "bed"} <= begin and "ed" not in begin  # as in 'red'


@pytest.mark.parametrize(("pooling", "rate"), [("cls", 1e-3), ("mean", 0.0)])
def test_a_backbone_folder_is_trained_at_its_own_rate_or_frozen(
    small, config, backbone, pooling, rate
) -> None:
    config = replace(
        config, backbone=str(backbone), pooling=pooling, backbone_lr=rate, steps=4, valid_every=2
    )
    folder, _ = small.train(f"backbone-{pooling}", config)
    before = BertModel.from_pretrained(backbone).state_dict()
    after = load_parts(folder).model.query.backbone.state_dict()
    name = "encoder.layer.0.attention.self.query.weight"
    assert torch.equal(before[name], after[name]) == (rate == 0)
    vectors = load_encoder(small.workspace, f"backbone-{pooling}").queries(["red sofa", "bed"])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)


def test_a_backbone_in_half_precision_is_trained_and_read_in_float32(
    small, config, backbone, tmp_path
) -> None:
    for dtype in (torch.float16, torch.bfloat16):
        folder = tmp_path / str(dtype)
        BertModel.from_pretrained(backbone).to(dtype).save_pretrained(folder)
        AutoTokenizer.from_pretrained(backbone).save_pretrained(folder)
        changed = replace(config, backbone=str(folder), steps=1, valid_every=1)
        small.train("half", changed)
        model = load_encoder(small.workspace, "half").model
        assert {weights.dtype for weights in model.query.parameters()} == {torch.float32}


def test_mean_pooling_looks_past_padding(small, config, backbone) -> None:
    folder, _ = small.train(
        "mean", replace(config, backbone=str(backbone), pooling="mean", steps=1, valid_every=1)
    )
    encoder = load_encoder(small.workspace, "mean")
    alone = encoder.queries(["bed"])
    padded = encoder.queries(["bed", "red sofa blue sofas red bed"])
    np.testing.assert_allclose(alone[0], padded[0], atol=1e-5)
    assert folder.is_dir()


def test_a_backbone_that_is_not_there_is_named(small, config, tmp_path, monkeypatch) -> None:
    missing = str(tmp_path / "no-such-model")
    with pytest.raises(InputError, match="no-such-model"):
        small.train("missing", replace(config, backbone=missing))
    (tmp_path / "empty").mkdir()
    monkeypatch.setattr(run, "prepare", lambda *words: pytest.fail("the log was read first"))
    with pytest.raises(InputError, match="This folder holds no model"):
        small.train("missing", replace(config, backbone=str(tmp_path / "empty")))


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(InputError, match="preset"):
        preset_config("huge")
    with pytest.raises(InputError, match="pooling"):
        preset_config("tiny", pooling="max")
    with pytest.raises(InputError, match="steps must be above 0"):
        preset_config("tiny", steps=0)
    with pytest.raises(InputError, match="unknown fields: surprise"):
        config_from_json({"surprise": 1})
    for preset in ("tiny", "demo", "paper"):
        config = preset_config(preset)
        assert config_from_json(config_to_json(config)) == config


def test_the_paper_preset_has_the_papers_figures() -> None:
    config = preset_config("paper")
    assert (config.unigrams, config.bigrams, config.trigrams) == (200_000, 1_000_000, 64_000)
    assert (config.table_rows, config.table_dim, config.item_hidden) == (100_000, 256, 1024)
    assert config.sizes == {16: 0.05, 32: 0.05, 64: 0.05, 128: 0.05, 256: 1.0}
    of_the_log = {name: share for name, share in config.mix.items() if "pseudo" not in name}
    assert of_the_log == {"pin": 8, "product": 4, "offsite": 2, "query": 2}
    assert (config.optimiser, config.warmup_steps, config.steps) == ("lamb", 750, 150_000)
    assert config.lr == pytest.approx(0.001995, rel=1e-3)
