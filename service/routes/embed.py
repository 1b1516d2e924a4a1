"""/v1/embed: the embedding of one query or many, as JSON or as rows of float16."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Annotated

import numpy as np
import orjson
from fastapi import APIRouter, Depends, Request
from fastapi import Query as Parameter
from fastapi.exceptions import RequestValidationError
from pydantic import TypeAdapter, ValidationError
from starlette.responses import Response, StreamingResponse

from omnisearch.data.text.normalise import normalise_query
from omnisearch.data.workspace.errors import InputError
from omnisearch.encoders.onnx.query_tower import QueryTower
from omnisearch.service.errors import Refusal, busy
from omnisearch.service.parameters import known_parameters
from omnisearch.service.rows import read_lines, read_rows
from omnisearch.service.schemas import MAX_TEXT, EmbedAnswer, EmbedBatchAnswer, EmbedRequest, Query
from omnisearch.service.serving.lane import SMALL, Lane
from omnisearch.service.serving.serving import Serving, embedding_body

router = APIRouter(prefix="/v1", tags=["embed"], dependencies=[Depends(known_parameters)])

BINARY = "application/octet-stream"
_BATCH_SECONDS = 30.0
_SLICE, _SLICE_BESIDE_SEARCHES = 8, 4  # queries that are looked up, and encoded, at a time
_ROWS = {"application/json": 32, BINARY: 1024}  # that are written at a time
_QUERY = TypeAdapter(Query)


@router.get("/embed", response_model=EmbedAnswer)
async def embed(
    request: Request, q: Annotated[str, Parameter(min_length=1, max_length=MAX_TEXT)]
) -> Response:
    """The embedding of one query, of unit length; comparable with all of the same checkpoint."""
    serving: Serving = request.app.state.serving
    if not normalise_query(q):
        raise InputError("The query is empty.", where="q")
    tower = serving.snapshot.encoder
    vector = serving.embedder.cached(q, tower)
    cached = vector is not None
    if vector is None:
        seconds = 10 * serving.config.deadline_ms / 1000
        try:
            vector = (await serving.embedder.embed([q], seconds, tower))[0]
        except TimeoutError:
            raise _late() from None
    body = embedding_body(q, tower.checkpoint, vector, cached)
    return Response(body, media_type="application/json", headers={"cache-control": "no-store"})


@router.post(
    "/embed",
    response_model=EmbedBatchAnswer,
    responses={200: {"content": {BINARY: {"schema": {"type": "string", "format": "binary"}}}}},
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": EmbedRequest.model_json_schema()},
                "text/plain": {"schema": {"type": "string", "minLength": 1}},
            },
        }
    },
)
async def embed_batch(request: Request) -> Response:
    """The embeddings of many queries, in their order.

    The body is JSON, or plain text with one query per line. With `Accept: application/octet-stream`
    the answer is the bytes of a float16 array (count, dim), little endian; the headers X-Count,
    X-Dim and X-Checkpoint describe it.
    """
    serving: Serving = request.app.state.serving
    lane: Lane = request.app.state.lane
    body = await request.body()
    with lane.admitted(lane.cost_of(body)):
        queries = await _queries(body, request.headers.get("content-type", ""), serving, lane)
        with lane.admitted(max(0, len(queries) - lane.cost_of(body))):
            return await _embedded(queries, request.headers.get("accept", ""), serving, lane)


async def _queries(body: bytes, kind: str, serving: Serving, lane: Lane) -> list[str]:
    """The queries in a body; raises RequestValidationError or Refusal if it is invalid."""
    most, large = serving.config.batch_queries, len(body) > SMALL
    if kind.partition(";")[0].strip().lower() == "text/plain":
        if large:
            return await lane.run(read_lines, body, most, lane.give_way)
        return read_lines(body, most, _go_on)
    if large:
        queries = await lane.run(read_rows, body, "queries", _QUERY, most, lane.give_way)
    else:
        try:
            queries = EmbedRequest.model_validate_json(body).queries
        except ValidationError as error:
            faults = error.errors(include_url=False, include_input=False)
            raise RequestValidationError(faults) from None
    for number, text in enumerate(queries):
        if text.isspace():
            raise Refusal(422, "The query is empty.", where=f"queries {number}")
    if len(queries) > most:
        raise Refusal(413, f"A batch may hold at most {most:,} queries.", how="Send them in parts.")
    return queries


async def _embedded(queries: list[str], accept: str, serving: Serving, lane: Lane) -> Response:
    tower = serving.snapshot.encoder
    try:
        async with asyncio.timeout(_BATCH_SECONDS):
            if sum(map(len, queries)) <= SMALL:
                vectors = np.ascontiguousarray(await serving.embedder.embed(queries, tower=tower))
            else:
                vectors = await _vectors_in_slices(queries, serving, lane, tower)
    except TimeoutError:
        raise _late() from None
    count, dim = vectors.shape
    headers = {
        "x-count": str(count),
        "x-dim": str(dim),
        "x-checkpoint": tower.checkpoint,
        "cache-control": "no-store",
    }
    if BINARY in accept:
        kind, write = BINARY, _binary
    else:
        kind, write = "application/json", partial(_json, tower.checkpoint)
    small = count <= _ROWS[kind]
    parts = write(vectors, _go_on) if small else await lane.run(write, vectors, lane.give_way)
    if small:
        return Response(b"".join(parts), media_type=kind, headers=headers)
    headers["content-length"] = str(sum(map(len, parts)))
    return StreamingResponse(_each(parts), media_type=kind, headers=headers)


async def _vectors_in_slices(
    queries: list[str], serving: Serving, lane: Lane, tower: QueryTower
) -> np.ndarray:
    """float32 (n, dim): what is not in memory is normalised in the lane, then encoded."""
    vectors = np.empty((len(queries), tower.dim), np.float32)
    start = 0
    while start < len(queries):
        size = _SLICE_BESIDE_SEARCHES if lane.beside_searches else _SLICE
        part = queries[start : start + size]
        found, missing, keys = await lane.run(serving.embedder.remembered, part, tower)
        if len(missing) < len(part):
            vectors[start : start + len(part)] = found
        if len(missing):
            async with lane.model:
                vectors[start + missing] = await serving.embedder.encoded(keys, tower)
        start += len(part)
        await lane.run(lane.give_way)
    return vectors


def _json(checkpoint: str, vectors: np.ndarray, give_way: Callable[[], None]) -> list[bytes]:
    """An `EmbedBatchAnswer` in parts."""
    count, dim = vectors.shape
    head = orjson.dumps({"checkpoint": checkpoint, "dim": dim, "count": count})
    parts = [head[:-1] + b',"embeddings":[']
    for start in range(0, count, _ROWS["application/json"]):
        rows = vectors[start : start + _ROWS["application/json"]]
        rest = b"," if start + len(rows) < count else b"]}"
        parts.append(orjson.dumps(rows, option=orjson.OPT_SERIALIZE_NUMPY)[1:-1] + rest)
        give_way()
    return parts


def _binary(vectors: np.ndarray, give_way: Callable[[], None]) -> list[bytes]:
    """The rows as float16, little endian, in parts."""
    parts = []
    for start in range(0, len(vectors), _ROWS[BINARY]):
        parts.append(vectors[start : start + _ROWS[BINARY]].astype("<f2").tobytes())
        give_way()
    return parts


async def _each(parts: list[bytes]) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


def _go_on() -> None:
    """Give way to nobody: the work is too small for that."""


def _late() -> Refusal:
    return busy("The model did not encode the queries in time.")
