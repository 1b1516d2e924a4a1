"""The public interface of the trained encoders: texts and items in, numpy vectors out."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from omnisearch.data.catalogue.items import field_texts
from omnisearch.data.workspace.errors import InputError
from omnisearch.data.workspace.files import link
from omnisearch.encoders.config import Config
from omnisearch.encoders.models.hash_embedding import Levels
from omnisearch.encoders.models.model import OmniModel
from omnisearch.encoders.models.ngrams import NgramIndex
from omnisearch.encoders.models.query import QueryTokeniser, query_chunks

_ITEMS_AT_ONCE = 1024


class Encoder:
    """A checkpoint for inference. `queries` and `compat` may be called from several threads.

    Attributes:
        checkpoint: 16 hex digits of the hash of weights and configuration; a key for caches.
        name: its folder in `checkpoints/`.
        folder: its files.
        dim: size of the vectors.
        feature_dims: continuous features of items that the encoder reads, sorted by name.
        compat_spaces: trained compatibility space → entity type, such as {'pinsage': 'pin'}.
        feature_models: '<entity>/<feature>' → the model that made the vectors it was trained with.
    """

    def __init__(
        self,
        model: OmniModel,
        config: Config,
        index: NgramIndex,
        tokeniser: QueryTokeniser,
        checkpoint: str,
        compat_spaces: Mapping[str, str],
        feature_models: Mapping[str, str],
        device: torch.device | None = None,
        name: str = "default",
        folder: Path | None = None,
    ) -> None:
        self.device = device or torch.device("cpu")
        self.model = model.to(self.device)
        self.config = config
        self.index = index
        self.tokeniser = tokeniser
        self.checkpoint = checkpoint
        self.name = name
        self.folder = folder
        self.dim = config.dim
        self.feature_dims = dict(model.item.feature_dims)
        self.compat_spaces = dict(compat_spaces)
        self.feature_models = dict(feature_models)
        self._items_lock = threading.Lock()

    def copy_to(self, target: Path) -> None:
        """Hard-link the files needed for inference into the new folder `target`.

        Checkpoint files never change, so links are safe.
        """
        assert self.folder is not None
        for path in sorted(self.folder.rglob("*")):
            place = path.relative_to(self.folder)
            if path.is_file() and place.parts[0] != "training":
                link(path, target / place)

    def words(self) -> list[str]:
        """Words that are single tokens of the query tower (`QueryTokeniser.words`)."""
        return self.tokeniser.words()

    @torch.inference_mode()
    def queries(self, texts: Sequence[str], batch_size: int = 256) -> np.ndarray:
        """(n, dim) float32 unit rows."""
        self.model.eval()
        vectors = np.zeros((len(texts), self.dim), dtype=np.float32)
        pieces = self.tokeniser(texts)
        for chunk in query_chunks(pieces, self.tokeniser.pad, batch_size):
            found = self.model.query(chunk.input_ids.to(self.device), chunk.mask.to(self.device))
            vectors[chunk.places.numpy()] = found.cpu().numpy()
        return vectors

    @torch.inference_mode()
    def items(
        self, items: Sequence[dict[str, Any]], features: Mapping[str, np.ndarray]
    ) -> np.ndarray:
        """(n, dim) float32 unit rows.

        Args:
            items: as read by `omnisearch.data.catalogue.items.read_items`.
            features: name → (n, d) float32, zeros where an item has none; unknown features are
                ignored, missing ones are zeros.

        Raises:
            InputError: a feature's shape differs from training, or the checkpoint has no item
                encoder (`searchsage_config`).
        """
        if not self.config.weight_learned:
            raise InputError(
                "This checkpoint has no item encoder: it is a baseline for comparison.",
                where=f"checkpoint {self.name}",
                how="Train with weight_learned above 0 to index and search.",
            )
        self.model.eval()
        vectors = np.zeros((len(items), self.dim), dtype=np.float32)
        matrix = self._features(len(items), features)
        with self._items_lock:  # the n-gram index caches strings
            for start in range(0, len(items), _ITEMS_AT_ONCE):
                part = slice(start, start + _ITEMS_AT_ONCE)
                bags = self.index.bags_of([field_texts(item) for item in items[part]])
                levels = Levels(bags, backward=False).to(self.device)
                continuous = torch.from_numpy(matrix[part]).to(self.device)
                vectors[part] = self.model.item(levels, continuous).cpu().numpy()
        return vectors

    @torch.inference_mode()
    def compat(self, space: str, vectors: np.ndarray) -> np.ndarray:
        """(n, dim) float32 unit rows of pre-existing vectors (n, d) in the query's space.

        Raises:
            InputError: the encoder was not trained for that space, or the dimension differs.
        """
        if space not in self.model.compat:
            raise InputError(
                f"The checkpoint was not trained for {space!r}.",
                where=f"checkpoint {self.checkpoint}",
                how="Import that feature, then train again.",
            )
        expected = self.model.compat[space].dim_in
        if vectors.ndim != 2 or vectors.shape[1] != expected:
            raise InputError(
                f"The vectors {space!r} have {vectors.shape[-1]} dimensions, but the checkpoint "
                f"was trained with {expected}.",
                where=f"checkpoint {self.checkpoint}",
                how="Run `omnisearch train` again, or import the vectors it was trained with.",
            )
        given = torch.from_numpy(np.array(vectors, dtype=np.float32)).to(self.device)
        return self.model.compat[space](given).cpu().numpy()

    def _features(self, count: int, features: Mapping[str, np.ndarray]) -> np.ndarray:
        matrix = np.zeros((count, sum(self.feature_dims.values())), dtype=np.float32)
        at = 0
        for name, dim in self.feature_dims.items():
            given = features.get(name)
            if given is not None:
                if given.shape != (count, dim):
                    raise InputError(
                        f"The feature {name!r} must have shape ({count}, {dim}), not "
                        f"{given.shape}.",
                        how="Import the vectors that the checkpoint was trained with, or train "
                        "again.",
                    )
                matrix[:, at : at + dim] = given
            at += dim
        return matrix
