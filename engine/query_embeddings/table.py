"""An LRU table of vectors in memory by text: millions of look-ups per second.

Rows are in one matrix, so that a batch of texts takes one pass through a dictionary and one gather.
A row is found by its key (the normalised query) and by a few other spellings, so that a text seen
before need not be normalised again.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from itertools import repeat

import numpy as np

from omnisearch.data.text.normalise import MAX_QUERY_CHARS

_SPELLINGS = 4  # kept in addition to a row's key
_EVICTED = 16  # one in this many rows is evicted at a time
_AT_ONCE = 4096  # look-ups per hold of the lock


class VectorTable:
    """At most `capacity` vectors of one checkpoint. Safe for several threads.

    Attributes:
        capacity, dim: shape of the matrix; its pages use memory only once they are written.
    """

    def __init__(self, capacity: int, dim: int) -> None:
        self.capacity, self.dim = capacity, dim
        self._slot: dict[str, int] = {}
        self._names: dict[int, list[str]] = {}  # slot → its key, then its other spellings
        # Absent texts point at the last row, which is never fresh.
        self._rows = np.zeros((capacity + 1, dim), np.float32)
        self._created = np.full(capacity + 1, -np.inf)
        self._used = np.zeros(capacity + 1, np.int64)
        self._free = list(range(capacity - 1, -1, -1))
        self._tick = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return self.capacity - len(self._free)

    def row(self, text: str, oldest: float) -> np.ndarray | None:
        """A copy of one row, float32 (dim,); None if missing or made before `oldest`."""
        with self._lock:
            slot = self._slot.get(text, self.capacity)
            if self._created[slot] < oldest:
                return None
            self._tick += 1
            self._used[slot] = self._tick
            return self._rows[slot].copy()

    def rows(self, texts: Sequence[str], oldest: float) -> tuple[np.ndarray, np.ndarray]:
        """The rows of many texts.

        Returns:
            (n, dim) float32, with arbitrary rows for missing texts; and the positions of the
            missing ones, int64, ascending.
        """
        found = np.empty((len(texts), self.dim), np.float32)
        fresh = np.empty(len(texts), bool)
        for start in range(0, len(texts), _AT_ONCE):
            part = slice(start, min(start + _AT_ONCE, len(texts)))
            some = texts if part.stop - start == len(texts) else texts[part]
            with self._lock:
                asked = map(self._slot.get, some, repeat(self.capacity))
                slots = np.fromiter(asked, np.int64, part.stop - start)
                self._tick += 1
                self._used[slots] = self._tick
                np.greater_equal(self._created[slots], oldest, out=fresh[part])
                np.take(self._rows, slots, axis=0, out=found[part], mode="clip")
        return found, np.flatnonzero(~fresh)

    def put(self, keys: Sequence[str], vectors: np.ndarray, created: np.ndarray) -> None:
        """Add rows; if there are more than the capacity, only the last are kept.

        Args:
            vectors: (n, dim). created: (n,) seconds since 1970.
        """
        last = slice(max(0, len(keys) - self.capacity), None)
        with self._lock:
            self._tick += 1
            places = zip(keys[last], vectors[last], created[last], strict=True)
            for key, vector, at in places:
                slot = self._slot.get(key, -1)
                if slot < 0:
                    slot = self._free.pop() if self._free else self._evict()
                    self._slot[key] = slot
                    self._names[slot] = [key]
                self._rows[slot] = vector
                self._created[slot] = at
                self._used[slot] = self._tick

    def also(self, text: str, key: str) -> None:
        """Add `text` as a spelling of `key`, unless it is very long or there are enough."""
        if len(text) > MAX_QUERY_CHARS or text == key:
            return
        with self._lock:
            slot = self._slot.get(key, -1)
            if slot < 0 or text in self._slot:
                return
            names = self._names[slot]
            if len(names) > _SPELLINGS:
                del self._slot[names.pop(1)]
            names.append(text)
            self._slot[text] = slot

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._slot.clear()
            self._names.clear()
            self._created[:] = -np.inf
            self._free = list(range(self.capacity - 1, -1, -1))

    def ages(self, now: float) -> tuple[float, float] | None:
        """Seconds since the oldest and the newest row were made; None if there are none."""
        with self._lock:
            made = self._created[np.isfinite(self._created)]
        return (now - float(made.min()), now - float(made.max())) if made.size else None

    def _evict(self) -> int:
        """Evict some of the least recently used rows; returns one of them."""
        count = max(1, self.capacity // _EVICTED)
        oldest = np.argpartition(self._used[: self.capacity], count - 1)[:count].tolist()
        for slot in oldest:
            for name in self._names.pop(slot):
                del self._slot[name]
            self._created[slot] = -np.inf
        self._free.extend(oldest)
        return self._free.pop()
