"""Groups of nearly equal vectors: the graph holds one of each, and a search brings the others.

Equal vectors fill each other's links, so that a group of hundreds cuts an HNSW graph: what lies
beyond it is not found.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from omnisearch.data.workspace.reading import check_array

# Members are within this distance of their leader: for unit vectors, a cosine of 0.99999.
NEAR = 0.0045
# At most so many rows are scored for a query, and of one group, or k of them if k is more.
SCORED = 4_000

_PROJECTIONS = 8
_CELLS = 20  # the first cells are so many times wider than two near vectors differ
_ROUNDS = 16
_BLOCK = 4096


@dataclass(frozen=True)
class Groups:
    """Which rows a leader stands for, beside its own.

    Attributes:
        members: int64 (m,), rows that are not in the graph, by leader and then by row.
        leaders: int64 (g,), ascending, the leaders that have members.
        starts: int64 (g + 1,), the members of leaders[i] are members[starts[i] : starts[i + 1]].
    """

    members: np.ndarray
    leaders: np.ndarray
    starts: np.ndarray

    @classmethod
    def of(cls, pairs: np.ndarray) -> Groups:
        """Of int64 (m, 2): each member and its leader, in any order."""
        members, of = pairs[np.lexsort(pairs.T)].T
        leaders, starts = np.unique(of, return_index=True)
        return cls(members.copy(), leaders, np.append(starts, len(members)))

    def pairs(self) -> np.ndarray:
        """int64 (m, 2): each member and its leader, by leader and then by row."""
        return np.stack((self.members, np.repeat(self.leaders, np.diff(self.starts))), axis=1)

    def leaders_of(self, present: np.ndarray) -> np.ndarray:
        """bool (n,): the present rows without the members, which are those in the graph."""
        leads = present.copy()
        leads[self.members] = False
        return leads

    def among(self, allowed: np.ndarray) -> tuple[Groups, np.ndarray]:
        """The groups with only the allowed members, and bool (n,): what the graph may return.

        These are the leaders that are allowed or have an allowed member, and no members.
        """
        kept = allowed[self.members]
        groups = Groups(
            self.members[kept], self.leaders, np.append(0, np.cumsum(kept))[self.starts]
        )
        accept = self.leaders_of(allowed)
        accept[self.leaders] |= np.diff(groups.starts) > 0
        return groups, accept

    def expand(
        self, nodes: np.ndarray, cosines: np.ndarray, k: int, allowed: np.ndarray | None
    ) -> np.ndarray:
        """The rows int64 of nodes of the graph (m,), nearest first, that can be among the k nearest
        of a query, whose cosines with the nodes are float32 (m,)."""
        at = np.minimum(np.searchsorted(self.leaders, nodes), len(self.leaders) - 1)
        starts, most = self.starts[at], max(k, SCORED)
        counts = np.where(
            self.leaders[at] == nodes, np.minimum(self.starts[at + 1] - starts, most), 0
        )
        own = np.ones(len(nodes), bool) if allowed is None else allowed[nodes]
        through = np.cumsum(counts + own)
        # A member's cosine differs from its leader's by NEAR at most.
        least = cosines[np.searchsorted(through, k)] - 2 * NEAR
        stop = min(int(np.searchsorted(-cosines, -least)), int(np.searchsorted(through, most)) + 1)
        starts, counts = starts[:stop], counts[:stop]
        ends = np.cumsum(counts)
        places = np.arange(ends[-1]) + np.repeat(starts - (ends - counts), counts)
        return np.concatenate((nodes[:stop][own[:stop]], self.members[places]))


NONE = Groups.of(np.zeros((0, 2), dtype=np.int64))


def find_pairs(vectors: np.ndarray, rows: np.ndarray, leading: np.ndarray) -> np.ndarray:
    """Find the rows that are near another one.

    Each round sorts the rows into cells by random projections, and in each cell those that are near
    its first row join it. Cells get smaller, so that groups that lie close to each other are told
    apart; equal vectors share every cell. A few near vectors may stay alone, each on a side of its
    own of a cell's wall.

    Args:
        vectors: float32 (n, d).
        rows: int64, to be grouped; leading: int64, other rows, which are leaders already.

    Returns:
        int64 (m, 2): each of `rows` that has a leader, and its leader, a row of either.
    """
    random = np.random.default_rng(0)
    width = _CELLS * NEAR
    every, leads = (
        np.concatenate((leading, rows)),
        np.arange(len(leading) + len(rows)) < len(leading),
    )
    found = [np.zeros((0, 2), dtype=np.int64)]
    for _ in range(_ROUNDS):
        keys = _cells(vectors, every, width, random)
        _, first, cell, many = np.unique(
            keys, return_index=True, return_inverse=True, return_counts=True
        )
        shared = many[cell] > 1
        joins = np.flatnonzero(shared & ~leads)
        heads = first[cell[joins]]
        near = (heads != joins) & are_near(vectors, every[joins], every[heads])
        joins, heads = joins[near], heads[near]
        found.append(np.stack((every[joins], every[heads]), axis=1))
        leads[heads] = True
        shared[joins] = False
        order = np.flatnonzero(shared)
        order = order[np.argsort(~leads[order], kind="stable")]  # leaders are first in their cells
        every, leads, width = every[order], leads[order], width / 2
        if leads.all():
            break
    return np.concatenate(found)


def _cells(
    vectors: np.ndarray, rows: np.ndarray, width: float, random: np.random.Generator
) -> np.ndarray:
    """int64 (m,): the key of each row's cell in a random grid of this width."""
    dim = vectors.shape[1]
    # Projections of two vectors on a normal axis differ by about their distance.
    axes = random.standard_normal((dim, _PROJECTIONS)).astype(np.float32) / width
    offsets = random.random(_PROJECTIONS)
    mix = random.integers(-(2**63), 2**63 - 1, _PROJECTIONS)
    keys = np.empty(len(rows), dtype=np.int64)
    for start in range(0, len(rows), _BLOCK):
        part = slice(start, start + _BLOCK)
        cells = np.floor(vectors[rows[part]] @ axes + offsets).astype(np.int64)
        keys[part] = cells @ mix
    return keys


def are_near(vectors: np.ndarray, rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    """bool (m,): whether the vectors of rows and others (m,) are within NEAR."""
    near = np.empty(len(rows), dtype=bool)
    for start in range(0, len(rows), _BLOCK):
        part = slice(start, start + _BLOCK)
        apart = vectors[rows[part]] - vectors[others[part]]
        near[part] = np.einsum("nd,nd->n", apart, apart) <= NEAR**2
    return near


def check_pairs(pairs: np.ndarray, vectors: np.ndarray, present: np.ndarray) -> None:
    """Raise ValueError unless int64 (m, 2) are members and leaders of present rows, in order."""
    check_array("the groups", pairs, np.int64, (None, 2))
    members, leaders = pairs.T
    if len(pairs) and not (pairs.min() >= 0 and pairs.max() < len(present)):
        raise ValueError("a row of a group is out of bounds")
    if not present[pairs].all():
        raise ValueError("a row of a group has no vector")
    if len(np.unique(members)) != len(members) or np.isin(leaders, members).any():
        raise ValueError("a row is in two groups")
    if not np.array_equal(np.lexsort(pairs.T), np.arange(len(pairs))):
        raise ValueError("the groups are not in order")
    if not are_near(vectors, members, leaders).all():
        raise ValueError("a vector is far from its group's")
