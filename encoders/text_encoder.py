"""A pretrained text encoder, and the record of which one made the item vectors `text`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

import numpy as np
import sqlite_utils
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from omnisearch.data.catalogue.schema import get_meta
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.artefacts import Kind, verified
from omnisearch.data.workspace.errors import InputError
from omnisearch.encoders.form import Form, check_pooling, form_of
from omnisearch.encoders.models.pruned import pruned
from omnisearch.encoders.models.query import (
    QueryChunk,
    QueryTokeniser,
    named_backbone,
    pooled,
    query_chunks,
    takes_bf16,
)
from omnisearch.encoders.packaged import check_named, local_folder

FEATURE = "text"
TUNED = Kind("tuned text encoder", 1, again="Run `omnisearch enrich tune`.")
TUNED_PREFIX = "tuned-"  # of the names of such encoders
NOTE = "text_encoder"  # key in the catalogue's meta table for the encoder of these vectors
MAX_TOKENS = 64  # of a text, unless told otherwise
_BATCH = 64


def encoder_folder(workspace: Workspace, backbone: str) -> str:
    """The folder of a packaged encoder, or of one tuned in this workspace; other names as they are.

    Raises Corrupt if its files differ from their manifest, InputError if no encoder can have the
    name.
    """
    if not backbone.startswith(TUNED_PREFIX):
        check_named(backbone)
        return local_folder(backbone)
    folder = workspace.text_encoders / backbone
    verified(folder, TUNED)
    return str(folder)


def text_encoder(db: sqlite_utils.Database) -> tuple[str, Form] | None:
    """The backbone that made the feature 'text' and its form, or None without that feature."""
    note = get_meta(db, NOTE)
    return (note["backbone"], form_in(note)) if note else None


def form_in(note: dict[str, Any]) -> Form:
    """The form that a note of an encoder has."""
    return Form(note["pooling"], note.get("query", ""), note.get("item", ""))


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
        self,
        backbone: str,
        max_tokens: int = MAX_TOKENS,
        form: Form | None = None,
        *,
        pooling: str | None = None,
        local: bool = False,
    ) -> None:
        """Open an encoder.

        Args:
            max_tokens: longer texts are cut, at most the encoder's own limit.
            form: by default what its files tell, with another `pooling` if it is given.
            local: nothing is downloaded.
        """
        check_pooling(pooling)
        folder = local_folder(backbone)
        self.model, tokeniser = named_backbone(folder, local=local)
        self.model.eval()
        self.form = form or form_of(folder, pooling, local=local)
        limit = getattr(self.model.config, "max_position_embeddings", max_tokens)
        self.max_tokens = max_tokens
        self.tokeniser = QueryTokeniser(tokeniser, min(max_tokens, limit))
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model.to(self.device)
        self.bf16 = takes_bf16("auto", self.device)
        self.dim: int = self.model.config.hidden_size  # type: ignore[assignment, union-attr]

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """(n, dim) float32 unit rows of items' texts."""
        return self._encoded(self.pieces(texts, self.form.item))

    def queries(self, texts: Sequence[str]) -> np.ndarray:
        """(n, dim) float32 unit rows of queries, as they are."""
        return self._encoded(self.pieces(texts, self.form.query))

    def pieces(self, texts: Sequence[str], prompt: str) -> list[list[int]]:
        """The word piece ids of texts after a prompt."""
        return self.tokeniser.pieces([f"{prompt}{text}" for text in texts])

    def prune(self, texts: Iterable[str]) -> None:
        """Give up the word pieces that neither these texts nor new words need (`models.pruned`)."""
        needed = chain([self.form.query, self.form.item], texts)
        self.model, tokeniser = pruned(self.model, self.tokeniser.hub_tokeniser, needed)
        self.tokeniser = QueryTokeniser(tokeniser, self.tokeniser.max_tokens)

    @torch.inference_mode()
    def _encoded(self, pieces: list[list[int]]) -> np.ndarray:
        vectors = np.zeros((len(pieces), self.dim), dtype=np.float32)
        for chunk in query_chunks(pieces, self.tokeniser.pad, _BATCH):
            vectors[chunk.places.numpy()] = self.vectors(chunk).cpu().numpy()
        return vectors

    def vectors(self, chunk: QueryChunk) -> Tensor:
        """(n, dim) float32 unit rows of a chunk, with gradients if these are recorded."""
        mask = chunk.mask.to(self.device)
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.bf16):
            ids = chunk.input_ids.to(self.device)
            states = self.model(input_ids=ids, attention_mask=mask).last_hidden_state
        return F.normalize(pooled(states, mask, self.form.pooling).float(), dim=1)
