"""Vectors in memory by text, least recently used ones first to go: millions of look-ups a second.

Rows lie in one matrix, so that a batch of texts is one pass through a dictionary and one gather.
A row has its key (the normalised query) and a few other spellings as names: a text that was seen
before is found without being normalised again.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from itertools import repeat

import numpy as np

from omnisearch.data.text.normalise import MAX_QUERY_CHARS

_SPELLINGS = 4  # kept beside a row's key
_EVICTED = 16  # one in so many rows goes at a time
_AT_ONCE = 4096  # look-ups under one hold of the lock


class VectorTable:
    """At most `capacity` vectors of one checkpoint. Safe for several threads.

    Attributes:
        capacity, dim: shape of the matrix; its pages take memory only once they are used.
    """

    def __init__(self, capacity: int, dim: int) -> None:
        self.capacity, self.dim = capacity, dim
        self._slot: dict[str, int] = {}
        self._names: dict[int, list[str]] = {}  # slot → its key, then its other spellings
        # The last row is what absent texts point at: never fresh.
        self._rows = np.zeros((capacity + 1, dim), np.float32)
        self._created = np.full(capacity + 1, -np.inf)
        self._used = np.zeros(capacity + 1, np.int64)
        self._free = list(range(capacity - 1, -1, -1))
        self._tick = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return self.capacity - len(self._free)

    def row(self, text: str, oldest: float) -> np.ndarray | None:
        """A copy of one row, float32 (dim,); None if there is none made since `oldest`."""
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
            (n, dim) float32, of which the rows of missing texts mean nothing; and the places of
            the missing ones, int64, rising.
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
        """Take rows in; of more than the capacity only the last stay.

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
        """Let `text` find the row of `key`, as one of a few spellings; very long ones are not."""
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
        """Seconds since the oldest and the newest row were made; None if there is none."""
        with self._lock:
            made = self._created[np.isfinite(self._created)]
        return (now - float(made.min()), now - float(made.max())) if made.size else None

    def _evict(self) -> int:
        """Free some of the rows that were not used for longest; returns one of them."""
        count = max(1, self.capacity // _EVICTED)
        oldest = np.argpartition(self._used[: self.capacity], count - 1)[:count].tolist()
        for slot in oldest:
            for name in self._names.pop(slot):
                del self._slot[name]
            self._created[slot] = -np.inf
        self._free.extend(oldest)
        return self._free.pop()
