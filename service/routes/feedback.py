"""/v1/feedback and /v1/judgments: engagement events and relevance judgments."""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Depends, Request
from fastapi.routing import APIRoute
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictFloat,
    StrictInt,
    StrictStr,
    TypeAdapter,
)
from starlette.responses import Response

from omnisearch.data.importers.rows import Parser, QueryIds, parser_of
from omnisearch.data.importers.value_checks import Refused
from omnisearch.service.errors import Refusal
from omnisearch.service.parameters import known_parameters
from omnisearch.service.rows import read_rows
from omnisearch.service.schemas import Id, Query
from omnisearch.service.serving.lane import SMALL, Lane
from omnisearch.service.serving.serving import Serving

MAX_ROWS = 1_000  # per request
_SLICE = 16  # rows that are checked at a time
_AHEAD_SECONDS = 600  # by which the clock of a client may be fast
# Strict: true is no number, nor is the text of one.
Time = StrictInt | StrictFloat | StrictStr | None
Entity = Literal["pin", "product", "query"]


class Event(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)
    event_id: Id = Field(description="An event that is sent twice is counted once.")
    query: Query
    entity: Entity
    id: Id
    action: Literal["save", "long_click", "click", "add_to_cart", "checkout", "impression"]
    time: Time = Field(None, description="ISO 8601 or seconds since 1970; the default is now.")
    position: Annotated[int, Field(ge=1, le=1_000_000, strict=True)] | None = None
    session: Id | None = None
    request_id: Annotated[str, Field(min_length=1, max_length=64)] | None = Field(
        None, description="Of the search that it follows, as its answer had it: for experiments."
    )
    language: Annotated[str, Field(max_length=35)] | None = None
    country: Annotated[str, Field(max_length=35)] | None = None
    surface: Literal["search", "offsite"] = "search"


class Judgment(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)
    query: Query
    entity: Entity
    id: Id
    grade: Annotated[float, Field(ge=-1000, le=1000, strict=True)] | None = Field(
        description="Higher is better, 0 and below is irrelevant; null takes the judgment back."
    )
    judge: Annotated[str, Field(min_length=1, max_length=512)] = "unnamed"
    time: Time = None


class FeedbackRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")
    events: list[Event] = Field(min_length=1, max_length=MAX_ROWS)


class JudgmentsRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")
    judgments: list[Judgment] = Field(min_length=1, max_length=MAX_ROWS)


class FeedbackAnswer(BaseModel):
    accepted: int = Field(description="How many are new; they are on disk.")
    duplicates: int = Field(description="How many had been sent before.")


_KINDS = {"/v1/feedback": ("events", Event), "/v1/judgments": ("judgments", Judgment)}


class _Read(Request):
    """A request whose body has been read."""

    def __init__(self, request: Request, body: dict[str, list[Any]]) -> None:
        super().__init__(request.scope, request.receive)
        self._read, self._content = body, b"{}"

    async def body(self) -> bytes:
        return self._content

    async def json(self) -> Any:
        return self._read


class _InSlices(APIRoute):
    """A route that reads and checks large bodies in the lane; FastAPI would on the event loop."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        answer = super().get_route_handler()
        name, row = _KINDS[self.path]
        rows_of = partial(read_rows, name=name, row=TypeAdapter(row), most=MAX_ROWS)

        async def in_slices(request: Request) -> Response:
            lane: Lane = request.app.state.lane
            body = await request.body()
            with lane.admitted(lane.cost_of(body)):
                if len(body) > SMALL and "json" in request.headers.get("content-type", ""):
                    rows = await lane.run(partial(rows_of, body, give_way=lane.give_way))
                    request = _Read(request, {name: rows})
                return await answer(request)

        return in_slices


router = APIRouter(
    prefix="/v1",
    tags=["feedback"],
    dependencies=[Depends(known_parameters)],
    route_class=_InSlices,
)


@router.post("/feedback", response_model=FeedbackAnswer)
async def feedback(request: Request, body: FeedbackRequest) -> Response:
    """Add engagement events, all or none. They are on disk when the answer arrives.

    `omnisearch import feedback` brings them into the catalogue.
    """
    serving: Serving = request.app.state.serving
    lane: Lane = request.app.state.lane
    rows = await lane.run(_checked, body.events, "engagements", "events", lane.give_way)
    keyed = [(str(row["event_id"]), orjson.dumps(row)) for row, _ in rows]
    accepted, duplicates = await serving.feedback.add("events", keyed)
    serving.counters.add("events", accepted)
    serving.counters.add("event_duplicates", duplicates)
    return _said(accepted, duplicates)


@router.post("/judgments", response_model=FeedbackAnswer)
async def judgments(request: Request, body: JudgmentsRequest) -> Response:
    """Add judgments, all or none. The last one of a judge for a query and an item counts.

    A grade of null takes it back.
    """
    serving: Serving = request.app.state.serving
    lane: Lane = request.app.state.lane
    rows = await lane.run(_checked, body.judgments, "judgments", "judgments", lane.give_way)
    names = ("query", "entity", "item_id", "judge")
    keyed = [
        (orjson.dumps([parsed[name] for name in names]).decode(), orjson.dumps(row))
        for row, parsed in rows
    ]
    accepted, duplicates = await serving.feedback.add("judgments", keyed)
    serving.counters.add("judgments", accepted)
    return _said(accepted, duplicates)


def _checked(
    given: list[Any], kind: str, field: str, give_way: Callable[[], None]
) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """(row as in a file, row as in the catalogue) of each; raises Refusal 422 with all errors.

    The checks are those of an import: what is accepted here can be imported.
    """
    now = int(time.time())
    parse: Parser = parser_of(kind, QueryIds())
    rows, faults = [], []
    for number, each in enumerate(given):
        if number % _SLICE == _SLICE - 1:
            give_way()
        row = {name: value for name, value in each.model_dump().items() if value is not None}
        row["item_id"] = row.pop("id")
        if not str(row.get("time", "")).strip():
            row["time"] = now
        try:
            taken_back = kind == "judgments" and "grade" not in row
            parsed = parse({**row, "grade": 0} if taken_back else row)
            moment = parsed["time"]
            if moment is None or moment > now + _AHEAD_SECONDS:
                raise Refused("time", "is missing" if moment is None else "is in the future")
            row |= {"grade": None} if taken_back else {}
            rows.append(({**row, "time": moment}, parsed))
        except Refused as refused:
            name = "id" if refused.field == "item_id" else refused.field
            faults.append({"where": f"{field} {number} {name}".strip(), "what": refused.reason})
    if faults:
        first = faults[0]
        raise Refusal(
            422,
            f"{len(faults)} of {len(given)} cannot be taken, so nothing was stored.",
            where=first["where"],
            how=f"It {first['what']}.",
            fields=faults[:50],
        )
    return rows


def _said(accepted: int, duplicates: int) -> Response:
    body = orjson.dumps({"accepted": accepted, "duplicates": duplicates})
    return Response(body, media_type="application/json", headers={"cache-control": "no-store"})
