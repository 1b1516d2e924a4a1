"""A generation held in memory, at the interface of `indexer.generation`, with exact search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from omnisearch.data.text.normalise import words

DIM = 64


def unit_words(texts: Sequence[str], salt: str = "") -> np.ndarray:
    """Unit vectors of texts: the sum of one fixed random vector a word."""
    rows = np.zeros((len(texts), DIM), np.float32)
    for at, text in enumerate(texts):
        for word in words(text) or [text]:
            seed = int.from_bytes((salt + word).encode("utf-8", "replace")[:8], "little") % 2**63
            rows[at] += np.random.default_rng(seed).normal(size=DIM)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)


class FakeEncoder:
    """Queries as sums of word vectors."""

    dim = DIM

    def __init__(self, checkpoint: str = "fake") -> None:
        self.checkpoint = checkpoint
        self.encoded = 0

    def queries(self, texts: Sequence[str], batch_size: int = 256) -> np.ndarray:
        self.encoded += len(texts)
        return unit_words(texts)


@dataclass
class FakeSpace:
    """Exact search."""

    vectors: np.ndarray
    asked: list[tuple[int, int]] = field(default_factory=list)

    @property
    def present(self) -> np.ndarray:
        return self.vectors.any(axis=1)

    def take(self, rows: np.ndarray) -> np.ndarray:
        return self.vectors[rows]

    def cosines(self, rows: np.ndarray, query: np.ndarray) -> np.ndarray:
        found: np.ndarray = self.take(rows) @ query
        return found

    def search(
        self, query: np.ndarray, k: int, ef: int, allowed: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        self.asked.append((k, ef))
        scores = self.vectors @ query
        usable = self.present
        if allowed is not None:
            usable = usable & allowed
        rows = np.flatnonzero(usable)
        rows = rows[np.argsort(-scores[rows], kind="stable")][:k]
        return rows, scores[rows].astype(np.float32)


@dataclass
class FakeGeneration:
    """What the engine reads of `indexer.generation.Generation`; all but the spaces is real."""

    tables: dict[str, Any]
    tokens: dict[str, Any]
    texts: dict[str, Any]
    spaces: dict[tuple[str, str], FakeSpace]
    spelling: Any
    number: int = 1
    checkpoint: str = "fake"
    checkpoint_name: str = "default"
    manifest: dict[str, Any] = field(default_factory=dict)
    floor: float | None = None
    related_floor: float | None = None
    word_weight: float | None = None
    collections: Any = None  # it is in no cluster

    @property
    def segments(self) -> tuple[Any, ...]:
        return (self,)

    @property
    def contents(self) -> FakeGeneration:
        return self

    @property
    def layouts(self) -> dict[str, None]:
        return dict.fromkeys(self.tables)

    def having(self, entity: str) -> list[Any]:
        return [self] if entity in self.texts else []
