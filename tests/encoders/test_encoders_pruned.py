"""A backbone without the word pieces that nobody needs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from omnisearch.encoders.models import pruned as pruning
from omnisearch.encoders.models.pruned import pruned
from omnisearch.encoders.models.query import QueryTokeniser, pad, pooled
from omnisearch.encoders.training.wordpiece import train_wordpiece

LATIN = ["▁red", "▁blue", "▁sofa", "▁table", "▁lamp", "▁chair", "▁bed", "▁mirror"]
CYRILLIC = ["▁диван", "▁стол", "▁лампа", "▁кровать"]
LETTERS = sorted(set("".join(LATIN + CYRILLIC)))
SPECIAL = ["<s>", "<pad>", "</s>", "<unk>"]


@pytest.fixture
def whole(monkeypatch: pytest.MonkeyPatch) -> tuple[BertModel, PreTrainedTokenizerFast]:
    monkeypatch.setattr(pruning, "FEWEST", 10)
    monkeypatch.setattr(pruning, "LIKELIEST", 3 + len(SPECIAL) + 1)
    pieces = [*SPECIAL, *LATIN, *CYRILLIC, *LETTERS, "<mask>"]
    scores = [0.0] * 4 + [-float(row) for row in range(1, len(pieces) - 4)] + [0.0]
    backend = Tokenizer(models.Unigram(list(zip(pieces, scores, strict=True)), unk_id=3))
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    tokeniser = PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<s>", eos_token="</s>", unk_token="<unk>",
        pad_token="<pad>", mask_token="<mask>",
    )  # fmt: skip
    torch.manual_seed(0)
    shape = BertConfig(
        vocab_size=len(pieces), hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=32, pad_token_id=1,
    )  # fmt: skip
    return BertModel(shape).eval(), tokeniser


def vectors(model: BertModel, tokeniser: PreTrainedTokenizerFast, texts: list[str]) -> np.ndarray:
    ids, mask = pad(QueryTokeniser(tokeniser, 32).pieces(texts), tokeniser.pad_token_id)
    with torch.no_grad():
        states = model(input_ids=ids, attention_mask=mask).last_hidden_state
    return pooled(states, mask, "mean").numpy()


def test_texts_keep_their_vectors_and_new_words_can_be_spelled(whole) -> None:
    model, tokeniser = whole
    texts = ["red chair", "blue mirror", "chair"]
    before = vectors(model, tokeniser, texts)
    size = len(tokeniser)
    smaller, own = pruned(model, tokeniser, texts)
    assert len(own) < size and smaller.get_input_embeddings().num_embeddings == len(own)
    assert smaller.config.vocab_size == len(own)
    np.testing.assert_allclose(vectors(smaller, own, texts), before, atol=1e-6)
    kept = set(own.get_vocab())
    # The likeliest three of the texts' script beside their own words, each letter of any script.
    assert set(LATIN) & kept == {"▁red", "▁blue", "▁sofa", "▁chair", "▁mirror"}
    assert not set(CYRILLIC) & kept and set(LETTERS) <= kept
    assert own.tokenize("диван") == ["▁", *"диван"]
    assert own.unk_token_id not in own("диван lamp")["input_ids"]
    assert [own.convert_ids_to_tokens(row) for row in own("red")["input_ids"]] == [
        "<s>", "▁red", "</s>",
    ]  # fmt: skip
    assert own.mask_token_id == len(own) - 1


def test_what_is_small_or_of_another_kind_stays_as_it_is(whole, monkeypatch) -> None:
    model, tokeniser = whole
    wordpiece = train_wordpiece(["red sofa"] * 9, 100)
    assert pruned(model, wordpiece, ["red"])[1] is wordpiece
    monkeypatch.setattr(pruning, "FEWEST", len(tokeniser))

    def never():
        raise AssertionError("texts are read for nothing")
        yield

    assert pruned(model, tokeniser, never()) == (model, tokeniser)
