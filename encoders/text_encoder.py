"""A pretrained text encoder, and the record of which one made the item vectors `text`."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import sqlite_utils
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from omnisearch.data.catalogue.schema import get_meta
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.artefacts import Kind, verified
from omnisearch.data.workspace.errors import InputError
from omnisearch.encoders.models.query import (
    QueryChunk,
    QueryTokeniser,
    named_backbone,
    pooled,
    query_chunks,
    takes_bf16,
)

FEATURE = "text"
TUNED = Kind("tuned text encoder", 1, again="Run `omnisearch enrich tune`.")
TUNED_PREFIX = "tuned-"  # of the names of such encoders
NOTE = "text_encoder"  # key in the catalogue's meta table for the encoder of these vectors
_BATCH = 64


def encoder_folder(workspace: Workspace, backbone: str) -> str:
    """The folder of an encoder that was tuned in this workspace; other names as they are.

    Raises Corrupt if its files differ from their manifest.
    """
    if not backbone.startswith(TUNED_PREFIX):
        return backbone
    folder = workspace.text_encoders / backbone
    verified(folder, TUNED)
    return str(folder)


def text_encoder(db: sqlite_utils.Database) -> tuple[str, str] | None:
    """The backbone and pooling that made the feature 'text', or None without that feature."""
    note = get_meta(db, NOTE)
    return (note["backbone"], note["pooling"]) if note else None


def check_encoder(db: sqlite_utils.Database, backbone: str, model: nn.Module) -> None:
    """Raise InputError if the feature 'text' was made by a model other than this backbone."""
    note = get_meta(db, NOTE) or {}
    known = note.get("weights") if note.get("backbone") == backbone else None
    if known is not None and known != weights_digest(model):
        raise InputError(
            "This is not the encoder that embedded the items' text.",
            where=backbone,
            how="Run `omnisearch enrich text` again, or train with --no-warm-start.",
        )


def weights_digest(model: nn.Module) -> str:
    """A fingerprint of a model's weights, to detect another model in the same folder."""
    digest = hashlib.blake2b(digest_size=16)
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.cpu().contiguous().view(torch.uint8).numpy())
    return digest.hexdigest()


class TextTower:
    """A pretrained encoder with pooling and L2 normalisation."""

    def __init__(
        self, backbone: str, pooling: str, max_tokens: int, *, local: bool = False
    ) -> None:
        """With `local`, nothing is downloaded."""
        if pooling not in ("cls", "mean"):
            raise InputError(f"Unknown pooling {pooling!r}.", how="Choose mean or cls.")
        self.model, tokeniser = named_backbone(backbone, local=local)
        self.model.eval()
        limit = getattr(self.model.config, "max_position_embeddings", max_tokens)
        self.tokeniser = QueryTokeniser(tokeniser, min(max_tokens, limit))
        self.pooling, self.max_tokens = pooling, max_tokens
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model.to(self.device)
        self.bf16 = takes_bf16("auto", self.device)
        self.dim: int = self.model.config.hidden_size  # type: ignore[assignment, union-attr]

    @torch.inference_mode()
    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """(n, dim) float32 unit rows."""
        vectors = np.zeros((len(texts), self.dim), dtype=np.float32)
        pieces = self.tokeniser.pieces(texts)
        for chunk in query_chunks(pieces, self.tokeniser.pad, _BATCH):
            vectors[chunk.places.numpy()] = self.vectors(chunk).cpu().numpy()
        return vectors

    def vectors(self, chunk: QueryChunk) -> Tensor:
        """(n, dim) float32 unit rows of a chunk, with gradients if these are recorded."""
        mask = chunk.mask.to(self.device)
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.bf16):
            ids = chunk.input_ids.to(self.device)
            states = self.model(input_ids=ids, attention_mask=mask).last_hidden_state
        return F.normalize(pooled(states, mask, self.pooling).float(), dim=1)
