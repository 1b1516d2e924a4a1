"""Pictures, the pages, and the API description as a page."""

from __future__ import annotations

from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Literal

import orjson
from fastapi import APIRouter, Depends, Request
from fastapi import Path as Parameter
from starlette.responses import Response

from omnisearch.engine.sources import RELATED, SOURCES
from omnisearch.engine.systems import SYSTEMS
from omnisearch.service.api_page import api_page
from omnisearch.service.errors import Refusal
from omnisearch.service.headers import COOKIE
from omnisearch.service.parameters import known_parameters
from omnisearch.service.serving.pictures import POLICY
from omnisearch.service.serving.serving import Serving

router = APIRouter()
_STRICT = [Depends(known_parameters)]
PAGES = (Path(__file__).parents[1] / "pages").resolve()
# By suffix; the table of the system may differ.
_KINDS = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".woff2": "font/woff2",
}
_FRESH = {"cache-control": "no-cache"}


@router.get(
    "/pictures/{entity}/{id:path}",
    tags=["pictures"],
    dependencies=_STRICT,
    response_class=Response,
    responses={
        200: {"content": {"image/*": {"schema": {"type": "string", "format": "binary"}}}},
        304: {"description": "The picture has not changed"},
    },
)
async def picture(
    request: Request,
    entity: Literal["pin", "product"],
    id: Annotated[str, Parameter(min_length=1, max_length=512)],
) -> Response:
    """The picture of an item, if it is a file in a folder that was imported."""
    serving: Serving = request.app.state.serving
    found = await serving.pool.run(serving.pictures.read, serving.snapshot, entity, id)
    if found is None:
        raise Refusal(404, "There is no picture of this item.", where="id")
    headers = {
        "content-security-policy": POLICY,
        "cache-control": "private, max-age=3600",
        "etag": found.tag,
    }
    if request.headers.get("if-none-match") == found.tag:
        return Response(status_code=304, headers=headers)
    return Response(found.content, media_type=found.kind, headers=headers)


@router.post(
    "/v1/session",
    status_code=204,
    tags=["operation"],
    dependencies=_STRICT,
    response_class=Response,
)
async def session(request: Request) -> Response:
    """Keep the API key of this request in a cookie, so that pages can load pictures.

    The cookie is sent by pages of this site only, and scripts cannot read it.
    """
    answer = Response(status_code=204, headers={"cache-control": "no-store"})
    key = request.headers.get("authorization", "").partition(" ")[2].strip()
    key = key or request.headers.get("x-api-key", "").strip()
    if key:
        answer.set_cookie(
            COOKIE, key, httponly=True, samesite="strict", secure=request.url.scheme == "https"
        )
    return answer


@router.get("/", include_in_schema=False)
@router.get("/compare", include_in_schema=False)
@router.get("/status", include_in_schema=False)
async def page(request: Request) -> Response:
    name = request.url.path.strip("/") or "index"
    return _file(request, f"{name}.html")


@router.get("/assets/names.js", include_in_schema=False)
async def names() -> Response:
    """What pages call systems and sources: a script, so that nobody keeps a copy of the names."""
    sources = (*SOURCES.values(), RELATED)
    left_out = {source.name: source.about for source in sources if source.about}
    tables = {
        "SYSTEM_NAMES": {system.name: system.label for system in SYSTEMS.values()},
        "WHAT": {system.name: system.about for system in SYSTEMS.values()},
        "LEFT_OUT": {"query_embedding": "the query’s embedding", **left_out},
    }
    lines = [
        f"export const {name} = {orjson.dumps(table).decode()};" for name, table in tables.items()
    ]
    return Response("\n".join(lines), media_type="text/javascript", headers=_FRESH)


@router.get("/assets/{name:path}", include_in_schema=False)
async def asset(request: Request, name: str) -> Response:
    return _file(request, name)


@router.get("/docs", include_in_schema=False)
async def docs(request: Request) -> Response:
    state = request.app.state
    if not hasattr(state, "docs"):  # it takes milliseconds
        state.docs = api_page(request.app.openapi()).encode()
    return _page(request, state.docs, "text/html")


@router.get("/openapi.json", include_in_schema=False)
async def description(request: Request) -> Response:
    state = request.app.state
    if not hasattr(state, "description"):
        state.description = orjson.dumps(request.app.openapi())
    return _page(request, state.description, "application/json")


def _file(request: Request, name: str) -> Response:
    """A file in the folder of the pages; raises Refusal 404 for anything else."""
    content = _files().get(name)
    if content is None:
        raise Refusal(404, "There is nothing here.", where=f"/assets/{name}"[:200])
    return _page(request, content, _KINDS[Path(name).suffix])


@lru_cache(maxsize=1)
def _files() -> dict[str, bytes]:
    """Name → content of each file of the pages: a few, and they do not change."""
    return {path.name: path.read_bytes() for path in PAGES.iterdir() if path.suffix in _KINDS}


def _page(request: Request, content: bytes, kind: str) -> Response:
    headers = {**_FRESH, "etag": f'"{_digest(content)}"'}
    if request.headers.get("if-none-match") == headers["etag"]:
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=kind, headers=headers)


@lru_cache(maxsize=256)
def _digest(content: bytes) -> str:
    return sha256(content).hexdigest()[:16]
