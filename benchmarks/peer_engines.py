"""The engines that `peers.py` compares: each answers queries in a process of its own."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from qdrant_process import Node, program

from omnisearch.data.catalogue.schema import ITEM_ENTITIES
from omnisearch.data.catalogue.spaces import LEARNED
from omnisearch.engine.search import SearchEngine
from omnisearch.indexer.generation import Generation
from omnisearch.indexer.loading.points import sparse_of

DEPTH, K, RRF_K = 150, 20, 60
WORDS, COLLECTION = "bm25", "items"
_BATCH = 256
Answers = dict[str, Callable[[int], list[int]]]  # a kind of search → the places of its results


@dataclass(frozen=True)
class Asked:
    """A query: its text and vector, and its terms as keys with what each counts."""

    text: str
    vector: np.ndarray
    keys: list[int]
    weights: list[float]


def serve(pipe: Connection, opened: Callable[..., Answers], *given: Any) -> None:
    """Answer (kind, number of a query) with (wall seconds, processor seconds, places)."""
    answers = opened(*given)
    pipe.send(list(answers))
    while (asked := pipe.recv()) is not None:
        kind, number = asked
        wall, processor = time.perf_counter(), time.process_time()
        found = answers[kind](number)
        pipe.send((time.perf_counter() - wall, time.process_time() - processor, found))


def ours(workspace: Path, queries: Sequence[Asked]) -> Answers:
    """This engine, with everything that a search does from a text to a page."""
    engine = SearchEngine.open(workspace)
    tables = engine.snapshot.generation.tables
    start = {"pin": 0, "product": len(tables["pin"])}

    def ranked(system: str, number: int, k: int = K) -> list[int]:
        found = engine.rank(queries[number].text, system, k)
        return [start[entity] + tables[entity].row_of[key] for entity, key, _ in found]

    def page(system: str, number: int) -> list[int]:
        hits = engine.search(queries[number].text, K, system=system).hits
        return [start[hit.entity] + tables[hit.entity].row_of[hit.id] for hit in hits]

    return {
        "full: six sources, L1, L2, blend, related, texts": lambda at: page("full", at),
        "rrf: four sources, related, texts": lambda at: page("rrf", at),
        "rrf: four sources, ids": lambda at: ranked("rrf", at),
        "dense": lambda at: ranked("embedding", at, DEPTH),
    }


class QdrantServer:
    """A Qdrant node with all items in one collection."""

    def __init__(self, folder: Path) -> None:
        from qdrant_client import QdrantClient

        self.node = Node(folder, program())
        self.port = self.node.port + 1
        # Its own calls are slow: it only makes the collection, and searches use the stubs.
        self.client = QdrantClient(
            url=self.node.url,
            grpc_port=self.port,
            prefer_grpc=True,
            timeout=600,
            check_compatibility=False,
        )

    def fill(self, generation: Generation) -> None:
        """One collection of all items: their learned vectors, values of BM25 and texts."""
        from qdrant_client import grpc, models
        from qdrant_client.conversions.conversion import RestToGrpc

        (segment,) = generation.segments
        graph = segment.manifest["options"]
        self.client.create_collection(
            COLLECTION,
            vectors_config={
                LEARNED: models.VectorParams(
                    size=segment.spaces["pin", LEARNED].dim, distance=models.Distance.DOT
                )
            },
            sparse_vectors_config={WORDS: models.SparseVectorParams(modifier=models.Modifier.IDF)},
            hnsw_config=models.HnswConfigDiff(m=graph["m"], ef_construct=graph["ef_construction"]),
            # One graph, as the others have.
            optimizers_config=models.OptimizersConfigDiff(
                default_segment_number=1, max_segment_size=100_000_000
            ),
        )
        for batch in _batches(generation):
            points = [
                grpc.PointStruct(
                    id=grpc.PointId(num=place),
                    payload=RestToGrpc.convert_payload(payload),
                    vectors=grpc.Vectors(
                        vectors=grpc.NamedVectors(
                            vectors={
                                LEARNED: grpc.Vector(data=vector),
                                WORDS: grpc.Vector(
                                    data=values, indices=grpc.SparseIndices(data=keys)
                                ),
                            }
                        )
                    ),
                )
                for place, vector, keys, values, payload in batch
            ]
            self.client.grpc_points.Upsert(
                grpc.UpsertPoints(collection_name=COLLECTION, points=points, wait=True)
            )
        while True:  # until the graph is built
            time.sleep(2)
            if self.client.get_collection(COLLECTION).status == models.CollectionStatus.GREEN:
                return


def _batches(generation: Generation) -> Iterator[list[tuple[int, list, list, list, dict]]]:
    """Place, learned vector, keys and values of the terms, and texts of all items."""
    (segment,), start = generation.segments, 0
    for entity in ITEM_ENTITIES:
        table, terms = segment.tables[entity], segment.terms[entity]
        vectors = segment.spaces[entity, LEARNED].vectors
        for first in range(0, len(table), _BATCH):
            rows = np.arange(first, min(first + _BATCH, len(table)))
            shown, sparse = table.display(rows), sparse_of(terms, rows)
            yield [
                (start + row, vectors[row].tolist(), keys.tolist(), values.tolist(), texts)
                for row, texts, (keys, values) in zip(rows.tolist(), shown, sparse, strict=True)
            ]
        start += len(table)


def qdrant(port: int, queries: Sequence[Asked]) -> Answers:
    """A client of the server over gRPC."""
    import grpc
    from qdrant_client.grpc import (
        DenseVector,
        PointsStub,
        PrefetchQuery,
        Query,
        QueryPoints,
        Rrf,
        SearchParams,
        SparseVector,
        VectorInput,
        WithPayloadSelector,
    )

    stub = PointsStub(grpc.insecure_channel(f"127.0.0.1:{port}"))
    params = SearchParams(hnsw_ef=DEPTH)

    def dense(asked: Asked) -> Query:
        return Query(nearest=VectorInput(dense=DenseVector(data=asked.vector.tolist())))

    def places(request: QueryPoints) -> list[int]:
        return [point.id.num for point in stub.Query(request).result]

    def hybrid(number: int, texts: bool) -> list[int]:
        asked = queries[number]
        words = SparseVector(values=asked.weights, indices=asked.keys)
        request = QueryPoints(
            collection_name=COLLECTION,
            prefetch=[
                PrefetchQuery(query=dense(asked), using=LEARNED, params=params, limit=DEPTH),
                PrefetchQuery(
                    query=Query(nearest=VectorInput(sparse=words)), using=WORDS, limit=DEPTH
                ),
            ],
            query=Query(rrf=Rrf(k=RRF_K)),
            limit=K,
            with_payload=WithPayloadSelector(enable=texts),
        )
        return places(request)

    def nearest(number: int) -> list[int]:
        return places(
            QueryPoints(
                collection_name=COLLECTION,
                query=dense(queries[number]),
                using=LEARNED,
                params=params,
                limit=DEPTH,
                with_payload=WithPayloadSelector(enable=False),
            )
        )

    return {
        "hybrid: two sources, RRF, ids": lambda at: hybrid(at, False),
        "hybrid: two sources, RRF, texts": lambda at: hybrid(at, True),
        "dense": nearest,
    }


def fill_lance(folder: Path, generation: Generation) -> None:
    """A table of all items with an index of the vectors and one of the words."""
    import lancedb
    import pyarrow as pa

    dim = generation.spaces["pin", LEARNED].dim
    schema = pa.schema(
        [
            pa.field("place", pa.int64()),
            pa.field("vector", pa.list_(pa.float32(), dim)),
            pa.field("text", pa.string()),
        ]
    )

    def rows() -> Iterator[pa.RecordBatch]:
        for batch in _batches(generation):
            texts = [" ".join(map(str, shown.values())) for *_, shown in batch]
            vectors = [vector for _, vector, *_ in batch]
            yield pa.record_batch([[place for place, *_ in batch], vectors, texts], schema=schema)

    table = lancedb.connect(folder).create_table("items", rows(), schema=schema)
    table.optimize()
    table.create_index(metric="cosine", index_type="IVF_HNSW_SQ", m=16, ef_construction=150)
    table.create_fts_index("text", use_tantivy=False, with_position=False)


def lance(folder: Path, queries: Sequence[Asked]) -> Answers:
    """LanceDB in process."""
    os.environ["LANCEDB_LOG"] = "error"  # it warns in each search of what a later version will do
    import lancedb
    from lancedb.rerankers import RRFReranker

    table, reranker = lancedb.connect(folder).open_table("items"), RRFReranker(K=RRF_K)

    def hybrid(number: int) -> list[int]:
        asked = queries[number]
        search = table.search(query_type="hybrid").vector(asked.vector).text(asked.text)
        search = search.ef(DEPTH).rerank(reranker).limit(DEPTH).select(["place"])
        found: list[int] = search.to_arrow()["place"].to_pylist()[:K]
        return found

    def nearest(number: int) -> list[int]:
        search = table.search(queries[number].vector, "vector").metric("cosine").ef(DEPTH)
        found: list[int] = search.limit(DEPTH).select(["place"]).to_arrow()["place"].to_pylist()
        return found

    return {"hybrid: two sources, RRF, ids": hybrid, "dense": nearest}
