"""A cross-encoder: reads a query and an item's text together, and grades the item for the query.

It is far slower than two towers, and better, since each word of the one sees each of the other. It
teaches the models that serve (`encoders.training.teach`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import AutoModelForSequenceClassification
from transformers.utils import logging

from omnisearch.data.catalogue.soft_labels import TEACHER
from omnisearch.data.text.normalise import encodable, normalise_query
from omnisearch.data.workspace.artefacts import verified, write_manifest
from omnisearch.encoders.models.pruned import pruned
from omnisearch.encoders.models.query import named_backbone, takes_bf16, write_backbone
from omnisearch.encoders.packaged import check_named, local_folder

MAX_TOKENS = 96  # of a query and an item together; the item's text is cut
_BATCH = 64

Pair = tuple[str, str]  # query, text of an item


class CrossEncoder:
    """A transformer with one output for each pair.

    Attributes:
        model: any `AutoModelForSequenceClassification` with one label.
    """

    def __init__(self, backbone: str, *, local: bool = False) -> None:
        """Begin with an encoder, whose output layer is then random, or with a cross-encoder.

        Args:
            backbone: folder or hub name, 'minilm' or 'e5' (`encoders.packaged`).
            local: nothing is downloaded.

        Raises:
            InputError: the model does not exist. MissingExtra: its package is not installed.
        """
        check_named(backbone)
        torch.manual_seed(0)
        level = logging.get_verbosity()
        logging.set_verbosity_error()  # it would report that the output layer is new
        self.model, self.tokeniser = named_backbone(
            local_folder(backbone),
            local=local,
            kind=AutoModelForSequenceClassification,
            num_labels=1,
        )
        logging.set_verbosity(level)
        self.model.eval()
        limit = getattr(self.model.config, "max_position_embeddings", MAX_TOKENS)
        self.max_tokens = min(MAX_TOKENS, limit)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model.to(self.device)
        self.bf16 = takes_bf16("auto", self.device)

    def prune(self, texts: Iterable[str]) -> None:
        """Give up the word pieces that neither these texts nor new words need (`models.pruned`)."""
        self.model, self.tokeniser = pruned(self.model, self.tokeniser, texts)

    @torch.inference_mode()
    def grades(self, pairs: Sequence[Pair]) -> np.ndarray:
        """(n,) float32 from 0, irrelevant, to 1, the best grade."""
        found = np.zeros(len(pairs), np.float32)
        # Texts of similar length are read together, to reduce padding.
        order = np.argsort([len(query) + len(text) for query, text in pairs], kind="stable")
        for start in range(0, len(pairs), _BATCH):
            rows = order[start : start + _BATCH]
            logits = self.logits([pairs[row] for row in rows.tolist()])
            found[rows] = torch.sigmoid(logits).cpu().numpy()
        return found

    def logits(self, pairs: Sequence[Pair]) -> Tensor:
        """(n,) float32, with gradients if these are recorded."""
        queries, texts = zip(*pairs, strict=True)
        inputs = self.tokeniser(
            [encodable(normalise_query(query)) for query in queries],
            [encodable(text) for text in texts],
            truncation="longest_first",
            max_length=self.max_tokens,
            padding=True,
            return_tensors="pt",
        ).to(self.device)
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.bf16):
            return self.model(**inputs).logits[:, 0].float()

    def save(self, folder: Path, facts: dict[str, Any]) -> None:
        """Write the model, its tokeniser and a manifest with `facts` into an empty folder."""
        self.model.save_pretrained(folder)  # type: ignore[union-attr, operator]
        write_backbone(folder, self.model, self.tokeniser)
        write_manifest(folder, TEACHER, facts)


def open_teacher(folder: Path) -> CrossEncoder:
    """A saved cross-encoder; raises Corrupt if its files differ from their manifest."""
    verified(folder, TEACHER)
    return CrossEncoder(str(folder), local=True)
