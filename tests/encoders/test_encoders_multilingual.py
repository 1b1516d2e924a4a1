"""A multilingual backbone of XLM-RoBERTa's kind, from a folder: random weights, the real code."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast, XLMRobertaConfig, XLMRobertaModel

from omnisearch.data.workspace import Workspace
from omnisearch.encoders.checkpoint import load_encoder

QUERIES = ["red dress", "rotes Kleid", "红色连衣裙", "เสื้อยืดสีดำ", "قميص أسود", "काली टी-शर्ट"]


@pytest.fixture(scope="module")
def multilingual(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Unigram tokeniser without a normaliser and a model whose padding is number 1."""
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    tokeniser = Tokenizer(models.Unigram())
    tokeniser.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=200, special_tokens=special, unk_token="<unk>", show_progress=False
    )
    tokeniser.train_from_iterator(QUERIES * 3, trainer)
    tokeniser.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    hub = PreTrainedTokenizerFast(
        tokenizer_object=tokeniser,
        cls_token="<s>",
        pad_token="<pad>",
        sep_token="</s>",
        unk_token="<unk>",
        mask_token="<mask>",
    )
    torch.manual_seed(0)
    shape = XLMRobertaConfig(
        vocab_size=len(hub),
        hidden_size=24,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=48,
        max_position_embeddings=80,
    )
    folder = tmp_path_factory.mktemp("multilingual")
    XLMRobertaModel(shape).save_pretrained(folder)
    hub.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_queries_of_all_scripts_are_told_apart_whatever_they_are_batched_with(
    small, config, multilingual: Path, pooling: str
) -> None:
    name = f"multilingual-{pooling}"
    changed = replace(config, backbone=str(multilingual), pooling=pooling, steps=2, valid_every=2)
    small.train(name, changed)
    encoder = load_encoder(Workspace(small.workspace.root), name)
    vectors = encoder.queries(QUERIES)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert len({row.round(4).tobytes() for row in vectors}) == len(QUERIES)
    # Padding is number 1 here, and positions are counted from it: it must not be seen.
    alone = np.concatenate([encoder.queries([text]) for text in QUERIES])
    np.testing.assert_allclose(vectors, alone, atol=1e-5)
