"""Whether a cluster has a build as it is here: before it goes live, and whenever someone asks."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from omnisearch.data.catalogue.spaces import LEARNED
from omnisearch.indexer.cluster.config import ClusterConfig
from omnisearch.indexer.cluster.names import WORDS
from omnisearch.indexer.cluster.nodes import Nodes, plainly
from omnisearch.indexer.cluster.stamps import problem_of
from omnisearch.indexer.loading.copies import copies_of, wanted_copies
from omnisearch.indexer.loading.load import collections_of, stamp_of
from omnisearch.indexer.loading.points import EntityPoints, sparse_of
from omnisearch.indexer.parts.recall import item_recall_of, recall_of
from omnisearch.indexer.parts.vectors import SegmentSpace
from omnisearch.indexer.segment import Segment

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

# Below this share, of results or of items, something is wrong with a graph.
LEAST_RECALL = 0.8
_SAMPLE = 200  # points that are compared
_ASKED = 10  # searches whose results are compared between nodes
_K = 10


@dataclass
class Checked:
    """What was found.

    Attributes:
        problems: a sentence for each.
        recall: collection → space → the measured recall of queries and of items, as in the
            manifest of a build.
    """

    problems: list[str] = field(default_factory=list)
    recall: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)


class _Searched:
    """A space that is searched in the cluster."""

    def __init__(self, nodes: Nodes, collection: str, name: str, space: SegmentSpace) -> None:
        self._nodes, self._collection, self._name = nodes, collection, name
        self.vectors, self.present, self.count = space.vectors, space.present, space.count

    def search(self, query: np.ndarray, k: int, ef: int) -> tuple[np.ndarray, np.ndarray]:
        """See `Space.search`; cosines are those of the vectors here."""
        from qdrant_client import models

        found = self._nodes.ask(
            lambda client: client.query_points(
                self._collection,
                query=query.tolist(),
                using=self._name,
                limit=k,
                search_params=models.SearchParams(hnsw_ef=max(k, ef)),
                with_payload=False,
            )
        ).points
        rows = np.array([int(each.id) for each in found], np.int64)
        rows = rows[rows < len(self.vectors)]
        scores = self.vectors[rows] @ query
        order = np.lexsort((rows, -scores))
        return rows[order], scores[order]


def missing(nodes: Nodes, config: ClusterConfig, segment: Segment) -> list[str]:
    """The collections of a build that are not there, or not of this build, as sentences."""
    stamp = stamp_of(segment)
    with plainly():
        found = [problem_of(nodes, name, stamp) for name in collections_of(config, segment)]
    return [problem for problem in found if problem is not None]


def verify(nodes: Nodes, config: ClusterConfig, segment: Segment) -> Checked:
    """Compare the collections of a build with its files, and measure how well they are searched.

    Counts are exact, and on each node. Of a sample, payloads and vectors are compared; searches are
    compared with exact ones over the files, and between the nodes.

    Raises:
        Unreachable: no node answers. Refused: a node cannot do what it is asked.
    """
    checked = Checked(missing(nodes, config, segment))
    if checked.problems:
        return checked
    queries = segment.spaces.get(("query", LEARNED))
    with plainly():
        for name, points in collections_of(config, segment).items():
            checked.problems += _counts(nodes, name, len(points))
            checked.problems += _copies(nodes, config, name)
            checked.problems += _differences(nodes, name, points)
            checked.problems += _disagreements(nodes, name, points)
            if checked.problems:
                continue
            recall = checked.recall[name] = {}
            ef = segment.manifest["options"]["recall_ef"]
            for space, held in points.spaces.items():
                searched: Any = _Searched(nodes, name, space, held)
                asked = queries.vectors[queries.present] if queries else held.vectors[:0]
                recall[space] = {
                    "recall": recall_of(searched, asked, ef),
                    "item_recall": item_recall_of(searched, points.table.ids, ef),
                }
                checked.problems += _low(name, space, recall[space])
    return checked


def _counts(nodes: Nodes, name: str, wanted: int) -> Iterator[str]:
    for url, client in zip(nodes.config.nodes, nodes.clients, strict=True):
        there = client.count(name, exact=True).count
        if there != wanted:
            yield f"The collection {name} has {there} points and not {wanted}, as {url} says."


def _copies(nodes: Nodes, config: ClusterConfig, name: str) -> Iterator[str]:
    client = nodes.clients[0]
    wanted = wanted_copies(client, config)
    for shard, having in sorted(copies_of(client, name).items()):
        if len(having) < wanted:
            yield (
                f"Shard {shard} of the collection {name} has {len(having)} of {wanted} copies that "
                "answer."
            )


def _sample(n: int, size: int) -> np.ndarray:
    return np.sort(np.random.default_rng(0).permutation(n)[:size])


def _differences(nodes: Nodes, name: str, points: EntityPoints) -> Iterator[str]:
    """How points of a sample differ from the files."""
    places = _sample(len(points), _SAMPLE)
    found = nodes.ask(
        lambda client: client.retrieve(name, places.tolist(), with_payload=True, with_vectors=True)
    )
    there = {int(each.id): each for each in found}
    payload = points.payloads()
    sparse = (
        dict(zip(places.tolist(), sparse_of(points.terms, places), strict=True))
        if points.terms
        else {}
    )
    for place in places.tolist():
        if place not in there:
            yield f"The collection {name} lacks the point {place}."
            continue
        point: Any = there[place]
        wrong = [] if _same(point.payload or {}, payload(place)) else ["payload"]
        vectors = point.vector or {}
        for space, held in points.spaces.items():
            has = held.present[place]
            given = np.array(vectors.get(space, []), np.float32)
            if not np.array_equal(given, held.vectors[place] if has else given[:0]):
                wrong.append(f"vector {space!r}")
        if sparse and not _same_terms(vectors.get(WORDS), *sparse[place]):
            wrong.append("vector of words")
        if wrong:
            what = " and ".join(wrong)
            yield f"The point {place} of the collection {name} has another {what}."


def _same(one: Any, other: Any) -> bool:
    """Whether payloads are equal; a node may change the last bit of a number."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-15)
    return bool(one == other)


def _same_terms(given: Any, keys: np.ndarray, values: np.ndarray) -> bool:
    if given is None:
        return not len(keys)
    order = np.argsort(given.indices)
    return np.array_equal(np.array(given.indices, np.uint32)[order], keys) and np.array_equal(
        np.array(given.values, np.float32)[order], values
    )


def _disagreements(nodes: Nodes, name: str, points: EntityPoints) -> Iterator[str]:
    """Searches that nodes answer differently."""
    for space, held in points.spaces.items():
        rows = np.flatnonzero(held.present)
        for row in rows[_sample(len(rows), _ASKED)].tolist():
            query = held.vectors[row].tolist()
            if len({_listed(client, name, space, query) for client in nodes.clients}) > 1:
                yield f"The nodes find different items in the space {space} of {name}."
                break
    if points.terms:
        places = _sample(len(points), _ASKED)
        for keys, _ in sparse_of(points.terms, places):
            if (
                len(keys)
                and len({_listed(client, name, WORDS, _terms(keys)) for client in nodes.clients})
                > 1
            ):
                yield f"The nodes find different items by words in {name}."
                break


def _terms(keys: np.ndarray) -> Any:
    from qdrant_client import models

    return models.SparseVector(indices=keys.tolist(), values=[1.0] * len(keys))


def _listed(client: QdrantClient, name: str, using: str, query: Any) -> tuple[Any, ...]:
    """The scores, and the points above the last score: of equal ones any may be the last."""
    found = client.query_points(name, query=query, using=using, limit=_K, with_payload=False)
    scores = tuple(each.score for each in found.points)
    return scores, frozenset(each.id for each in found.points if each.score > scores[-1])


def _low(name: str, space: str, recall: dict[str, Any]) -> Iterator[str]:
    """Sentences where so little is found that something is wrong."""
    of = {"recall": "what an exact search finds", "item_recall": "items, by their own vectors,"}
    for kind, what in of.items():
        measured = recall[kind]
        if measured and measured["recall"] < LEAST_RECALL:
            yield (
                f"Only {measured['recall']:.1%} of {what} is found in the space {space} of {name}."
            )
