"""The item and compatibility encoders of a checkpoint in numpy, for a few changed items.

PyTorch takes more than a second to import, far longer than it takes to encode some items. The
results are those of `encoders.encoder.Encoder` up to rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import safe_open

from omnisearch.data.catalogue.items import field_texts
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.reading import reading
from omnisearch.encoders.checkpoint_folder import (
    CHECKPOINT,
    best_folder,
    identity,
    read_description,
    verify,
)
from omnisearch.encoders.config import config_from_json
from omnisearch.encoders.models.ngrams import NgramIndex, NgramVocabulary
from omnisearch.encoders.models.ragged import Ragged
from omnisearch.encoders.onnx.query_tower import open_export

if TYPE_CHECKING:
    from omnisearch.encoders.encoder import Encoder

_PRIME = np.int64(2**31 - 1)
_EPSILON = 1e-5  # of PyTorch's LayerNorm
_ITEMS_AT_ONCE = 1024


class LightEncoder:
    """The attributes and methods of `Encoder` that the index needs.

    Queries are encoded by the checkpoint's export if there is one. What is missing here is done by
    the whole encoder, which is opened when it is first needed.
    """

    def __init__(self, folder: Path, name: str, queries: Callable[[str], Any]) -> None:
        """`queries` opens the query tower's export of a checkpoint, if there is one."""
        self.folder, self.name = folder, name
        self.checkpoint = identity(verify(folder))
        with reading("The checkpoint", folder, CHECKPOINT.mend):
            description = read_description(folder)
            self.config = config_from_json(description["config"])
            self.dim: int = self.config.dim
            self.feature_dims: dict[str, int] = dict(sorted(description["feature_dims"].items()))
            self.compat_spaces: dict[str, str] = description["compat_spaces"]
            self.feature_models: dict[str, str] = description["feature_models"]
            self._compat_dims: dict[str, int] = description["compat_dims"]
        self._open_export = queries
        self._index: NgramIndex | None = None
        self._tensors: dict[str, np.ndarray] = {}
        self._whole: Encoder | None = None

    @property
    def whole(self) -> Encoder:
        """The encoder in PyTorch."""
        if self._whole is None:
            from omnisearch.encoders.checkpoint import open_encoder

            self._whole = open_encoder(self.folder, self.name)
        return self._whole

    def copy_to(self, target: Path) -> None:
        """See `Encoder.copy_to`."""
        self.whole.copy_to(target)

    def words(self) -> list[str]:
        """See `Encoder.words`."""
        return self.whole.words()

    def queries(self, texts: list[str]) -> np.ndarray:
        """(n, dim) float32 unit rows."""
        tower = self._open_export(self.checkpoint) if self._whole is None else None
        return (tower or self.whole).queries(texts)

    def items(
        self, items: Sequence[dict[str, Any]], features: Mapping[str, np.ndarray]
    ) -> np.ndarray:
        """See `Encoder.items`."""
        wrong = any(
            rows.shape != (len(items), self.feature_dims[name])
            for name, rows in features.items()
            if name in self.feature_dims
        )
        if wrong or not self.config.weight_learned or len(items) > _ITEMS_AT_ONCE:
            return self.whole.items(items, features)  # which says what is wrong
        if self._index is None:
            self._index = NgramIndex(NgramVocabulary.read(self.folder / "ngrams"))
        with reading("The checkpoint", self.folder, CHECKPOINT.mend):
            text = self._text([field_texts(item) for item in items])
            given = [
                features.get(name, np.zeros((len(items), dim), np.float32))
                for name, dim in self.feature_dims.items()
            ]
            scaled = np.concatenate([np.zeros((len(items), 0), np.float32), *given], axis=1)
            scaled = scaled * self._tensor("item.feature_scale")
            hidden = np.concatenate((_normed(text, self, "item.text_norm"), scaled), axis=1)
            for layer in (0, 3):
                hidden = np.maximum(_linear(hidden, self, f"item.mlp.{layer}"), 0)
                hidden = _normed(hidden, self, f"item.mlp.{layer + 2}")
            mixed = _linear(hidden, self, "item.mlp.6")
            if "item.mlp.6.rotation" in self._names:
                mixed = mixed @ self._tensor("item.mlp.6.rotation").T
            return _unit(mixed)

    def compat(self, space: str, vectors: np.ndarray) -> np.ndarray:
        """See `Encoder.compat`."""
        if space not in self._compat_dims or vectors.shape[1:] != (self._compat_dims[space],):
            return self.whole.compat(space, vectors)  # which says what is wrong
        with reading("The checkpoint", self.folder, CHECKPOINT.mend):
            name = f"compat.{space}.projection.weight"
            found = np.asarray(vectors, np.float32)
            return _unit(found @ self._tensor(name).T if name in self._names else found)

    def _text(self, texts: list[list[str]]) -> np.ndarray:
        """(n, table_dim) sums of the hash embeddings of all n-grams of each item."""
        assert self._index is not None
        bags = self._index.bags_of(texts)
        table, a, b = (self._tensor(f"item.hash.{name}") for name in ("table", "a", "b"))
        hashes = (bags.tokens[:, None] * a + b) % _PRIME % len(table)
        used = self._tensor("item.hash.weights")[bags.tokens]
        rows = np.einsum("thd,th->td", table[hashes], used)
        for level in reversed(bags.levels):
            rows = _sums(rows, level)
        return rows

    @property
    def _names(self) -> set[str]:
        with safe_open(self.folder / "model.safetensors", "numpy") as stored:
            return set(stored.keys())

    def _tensor(self, name: str) -> np.ndarray:
        if name not in self._tensors:
            with safe_open(self.folder / "model.safetensors", "numpy") as stored:
                self._tensors[name] = stored.get_tensor(name)
        return self._tensors[name]


def light_encoder(workspace: Workspace, name: str = "default") -> LightEncoder:
    """The best encoder of the last finished training of this name; raises as `load_encoder`."""
    return LightEncoder(
        best_folder(workspace, name), name, lambda checkpoint: open_export(workspace, checkpoint)
    )


def _sums(rows: np.ndarray, level: Ragged) -> np.ndarray:
    """Row i is the sum of the rows that the level lists in its row i."""
    found = np.zeros((len(level), rows.shape[1]), np.float32)
    np.add.at(found, level.row_of, rows[level.flat])
    return found


def _linear(x: np.ndarray, encoder: LightEncoder, layer: str) -> np.ndarray:
    return x @ encoder._tensor(f"{layer}.weight").T + encoder._tensor(f"{layer}.bias")


def _normed(x: np.ndarray, encoder: LightEncoder, layer: str) -> np.ndarray:
    centred = x - x.mean(axis=1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + _EPSILON)
    return scaled * encoder._tensor(f"{layer}.weight") + encoder._tensor(f"{layer}.bias")


def _unit(x: np.ndarray) -> np.ndarray:
    """PyTorch's `normalize`."""
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
