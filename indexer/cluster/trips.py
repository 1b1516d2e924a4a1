"""Round trips to a cluster: rankings of points, exact cosines of given ones, their vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from omnisearch.indexer.cluster.names import WORDS, collection
from omnisearch.indexer.cluster.nodes import Nodes

if TYPE_CHECKING:
    from qdrant_client import grpc

Ranked = tuple[np.ndarray, np.ndarray]
_OVERSAMPLING = 2.0  # of vectors in 8 bits, before they are scored exactly


@dataclass(frozen=True)
class Asked:
    """One ranking of the points of a collection.

    Attributes:
        entity: 'pin', 'product' or 'query'.
        space: of the vector, or WORDS.
        vector: float32 (d,), or of WORDS (k,) what each of `keys` counts.
        depth: how many points; ef: breadth of the graph search.
        keys: uint32 (k,), the terms.
        within: which points may be returned, a `grpc.Filter`; None for all.
        exact: score all points that may be returned, without the graph.
    """

    entity: str
    space: str
    vector: np.ndarray
    depth: int
    ef: int = 0
    keys: np.ndarray | None = None
    within: Any = None
    exact: bool = False


class Collections:
    """The collections of one build. Safe for several threads."""

    def __init__(self, nodes: Nodes, number: int) -> None:
        self.nodes, self.number = nodes, number

    def ranked(self, asked: Sequence[Asked]) -> list[Ranked]:
        """Of each int64 (m,) points, best first, and float32 (m,) scores, in one round trip.

        Raises:
            Unreachable: no node answered.
        """
        from qdrant_client import grpc

        if not asked:
            return []
        entities = list(dict.fromkeys(each.entity for each in asked))
        batches = [[each for each in asked if each.entity == entity] for entity in entities]
        requests = [
            grpc.QueryBatchPoints(
                collection_name=self._collection(entity),
                query_points=[self._query(each) for each in batch],
            )
            for entity, batch in zip(entities, batches, strict=True)
        ]
        answers = self.nodes.together("QueryBatch", requests)
        found = {
            id(each): _ranking(result.result)
            for batch, answer in zip(batches, answers, strict=True)
            for each, result in zip(batch, answer.result, strict=True)
        }
        return [found[id(each)] for each in asked]

    def vectors(self, entity: str, space: str, points: np.ndarray) -> np.ndarray:
        """float32 (m, d): the vectors of points int64 (m,), which all have one; (0, 0) of none.

        Raises:
            Unreachable: no node answered.
        """
        from qdrant_client import grpc

        if not len(points):
            return np.zeros((0, 0), np.float32)
        request = grpc.GetPoints(
            collection_name=self._collection(entity),
            ids=[grpc.PointId(num=each) for each in points.tolist()],
            with_payload=grpc.WithPayloadSelector(enable=False),
            with_vectors=grpc.WithVectorsSelector(include=grpc.VectorsSelector(names=[space])),
        )
        (answer,) = self.nodes.together("Get", [request])
        found = {
            point.id.num: _dense(point.vectors.vectors.vectors[space]) for point in answer.result
        }
        return np.array([found[each] for each in points.tolist()], np.float32)

    def _collection(self, entity: str) -> str:
        return collection(self.nodes.config.name, self.number, entity)

    def _query(self, asked: Asked) -> grpc.QueryPoints:
        from qdrant_client import grpc

        if asked.keys is None:
            given = grpc.VectorInput(dense=grpc.DenseVector(data=asked.vector.tolist()))
        else:
            sparse = grpc.SparseVector(values=asked.vector.tolist(), indices=asked.keys.tolist())
            given = grpc.VectorInput(sparse=sparse)
        params = grpc.SearchParams(exact=asked.exact)
        if not asked.exact and asked.space != WORDS:
            params.hnsw_ef = max(asked.ef, asked.depth)
            if self.nodes.config.int8:
                params.quantization.rescore = True
                params.quantization.oversampling = _OVERSAMPLING
        return grpc.QueryPoints(
            collection_name=self._collection(asked.entity),
            query=grpc.Query(nearest=given),
            using=asked.space,
            filter=asked.within,
            params=params,
            limit=asked.depth,
            with_payload=grpc.WithPayloadSelector(enable=False),
        )


def among(points: np.ndarray, within: grpc.Filter | None = None) -> grpc.Filter:
    """Only these points, int64 (m,), and of them those that a filter lets through."""
    from qdrant_client import grpc

    return grpc.Filter(must=[_of(points), *_met(within)])


def not_among(points: np.ndarray, within: grpc.Filter | None = None) -> grpc.Filter:
    """All but these points, int64 (m,), that a filter lets through."""
    from qdrant_client import grpc

    return grpc.Filter(must=_met(within), must_not=[_of(points)])


def _of(points: np.ndarray) -> grpc.Condition:
    from qdrant_client import grpc

    ids = [grpc.PointId(num=each) for each in points.tolist()]
    return grpc.Condition(has_id=grpc.HasIdCondition(has_id=ids))


def _met(within: grpc.Filter | None) -> list[grpc.Condition]:
    from qdrant_client import grpc

    return [] if within is None else [grpc.Condition(filter=within)]


def _ranking(points: Any) -> Ranked:
    found = [(point.id.num, point.score) for point in points]
    return (
        np.array([point for point, _ in found], np.int64),
        np.array([score for _, score in found], np.float32),
    )


def _dense(vector: Any) -> list[float]:
    return list(vector.dense.data) or list(vector.data)
