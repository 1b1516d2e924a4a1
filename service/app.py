"""The ASGI application."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.causes import cause_of
from omnisearch.data.workspace.errors import OmniError
from omnisearch.service.config import ServiceConfig, service_config
from omnisearch.service.errors import Refusal, error_body, error_headers, internal_body, status_of
from omnisearch.service.gate.gate import Gate, endpoint_of
from omnisearch.service.gate.keys import Keys, add_security
from omnisearch.service.parameters import query_parameters
from omnisearch.service.routes import embed as routes_embed
from omnisearch.service.routes import experiments as routes_experiments
from omnisearch.service.routes import feedback as routes_feedback
from omnisearch.service.routes import items as routes_items
from omnisearch.service.routes import operations as routes_ops
from omnisearch.service.routes import pages as routes_pages
from omnisearch.service.routes import search as routes_search
from omnisearch.service.routes import suggest as routes_suggest
from omnisearch.service.schemas import ErrorAnswer
from omnisearch.service.serving.counters import Counters
from omnisearch.service.serving.lane import Lane
from omnisearch.service.serving.log import JsonLog
from omnisearch.service.serving.reports import Reports
from omnisearch.service.serving.serving import Serving
from omnisearch.service.validation import sentences

_ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorAnswer, "description": what}
    for status, what in (
        (400, "The request is malformed"),
        (401, "An API key is required, or the one sent is not known"),
        (403, "The API key lacks the scope that this needs"),
        (404, "Not found"),
        (413, "The body is too large"),
        (421, "The host name is not one of the service's"),
        (422, "A parameter or field is invalid"),
        (429, "Too many requests"),
        (431, "The address and the headers are too large"),
        (503, "Too busy; Retry-After says when to try again"),
    )
}


def create_app(
    workspace: Workspace | Path | str,
    config: ServiceConfig | None = None,
    counters: Counters | None = None,
    log: JsonLog | None = None,
    avoid: frozenset[int] = frozenset(),
) -> Gate:
    """The service over a workspace, for any ASGI server; the index is opened at startup.

    Args:
        config: None reads the workspace's settings.
        counters: shared with other workers; None makes new ones.
        log: None writes to stderr.
        avoid: generations that are not opened: they ended a worker when it did.

    Raises:
        InputError: a setting or the file of API keys is invalid.
    """
    if not isinstance(workspace, Workspace):
        workspace = Workspace.open(workspace)
    config = config or service_config(workspace)
    counters = counters or Counters(Counters.make(1, workspace.root), 1)
    serving = Serving(workspace, config, counters, log or JsonLog(), avoid)
    keys = Keys(config, serving.log.line)
    lane, reports = Lane(2 * config.batch_queries), Reports(workspace.root)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        if not serving.opened:
            serving.open()
        lane.behind(serving.pool)
        await serving.start(keys.look)
        yield
        await reports.close()
        await serving.close()
        lane.close()

    app = FastAPI(
        title="OmniSearch",
        version="1",
        description="Query embeddings, search and feedback over one workspace.",
        lifespan=lifespan,
        docs_url=None,
        openapi_url=None,
        redoc_url=None,
        responses=_ERRORS,
        redirect_slashes=False,
    )
    app.state.serving, app.state.lane, app.state.reports = serving, lane, reports
    all_routes = (
        *(routes_search, routes_suggest, routes_embed, routes_feedback, routes_items, routes_ops),
        routes_experiments,
    )
    for routes in (*all_routes, routes_pages):
        app.include_router(routes.router)
    app.state.parameters = query_parameters(app)
    add_security(app.openapi(), keys.required, endpoint_of)
    app.state.pages = routes_pages.all_pages(app)
    app.add_exception_handler(OmniError, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _fault)
    return Gate(app, serving, lane, config, keys)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, OmniError)
    headers = {name.decode(): value.decode() for name, value in error_headers(error)}
    return Response(error_body(error), status_of(error), headers)


async def _invalid(request: Request, error: Exception) -> Response:
    """Answer 422 with each invalid field, or 400 where the body is not JSON."""
    assert isinstance(error, RequestValidationError)
    fields = sentences(error.errors()[:50])
    unreadable = any(found["type"] == "json_invalid" for found in error.errors())
    first = fields[0] if fields else {"where": "", "what": "The request is invalid."}
    status = 400 if unreadable else 422
    what = "The body is not JSON." if unreadable else first["what"]
    refusal = Refusal(status, what, where=first["where"], how="See /docs.", fields=fields)
    return await _refused(request, refusal)


async def _fault(request: Request, error: Exception) -> Response:
    """Answer 503 to a known cause, 500 to an unexpected error; the gate has logged it."""
    known = cause_of(error)
    if known is not None:
        return await _refused(request, known)
    return Response(internal_body(), 500, media_type="application/json")


async def _http(request: Request, error: Exception) -> Response:
    """Answer unknown paths and methods."""
    assert isinstance(error, HTTPException)
    what = {404: "There is nothing here.", 405: "This address does not take this method."}
    said = what.get(error.status_code, str(error.detail))
    refusal = Refusal(error.status_code, said, where=request.url.path, how="See /docs.")
    answer = await _refused(request, refusal)
    answer.headers.update(error.headers or {})
    return answer
