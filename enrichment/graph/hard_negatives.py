"""PinSage's hard negatives (Ying et al., KDD '18, §3.3): pins near a pin that do not belong to it.

Walks from the pin visit them, but others more often (ranks FIRST to LAST by visits), and no group
that training knows, a board or a query, holds both. In epoch n each pair has n - 1 of them: they
are of little use to a network that does not yet tell the easy ones apart.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp

from omnisearch.encoders.models.ragged import Ragged, offsets_of
from omnisearch.enrichment.graph.cooccurrence import Groups
from omnisearch.enrichment.graph.walks import Neighbours

FIRST, LAST = 16, 64  # ranks by visits, from 0; LAST is exclusive
_BLOCK = 4096  # pins whose candidates are compared at a time


def hard_negatives(visited: Neighbours, groups: Sequence[Groups]) -> Ragged:
    """Row i lists the hard negatives of pin i, most visited first.

    Args:
        visited: the LAST most visited pins of each of n pins.
        groups: of pins that belong together.
    """
    n = len(visited.rows)
    members = sp.hstack(
        [
            sp.csr_matrix((np.ones(len(kind.item)), (kind.item, kind.group)), (n, len(kind)))
            for kind in groups
        ]
    ).tocsr()
    rows, found = [], []
    for start in range(0, n, _BLOCK):
        part = slice(start, start + _BLOCK)
        pin, rank = np.nonzero(visited.weights[part, FIRST:LAST])
        other = visited.rows[part, FIRST:LAST][pin, rank].astype(np.int64)
        pin += start
        shared = np.asarray(members[pin].multiply(members[other]).sum(axis=1)).ravel()
        rows.append(pin[shared == 0])
        found.append(other[shared == 0])
    counts = np.bincount(np.concatenate(rows), minlength=n)
    return Ragged(np.concatenate(found), offsets_of(counts))


def drawn(hard: Ragged, rows: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """(k,) int64: `count` hard negatives of each of `rows`, those that have any; each pin once."""
    some = np.repeat(rows[hard.lengths[rows] > 0], count)
    return np.unique(hard.flat[hard.offsets[some] + rng.integers(hard.lengths[some])])
