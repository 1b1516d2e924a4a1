"""The query encoder (§3.4.1, Figure 2), and the small backbone trained from scratch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoTokenizer,
    DistilBertConfig,
)
from transformers.utils.logging import disable_progress_bar

from omnisearch.data.text.normalise import encodable, normalise_query
from omnisearch.data.workspace.errors import InputError
from omnisearch.encoders.config import Config
from omnisearch.encoders.hub import from_files
from omnisearch.encoders.models.rotated import RotatedLinear

disable_progress_bar()  # of loading weights: it would break ours
_VALUE_GAIN = 2.5  # factor on the initial attention values and outputs of the small backbone
_ORIGIN = {"is_local", "local_files_only", "name_or_path"}


class QueryEncoder(nn.Module):
    """A transformer, its first token (or mean), one linear layer, L2 normalisation.

    Attributes:
        backbone: any `AutoModel`.
        pooling: 'cls', 'mean' or 'last'.
    """

    def __init__(self, backbone: nn.Module, pooling: str, dim: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.pooling = pooling
        self.projection = RotatedLinear(backbone.config.hidden_size, dim)  # type: ignore[arg-type, union-attr]

    def forward(self, input_ids: Tensor, mask: Tensor) -> Tensor:
        """(n, dim) float32 unit rows for (n, length) int64 word pieces and their mask."""
        states = self.backbone(input_ids=input_ids, attention_mask=mask).last_hidden_state
        return F.normalize(self.projection(pooled(states, mask, self.pooling)).float(), dim=1)


def pooled(states: Tensor, mask: Tensor, pooling: str) -> Tensor:
    """(n, width) from states (n, length, width) of texts that are padded at their end.

    The first token's ('cls'), the last unmasked one's ('last'), or the mean of the unmasked ones.
    """
    if pooling == "cls":
        return states[:, 0]
    if pooling == "last":
        last = (mask.sum(1) - 1)[:, None, None].expand(-1, 1, states.shape[2])
        return states.gather(1, last)[:, 0]
    shown = mask[..., None].to(states.dtype)
    return (states * shown).sum(1) / shown.sum(1)


class QueryTokeniser:
    """Queries → word pieces: normalised (`data.text.normalise`), after the prompt, and truncated.

    Safe to call from several threads.
    """

    def __init__(self, tokeniser: Any, max_tokens: int, prompt: str = "") -> None:
        self.hub_tokeniser = tokeniser
        self.max_tokens = max_tokens
        self.prompt = prompt
        self.pad = tokeniser.pad_token_id or 0

    def __call__(self, texts: Sequence[str]) -> list[list[int]]:
        """The word piece ids of each query, [CLS] first."""
        return self.pieces([f"{self.prompt}{normalise_query(text)}" for text in texts])

    def pieces(self, texts: Sequence[str]) -> list[list[int]]:
        """The word piece ids of texts as they are."""
        plain = [encodable(text) for text in texts]
        if not plain:
            return []
        # Truncated here: setting truncation would change the shared tokeniser.
        rows = self.hub_tokeniser(
            plain, add_special_tokens=True, return_attention_mask=False, verbose=False
        )["input_ids"]
        return [
            row if len(row) <= self.max_tokens else [*row[: self.max_tokens - 1], row[-1]]
            for row in rows
        ]

    def words(self) -> list[str]:
        """The word pieces that begin a word; most are whole words."""
        vocabulary = list(self.hub_tokeniser.get_vocab())
        # SentencePiece and byte-level BPE mark the start of a word, WordPiece its continuation.
        marked = [piece[1:] for piece in vocabulary if piece.startswith(("\u2581", "\u0120"))]
        return marked or [piece for piece in vocabulary if not piece.startswith("##")]


def pad(rows: Sequence[Sequence[int]], value: int) -> tuple[Tensor, Tensor]:
    """(n, longest) int64 ids and their int64 mask."""
    longest = max(len(row) for row in rows)
    ids = np.full((len(rows), longest), value, dtype=np.int64)
    mask = np.zeros((len(rows), longest), dtype=np.int64)
    for number, row in enumerate(rows):
        ids[number, : len(row)] = row
        mask[number, : len(row)] = 1
    return torch.from_numpy(ids), torch.from_numpy(mask)


def small_backbone(config: Config, vocabulary: int) -> nn.Module:
    """A DistilBERT of the config's shape, randomly initialised for fast training.

    With the library's initialisation, a narrow model's first token depends only weakly on the
    others, and all queries start nearly equal. Attention values get a larger scale, so that after
    the first layer the first token is mostly the mean of the tokens it attends to.
    """
    model = AutoModel.from_config(
        DistilBertConfig(
            vocab_size=vocabulary,
            max_position_embeddings=config.max_query_tokens,
            n_layers=config.query_layers,
            n_heads=config.query_heads,
            dim=config.query_width,
            hidden_dim=4 * config.query_width,
            dropout=config.query_dropout,
            attention_dropout=config.query_dropout,
        )
    )
    for name, parameter in model.named_parameters():
        if name.endswith(("v_lin.weight", "out_lin.weight")):
            nn.init.normal_(parameter, std=_VALUE_GAIN * config.query_width**-0.5)
    return model


def named_backbone(
    name: str, *, local: bool = False, kind: Any = AutoModel, **shape: Any
) -> tuple[nn.Module, Any]:
    """The model (float32) and tokeniser of a folder or a hub name; safetensors weights only.

    With `local`, a hub model is used only if it was downloaded before. `kind` is the library's
    class for the model, and `shape` what its configuration gets, such as `num_labels`.

    Raises:
        InputError: the model does not exist, or has no safetensors weights.
    """
    try:
        options = {"trust_remote_code": False, "local_files_only": local or from_files(name)}
        model = kind.from_pretrained(name, use_safetensors=True, **options, **shape)
        tokeniser = AutoTokenizer.from_pretrained(name, **options)
        # Where the vocabulary is missing, the library makes an empty tokeniser and says nothing.
        if 2 * len(tokeniser) < model.config.vocab_size:
            raise ValueError(
                f"its tokeniser knows {len(tokeniser):,} of {model.config.vocab_size:,} word pieces"
            )
        return model.float(), tokeniser
    except (OSError, ValueError, ImportError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(
            f"The backbone cannot be loaded ({first}).",
            where=name,
            how="Name a folder or a hub model with safetensors weights and a tokeniser, or leave "
            'the backbone empty ("") to train a small one from scratch.',
        ) from error


def write_backbone(folder: Path, model: nn.Module, tokeniser: Any) -> None:
    """The architecture and the tokeniser, without weights, for `read_backbone`."""
    model.config.save_pretrained(folder)  # type: ignore[union-attr, operator]
    tokeniser.save_pretrained(folder)
    # Drop the path it was loaded from, so that equal encoders have equal files.
    path = folder / "tokenizer_config.json"
    if path.exists():
        settings = orjson.loads(path.read_bytes())
        settings = {key: settings[key] for key in settings.keys() - _ORIGIN}
        path.write_bytes(orjson.dumps(settings, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS))


def read_backbone(folder: Path) -> tuple[nn.Module, Any]:
    """The architecture with random weights, and the tokeniser, of a checkpoint's folder."""
    shape = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    # float32 also where the weights that it began with were kept in half precision.
    model = AutoModel.from_config(shape, trust_remote_code=False).float()
    tokeniser = AutoTokenizer.from_pretrained(
        folder, local_files_only=True, trust_remote_code=False
    )
    known = model.get_input_embeddings().num_embeddings
    if max(tokeniser.get_vocab().values(), default=0) >= known:
        raise ValueError(f"the tokeniser has word pieces beyond the model's {known}")
    return model, tokeniser


@dataclass(frozen=True)
class QueryChunk:
    """Queries encoded together: their positions in the batch, word pieces and mask."""

    number: int
    places: Tensor
    input_ids: Tensor
    mask: Tensor


def query_chunks(pieces: list[list[int]], pad_piece: int, size: int) -> list[QueryChunk]:
    """Queries in chunks of at most `size` (0: all at once), shortest first to reduce padding."""
    order = np.argsort([len(row) for row in pieces], kind="stable")
    chunks: list[QueryChunk] = []
    for start in range(0, len(order), size or max(len(order), 1)):
        places = order[start : start + (size or len(order))]
        ids, mask = pad([pieces[place] for place in places], pad_piece)
        chunks.append(QueryChunk(len(chunks), torch.from_numpy(places), ids, mask))
    return chunks


def takes_bf16(precision: str, device: torch.device) -> bool:
    """Whether to compute in bfloat16: on request, or for 'auto' if the device supports it."""
    if precision != "auto":
        return precision == "bf16"
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    able = torch.cpu.get_capabilities()
    return bool(able.get("avx512_bf16") or able.get("amx_bf16"))
