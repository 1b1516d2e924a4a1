"""/v1/suggest."""

from __future__ import annotations

from typing import Annotated

import orjson
from fastapi import APIRouter, Depends, Request
from fastapi import Query as Parameter
from starlette.responses import Response

from omnisearch.engine.suggest import MOST
from omnisearch.service.parameters import known_parameters
from omnisearch.service.routes.search import Q
from omnisearch.service.schemas import SuggestAnswer
from omnisearch.service.serving.serving import Serving

router = APIRouter(prefix="/v1", tags=["search"], dependencies=[Depends(known_parameters)])

# A browser may show an answer again while the same reader types on and back.
CACHED = "private, max-age=60"


@router.get("/suggest", response_model=SuggestAnswer)
async def suggest(
    request: Request,
    q: Q,
    k: Annotated[int, Parameter(ge=1, le=MOST)] = 8,
    language: Annotated[
        str | None,
        Parameter(max_length=35, description="Only texts in this language, such as de."),
    ] = None,
) -> Response:
    """Searches that somebody may mean who has typed `q` so far.

    These are queries that enough people asked, categories, brands and titles of which a word begins
    so, but for a typo or two.
    """
    serving: Serving = request.app.state.serving
    body = await suggest_answer(serving, q, k, language, request.scope.get("omnisearch.id", ""))
    return Response(body, media_type="application/json", headers={"cache-control": CACHED})


async def suggest_answer(
    serving: Serving, q: str, k: int, language: str | None, request_id: str
) -> bytes:
    """The answer to /v1/suggest, made in a thread of its own, so that no search holds it up.

    Raises:
        InputError: `language` is no code. Refusal: 503, if too many requests wait for that thread.
    """
    snapshot = serving.snapshot
    found = await serving.suggesting.run(snapshot.suggester.suggest, q, k, language)
    return orjson.dumps(
        {
            "query": q,
            "generation": snapshot.generation.number,
            "suggestions": found,
            "request_id": request_id,
        }
    )
