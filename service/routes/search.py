"""/v1/search, /v1/related, /v1/similar and /v1/compare."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Depends, Request
from fastapi import Query as Parameter
from starlette.responses import Response

from omnisearch.data.catalogue.schema import open_catalogue
from omnisearch.engine.context import SPELLING
from omnisearch.engine.filter_syntax import LONGEST, MOST_FILTERS
from omnisearch.engine.filters import Filters
from omnisearch.engine.response import Hit
from omnisearch.engine.similar import similar_items
from omnisearch.engine.systems import SYSTEMS
from omnisearch.evaluation.compare import compare_query
from omnisearch.evaluation.judged import top_grades
from omnisearch.service.parameters import known_parameters
from omnisearch.service.schemas import (
    MAX_TEXT,
    CompareAnswer,
    RelatedAnswer,
    SearchAnswer,
    SimilarAnswer,
)
from omnisearch.service.searching import Asked, Search, before, in_time, read_in_time, users_search
from omnisearch.service.serving.serving import Serving

router = APIRouter(prefix="/v1", tags=["search"], dependencies=[Depends(known_parameters)])

if TYPE_CHECKING:
    SystemName = str
else:
    SystemName = Literal[tuple(SYSTEMS)]

Q = Annotated[
    str,
    Parameter(min_length=1, max_length=MAX_TEXT, description="What to look for, in any language."),
]
K = Annotated[int, Parameter(ge=1, le=200)]
Word = Annotated[str | None, Parameter(max_length=512)]
Price = Annotated[float | None, Parameter(ge=0, le=1e12, allow_inf_nan=False)]
Deadline = Annotated[
    int | None,
    Parameter(ge=1, le=60_000, description="Milliseconds; sources that are later are left out."),
]


async def filters(  # async, or FastAPI would send each request through a thread for it
    entity: Annotated[Literal["pin", "product"] | None, Parameter()] = None,
    language: Word = None,
    country: Word = None,
    price_min: Price = None,
    price_max: Price = None,
    brand: Word = None,
    board: Annotated[str | None, Parameter(max_length=512, description="Id of a board.")] = None,
    ads: Annotated[bool | None, Parameter(description="true: only ads; false: no ads.")] = None,
    filter: Annotated[
        list[Annotated[str, Parameter(max_length=LONGEST)]],
        Parameter(
            max_length=MOST_FILTERS,
            description="Of any attribute: colour=red|blue, price<30, "
            "category=Shoes > Running, in_stock. May be repeated; all must be met.",
        ),
    ] = [],  # noqa: B006
    out_of_stock: Annotated[
        Literal["hide", "sink", "show"] | None,
        Parameter(description="sink: after all other results; by default as in the settings."),
    ] = None,
) -> Filters:
    given = (entity, language, country, price_min, price_max, brand, board, ads)
    return Filters(*given, where=tuple(filter), out_of_stock=out_of_stock)


@router.get("/search", response_model=SearchAnswer)
async def search_(
    request: Request,
    q: Q,
    chosen: Annotated[Filters, Depends(filters)],
    k: K = 20,
    page: Annotated[int, Parameter(ge=1, le=10_000)] = 1,
    system: SystemName = "full",
    explain: bool = False,
    query_language: Annotated[
        str | None,
        Parameter(max_length=35, description="Language of `q`, such as de; else it is detected."),
    ] = None,
    sort: Annotated[
        str | None,
        Parameter(max_length=100, description="newest, price, -price, or a number attribute."),
    ] = None,
    facets: Annotated[
        str,
        Parameter(
            max_length=2_000, description="Attributes to count: colours,price,brand; or auto."
        ),
    ] = "",
    user: Annotated[
        str | None,
        Parameter(
            min_length=1,
            max_length=512,
            description="A stable id of the user or session, for experiments: kept as a hash only.",
        ),
    ] = None,
    user_country: Annotated[
        str | None,
        Parameter(
            max_length=35,
            description="Of the user, such as US: for ads, and for reports of experiments.",
        ),
    ] = None,
    device: Annotated[
        str | None,
        Parameter(
            pattern="^[a-z]{2,12}$",
            description="The class of the user's device, a word such as phone, tablet or desktop: "
            "for reports of experiments.",
        ),
    ] = None,
    deadline_ms: Deadline = None,
) -> Response:
    """Pins and products for a query, and related queries.

    `degraded` names the sources and stages that were too late for the deadline. While an experiment
    runs, `user` gets the results of one of its variants, always the same, and `experiment` names
    it. Every ad has `is_ad`, and `campaign` says whose it is.
    """
    serving: Serving = request.app.state.serving
    seconds = (deadline_ms or serving.config.deadline_ms) / 1000
    names = tuple(filter(None, map(str.strip, facets.split(","))))
    wanted = Search(
        *(q, seconds, k, page, system, chosen, explain, query_language, sort, names, user),
        user_country=user_country,
        device=device,
    )
    request_id = request.scope.get("omnisearch.id", "")
    return _json(await search_answer(serving, wanted, request_id))


@router.get("/related", response_model=RelatedAnswer)
async def related(
    request: Request,
    q: Q,
    k: Annotated[int, Parameter(ge=1, le=100)] = 8,
    deadline_ms: Deadline = None,
) -> Response:
    """Queries near this one, without those that only differ in wording."""
    serving: Serving = request.app.state.serving
    seconds = (deadline_ms or serving.config.deadline_ms) / 1000
    asked = await read_in_time(serving, q, seconds)
    related_to = serving.engine.at(asked.snapshot).related
    given = asked.query, k, asked.context
    found = await in_time(serving, seconds, before, asked.context.until, related_to, *given)
    degraded = [
        *["query_embedding"] * asked.missing,
        *[SPELLING] * asked.query.unspelled,
        *asked.context.left_out,
    ]
    serving.counters.add("degraded", int(bool(degraded)))
    return answer(
        request,
        {
            "query": q,
            "generation": asked.snapshot.generation.number,
            "related": found,
            "degraded": degraded,
        },
    )


@router.get("/similar", response_model=SimilarAnswer)
async def similar(
    request: Request,
    entity: Literal["pin", "product"],
    id: Annotated[str, Parameter(min_length=1, max_length=512)],
    k: K = 20,
) -> Response:
    """The nearest items in the learned space, without the item itself."""
    serving: Serving = request.app.state.serving
    seconds, snapshot = serving.config.deadline_ms / 1000, serving.snapshot
    hits = await in_time(
        serving, seconds, similar_items, snapshot, entity, id, k, serving.engine.config
    )
    shown, number = _shown(serving, hits), snapshot.generation.number
    return answer(request, {"entity": entity, "id": id, "generation": number, "hits": shown})


@router.get("/compare", response_model=CompareAnswer)
async def compare(
    request: Request,
    q: Q,
    a: SystemName = "token",
    b: SystemName = "full",
    k: Annotated[int, Parameter(ge=1, le=50)] = 12,
) -> Response:
    """The first results of two systems side by side, with their overlap and judgments."""
    serving: Serving = request.app.state.serving
    seconds = 2 * serving.config.deadline_ms / 1000
    asked = await read_in_time(serving, q, seconds)
    found = await in_time(serving, seconds, _compare, serving, asked, (a, b), k)
    return answer(request, found)


class _Pinned:
    """An engine whose searches all use one snapshot and one embedding."""

    def __init__(self, serving: Serving, asked: Asked) -> None:
        self._searcher, self._asked = serving.engine.at(asked.snapshot), asked

    def search(self, query: str, k: int = 12, *, system: str = "full") -> Any:
        return self._searcher.search(self._asked.query, k, system=system)

    def rank(self, query: str, system: str, k: int) -> list[tuple[str, str, float]]:
        return self._searcher.rank(self._asked.query, system, k)

    def warm(self, queries: Any) -> int:
        return 0


def _compare(serving: Serving, asked: Asked, systems: tuple[str, str], k: int) -> dict[str, Any]:
    db = open_catalogue(serving.workspace.catalogue)
    try:
        pinned, text = _Pinned(serving, asked), asked.query.typed
        found = asdict(compare_query(pinned, db, text, k, tuple(dict.fromkeys(systems))))
        found["top_grades"] = top_grades(db)
    finally:
        db.conn.close()
    for column in found["columns"]:
        for hit in column["hits"]:
            hit["image"] = serving.pictures.shown_as(hit["entity"], hit["id"], hit["image"])
    return found


def _shown(serving: Serving, hits: list[Hit]) -> list[dict[str, Any]]:
    """Hits as in answers, with addresses of pictures that a page may show."""
    return [{**vars(hit), "image": serving.pictures.shown(hit)} for hit in hits]


async def search_answer(serving: Serving, wanted: Search, request_id: str) -> bytes:
    """The answer to /v1/search. Raises as `search`."""
    found, arm = await users_search(serving, wanted, request_id)
    part = {"name": arm.experiment, "variant": arm.variant} if arm and arm.experiment else None
    own = {"hits": _shown(serving, found.hits), "experiment": part, "request_id": request_id}
    return orjson.dumps({**vars(found), **own}, option=orjson.OPT_SERIALIZE_NUMPY)


def answer(request: Request, fields: dict[str, Any]) -> Response:
    """A JSON answer with the request's id."""
    named = {**fields, "request_id": request.scope.get("omnisearch.id", "")}
    return _json(orjson.dumps(named, option=orjson.OPT_SERIALIZE_NUMPY))


def _json(body: bytes) -> Response:
    return Response(body, media_type="application/json", headers={"cache-control": "no-store"})
