"""Pictures, the pages, and the API description as a page."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Literal

import orjson
from fastapi import APIRouter, Depends, FastAPI, Request
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
    ".html": "text/html; charset=utf-8",
    ".json": "application/json",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".woff2": "font/woff2",
}
_HTML = {
    "/": "index.html",
    "/compare": "compare.html",
    "/experiments": "experiments.html",
    "/status": "status.html",
}


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


async def page(request: Request) -> Response:
    """A page that the gate does not answer (`Gate._quick`): not changed, or not there."""
    found = request.app.state.pages.get(request.url.path)
    if found is None:
        raise Refusal(404, "There is nothing here.", where=request.url.path[:200])
    headers = {name.decode(): value.decode() for name, value in found.headers}
    if request.headers.get("if-none-match") == headers["etag"]:
        return Response(status_code=304, headers=headers)
    return Response(found.content, headers=headers)


for _path in (*_HTML, "/docs", "/openapi.json", "/assets/{name:path}"):
    router.add_api_route(_path, page, include_in_schema=False)


@dataclass(frozen=True)
class Page:
    """One page, script or style, and its headers."""

    content: bytes
    headers: list[tuple[bytes, bytes]]


def all_pages(app: FastAPI) -> dict[str, Page]:
    """Path → page: they do not change while the service runs."""
    files = {path.name: path.read_bytes() for path in PAGES.iterdir() if path.suffix in _KINDS}
    schema = app.openapi()
    contents = {
        **{f"/assets/{name}": content for name, content in files.items()},
        **{path: files[name] for path, name in _HTML.items()},
        "/assets/names.js": _names(),
        "/docs": api_page(schema).encode(),
        "/openapi.json": orjson.dumps(schema),
    }
    return {path: _page(path, content) for path, content in contents.items()}


def _page(path: str, content: bytes) -> Page:
    kind, tag = _KINDS[Path(path).suffix or ".html"], sha256(content).hexdigest()[:16]
    headers = {"content-type": kind, "cache-control": "no-cache", "etag": f'"{tag}"'}
    return Page(content, [(name.encode(), value.encode()) for name, value in headers.items()])


def _names() -> bytes:
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
    return "\n".join(lines).encode()
