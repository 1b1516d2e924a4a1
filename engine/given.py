"""What a service brings along to a search: its view, the vector, and how long there is."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from omnisearch.engine.candidates import Found
from omnisearch.engine.sources import Source


@dataclass
class Given:
    """A search's view, embedding and deadline, and what was left out to keep it.

    Another thread may read `found` while the search fills it: where a source hangs, `rescue`
    makes an answer of what the others returned.

    Attributes:
        live: `omnisearch.engine.snapshot.Live` to answer from.
        vector: float32 (d,), the embedding of the query as `live` searches it, by the encoder of
            `live`; None where the model was late: sources that search by vector are then left out.
        cached: whether the embedding was cached.
        until: `time.monotonic()` after which no other source or stage begins; None for no end.
        found: what each source returned so far, by its name.
        left_out: names of the sources and stages that the answer does without.
        retrieved: whether all sources are done: what is left is quick.
        rescuing: no source is asked any more.
    """

    live: Any
    vector: np.ndarray | None = None
    cached: bool | None = None
    until: float | None = None
    found: dict[str, Found] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    retrieved: bool = False
    rescuing: bool = False

    def late(self) -> bool:
        """Whether the time is over."""
        return self.until is not None and time.monotonic() > self.until

    def skips(self, source: Source) -> bool:
        """Whether a source must not be asked; remembers that it was left out."""
        blind = self.vector is None and source.kind != "token"
        if blind or self.rescuing or self.late():
            self.left_out.append(source.name)
            return True
        return False

    def rescue(self) -> Given:
        """The same search with what its sources have returned by now, asking no other."""
        return Given(self.live, self.vector, self.cached, found=dict(self.found), rescuing=True)
