"""/v1/embed: the embedding of one query or many, as JSON or as rows of float16."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
import orjson
from fastapi import APIRouter, Depends, Request
from fastapi import Query as Parameter
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.responses import Response

from omnisearch.data.text.normalise import normalise_query
from omnisearch.data.workspace.errors import InputError
from omnisearch.service.errors import Refusal, busy
from omnisearch.service.parameters import known_parameters
from omnisearch.service.schemas import MAX_TEXT, EmbedAnswer, EmbedBatchAnswer, EmbedRequest
from omnisearch.service.serving.serving import Serving, embedding_body

router = APIRouter(prefix="/v1", tags=["embed"], dependencies=[Depends(known_parameters)])

BINARY = "application/octet-stream"
_BATCH_SECONDS = 30.0


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
        vector = (await _vectors(serving, [q], 10 * serving.config.deadline_ms / 1000, tower))[0]
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
    queries = _queries(await request.body(), request.headers.get("content-type", ""))
    most = serving.config.batch_queries
    if len(queries) > most:
        raise Refusal(413, f"A batch may hold at most {most:,} queries.", how="Send them in parts.")
    tower = serving.snapshot.encoder
    vectors = await _vectors(serving, queries, _BATCH_SECONDS, tower)
    count, dim = vectors.shape
    headers = {
        "x-count": str(count),
        "x-dim": str(dim),
        "x-checkpoint": tower.checkpoint,
        "cache-control": "no-store",
    }
    if BINARY in request.headers.get("accept", ""):
        return Response(vectors.astype("<f2").tobytes(), media_type=BINARY, headers=headers)
    body = orjson.dumps(
        {"checkpoint": tower.checkpoint, "dim": dim, "count": count, "embeddings": vectors},
        option=orjson.OPT_SERIALIZE_NUMPY,
    )
    return Response(body, media_type="application/json", headers=headers)


async def _vectors(serving: Serving, texts: list[str], seconds: float, tower: Any) -> np.ndarray:
    try:
        return np.ascontiguousarray(await serving.embedder.embed(texts, seconds, tower))
    except TimeoutError:
        raise busy("The model did not encode the queries in time.") from None


def _queries(body: bytes, kind: str) -> list[str]:
    """The queries in a body; raises RequestValidationError or Refusal if it is invalid."""
    if kind.partition(";")[0].strip().lower() == "text/plain":
        try:
            queries = body.decode("utf-8").removesuffix("\n").split("\n")
        except UnicodeDecodeError as error:
            raise Refusal(400, f"The body is not UTF-8 ({error.reason}).", where="body") from None
        for number, text in enumerate(queries, 1):
            if not text or text.isspace():
                raise Refusal(422, "The query is empty.", where=f"line {number}")
            if len(text) > MAX_TEXT:
                how = f"Send at most {MAX_TEXT:,} characters."
                raise Refusal(422, "The query is too long.", where=f"line {number}", how=how)
        return queries
    try:
        queries = EmbedRequest.model_validate_json(body).queries
    except ValidationError as error:
        raise RequestValidationError(error.errors(include_url=False, include_input=False)) from None
    for number, text in enumerate(queries):
        if text.isspace():
            raise Refusal(422, "The query is empty.", where=f"queries {number}")
    return queries
