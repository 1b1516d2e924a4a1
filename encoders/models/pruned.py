"""A backbone without the word pieces that a catalogue does not need.

The table of a multilingual encoder has a row for each of 250,000 word pieces, most of its weights.
Kept are the pieces that texts at hand use, each character that the vocabulary knows, so that every
word can still be spelled, and the likeliest pieces in the scripts of these texts, of which new
words consist. Figures: docs/results/languages.md.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable
from functools import cache
from itertools import islice
from typing import Any

import orjson
import torch
from tokenizers import Tokenizer
from torch import nn
from transformers import PreTrainedTokenizerFast

FEWEST = 60_000  # smaller vocabularies stay as they are
LIKELIEST = 60_000
_LEAST_SHARE = 1e-3  # of all letters; a script with fewer is not one of the texts
_SPACE = "\u2581"
_AT_ONCE = 10_000


def pruned(model: nn.Module, tokeniser: Any, texts: Iterable[str]) -> tuple[nn.Module, Any]:
    """The model, changed in place, and its new tokeniser.

    Vocabularies that are small, or not of unigrams (SentencePiece's usual kind), stay as they are.
    """
    backend = getattr(tokeniser, "backend_tokenizer", None)
    if not isinstance(backend, Tokenizer):
        return model, tokeniser
    settings = orjson.loads(backend.to_str())
    kinds = [(settings.get(part) or {}).get("type") for part in ("model", "post_processor")]
    if kinds != ["Unigram", "TemplateProcessing"] or len(tokeniser) <= FEWEST:
        return model, tokeniser
    vocabulary = settings["model"]["vocab"]
    kept = _needed(backend, vocabulary, texts)
    kept |= {entry["id"] for entry in settings["added_tokens"]} | {settings["model"]["unk_id"]}
    rows = sorted(kept)
    row_of = {old: new for new, old in enumerate(rows)}
    padding = tokeniser.pad_token_id
    if row_of.get(padding) != padding:  # models may count positions from this number
        return model, tokeniser
    settings["model"]["vocab"] = [vocabulary[old] for old in rows if old < len(vocabulary)]
    settings["model"]["unk_id"] = row_of[settings["model"]["unk_id"]]
    for entry in settings["added_tokens"]:
        entry["id"] = row_of[entry["id"]]
    for entry in settings["post_processor"]["special_tokens"].values():
        entry["ids"] = [row_of[old] for old in entry["ids"]]
    table: Any = model.get_input_embeddings()  # type: ignore[operator]
    smaller = nn.Embedding(len(rows), table.embedding_dim, padding)
    with torch.no_grad():
        smaller.weight.copy_(table.weight[torch.tensor(rows, device=table.weight.device)])
    model.set_input_embeddings(smaller)  # type: ignore[operator]
    model.config.vocab_size = len(rows)  # type: ignore[union-attr]
    return model, PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(orjson.dumps(settings).decode()),
        model_max_length=tokeniser.model_max_length,
        **{name: str(token) for name, token in tokeniser.special_tokens_map.items()},
    )


def _needed(backend: Tokenizer, vocabulary: list[Any], texts: Iterable[str]) -> set[int]:
    """The pieces of texts, single characters, and the likeliest pieces in the texts' scripts."""
    found = {row for row, (piece, _) in enumerate(vocabulary) if len(piece.strip(_SPACE)) <= 1}
    letters: Counter[str] = Counter()
    left = iter(texts)
    while some := list(islice(left, _AT_ONCE)):
        letters.update("".join(some))
        for encoding in backend.encode_batch_fast(some):
            found.update(encoding.ids)
    scripts: Counter[str] = Counter()
    for letter, count in letters.items():
        scripts[_script(letter)] += count
    least = _LEAST_SHARE * (scripts.total() - scripts[""])
    foreign = {script for script in map(_script, _letters(vocabulary)) if scripts[script] < least}
    likeliest = sorted(range(len(vocabulary)), key=lambda row: -vocabulary[row][1])
    own = (row for row in likeliest if foreign.isdisjoint(map(_script, vocabulary[row][0])))
    return found | set(islice(own, LIKELIEST))


def _letters(vocabulary: list[Any]) -> set[str]:
    return {letter for piece, _ in vocabulary for letter in piece}


@cache
def _script(letter: str) -> str:
    """The first word of its name, such as LATIN or CJK; "" for what is no letter."""
    return unicodedata.name(letter, "").partition(" ")[0] if letter.isalpha() else ""
