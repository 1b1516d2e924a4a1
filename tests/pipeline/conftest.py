"""A text encoder for the tests of this room."""

from __future__ import annotations

from pathlib import Path

import pytest

WORDS = ("oak", "walnut", "brass", "linen", "velvet", "lamp", "chair", "sofa", "mirror", "vase")


@pytest.fixture(scope="session")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small random BERT in a folder, as a hub would give it; WORDS are tokens of it."""
    import torch
    from transformers import BertConfig, BertModel

    from omnisearch.encoders.training.wordpiece import train_wordpiece

    folder = tmp_path_factory.mktemp("backbone")
    tokeniser = train_wordpiece(WORDS, 100)
    torch.manual_seed(0)
    sizes = {"hidden_size": 24, "intermediate_size": 48, "max_position_embeddings": 32}
    layers = {"num_hidden_layers": 1, "num_attention_heads": 2}
    BertModel(BertConfig(vocab_size=len(tokeniser), **sizes, **layers)).save_pretrained(folder)
    tokeniser.save_pretrained(folder)
    return folder
