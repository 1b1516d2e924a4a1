"""The interface of shared stores of query embeddings, and checks that all stores use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

DAY = 86_400.0

Stored = dict[str, tuple[np.ndarray, float]]  # query → float32 (d,), made at


@dataclass(frozen=True)
class Contents:
    """Statistics of a store; `oldest` and `newest` are seconds since 1970, None if empty."""

    entries: int = 0
    oldest: float | None = None
    newest: float | None = None
    size: int = 0
    hits: int = 0
    misses: int = 0


class Store(Protocol):
    """Vectors by checkpoint and normalised query, shared by processes.

    An unusable store never raises: look-ups then miss, stored vectors are lost, and it is logged
    once as a warning. Safe for several threads.
    """

    where: str  # for messages; never contains a password

    def get(self, checkpoint: str, queries: Sequence[str], oldest: float) -> Stored:
        """Those of the queries that were stored since `oldest`."""
        ...

    def put(self, checkpoint: str, queries: Sequence[str], vectors: np.ndarray, now: float) -> None:
        """Store vectors, (n, d) float32; above its limit the store drops the oldest."""
        ...

    def count(self, counted: Mapping[str, int]) -> None:
        """Add to the counters 'hits' and 'misses' of all processes."""
        ...

    def contents(self) -> Contents: ...

    def clear(self) -> int:
        """Drop all entries and counters; returns how many entries there were."""
        ...

    def close(self) -> None: ...


def packed(vector: np.ndarray) -> bytes:
    """A vector as it is stored: float32, little endian."""
    return np.ascontiguousarray(vector, dtype="<f4").tobytes()


def unpacked(blob: object) -> np.ndarray | None:
    """The unit vector in `packed`; None if it is damaged, so that it is encoded again."""
    if not isinstance(blob, bytes) or not blob or len(blob) % 4:
        return None
    vector = np.frombuffer(blob, dtype="<f4").astype(np.float32)
    return vector if abs(float(vector @ vector) - 1.0) < 1e-2 else None
