"""/v1/items: items that are added, changed and deleted while the service runs."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Depends, Request
from fastapi import Path as Parameter
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from omnisearch.data.importers.live import Fault, Items, check_items
from omnisearch.data.importers.rows import QueryIds, parser_of
from omnisearch.data.importers.value_checks import Refused
from omnisearch.service.errors import Refusal
from omnisearch.service.parameters import known_parameters
from omnisearch.service.schemas import ErrorAnswer, Id
from omnisearch.service.serving.lane import SMALL, Lane
from omnisearch.service.serving.serving import Serving

MAX_ITEMS = 1_000  # per request
_FORM = 'The body is not JSON of the form {"items": [{"entity": ..., "id": ..., ...}]}.'
_REFUSED: dict[int | str, dict[str, Any]] = {
    403: {
        "model": ErrorAnswer,
        "description": "The API key may not write, or the service has no keys that may",
    },
}

router = APIRouter(prefix="/v1", tags=["items"], dependencies=[Depends(known_parameters)])


class Item(BaseModel):
    """Fields that are not named keep their value; null removes it."""

    model_config = ConfigDict(extra="allow")
    entity: Literal["pin", "product"]
    id: Id
    title: str | None = None
    description: str | None = None
    link: str | None = Field(None, description="An http or https address.")
    image: str | None = None
    more_images: list[str] | None = None
    price: Annotated[float, Field(ge=0, le=1e12)] | None = None
    currency: str | None = Field(None, description="Its ISO 4217 code, such as EUR.")
    brand: str | None = None
    availability: str | bool | None = Field(
        None, description="As feeds have it: 'in stock', 'out of stock', 'preorder', 'backorder'."
    )
    attributes: dict[str, Any] | None = Field(
        None,
        description="Further properties by name: texts, numbers, flags or lists of texts. They may "
        "also be fields of the row. Those not named keep their value; null removes one.",
    )


_BODY = {
    "type": "object",
    "required": ["items"],
    "additionalProperties": False,
    "properties": {
        "items": {
            "type": "array",
            "minItems": 1,
            "maxItems": MAX_ITEMS,
            "items": Item.model_json_schema(),
            "description": "Rows with the fields that files of pins and products have.",
        }
    },
}


class FieldFault(BaseModel):
    where: str = Field(description="The row, counted from 0, and its field: 'items 3 price'.")
    what: str


class ItemsAnswer(BaseModel):
    taken: int = Field(description="How many rows were taken; they are on disk.")
    changed: int = Field(description="How many items were added, changed or deleted.")
    refused: int = Field(description="How many rows were refused; the others were taken.")
    fields: list[FieldFault] = Field(
        description="Each field that was refused, also those without which a row was taken."
    )


@router.post(
    "/items",
    response_model=ItemsAnswer,
    responses=_REFUSED,
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": _BODY}},
        }
    },
)
async def add_items(request: Request) -> Response:
    """Add and change items. They are on disk when the answer arrives, and soon found.

    A row is checked as a row of an imported file is. One that is refused does not hold up the
    others; if all are, the answer is 422. Sent again, a request changes nothing.
    """
    serving: Serving = request.app.state.serving
    lane: Lane = request.app.state.lane
    body = await request.body()
    with lane.admitted(lane.cost_of(body)):
        rows = _read(body) if len(body) <= SMALL else await lane.run(_read, body)
        items = await lane.run(check_items, rows, lane.give_way)
        if not items.taken:
            raise _none_taken(items)
        changed = await serving.items.add(items)
    return _said(serving, items, changed)


@router.delete("/items/{entity}/{id:path}", response_model=ItemsAnswer, responses=_REFUSED)
async def delete_item(
    request: Request,
    entity: Literal["pin", "product"],
    id: Annotated[str, Parameter(min_length=1, max_length=512)],
) -> Response:
    """Delete an item. `changed` is 0 if there was none.

    Its engagements, boards and judgments stay: an item that is added again has them again.
    """
    serving: Serving = request.app.state.serving
    try:
        row = parser_of("deletions", QueryIds())({"entity": entity, "id": id})
    except Refused as refused:
        raise Refusal(422, f"It {refused.reason}.", where="path id") from None
    items = Items(deletions=[(row["entity"], row["id"])], taken=1)
    return _said(serving, items, await serving.items.add(items))


def _read(body: bytes) -> list[Any]:
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Refusal(400, "The body is not JSON.", where="body", how=f"{error}.") from None
    rows = content.get("items") if isinstance(content, dict) and len(content) == 1 else None
    if not isinstance(rows, list) or not rows:
        raise Refusal(422, _FORM, where="body", how="See /docs.")
    if len(rows) > MAX_ITEMS:
        raise Refusal(413, f"A body may hold at most {MAX_ITEMS:,} rows.", how="Send it in parts.")
    return rows


def _none_taken(items: Items) -> Refusal:
    faults = [_shown(each) for each in items.faults]
    rows = "The row was" if items.refused == 1 else f"All {items.refused} rows were"
    return Refusal(
        422,
        f"{rows} refused.",
        where=faults[0]["where"],
        how=f"It {faults[0]['what']}.",
        fields=faults,
    )


def _said(serving: Serving, items: Items, changed: int) -> Response:
    serving.counters.add("items_changed", changed)
    body = {
        "taken": items.taken,
        "changed": changed,
        "refused": items.refused,
        "fields": [_shown(each) for each in (*items.faults, *items.left_out)],
    }
    return Response(
        orjson.dumps(body), media_type="application/json", headers={"cache-control": "no-store"}
    )


def _shown(fault: Fault) -> dict[str, str]:
    return {"where": f"items {fault.row} {fault.field}".strip(), "what": fault.reason}
