"""Checks before each request, and headers, counters and the log after it.

Plain ASGI around the FastAPI application. The most frequent requests are answered without it
(`service.gate.quick`).
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from itertools import count
from typing import Any

from omnisearch.data.workspace.causes import cause_of
from omnisearch.data.workspace.errors import OmniError
from omnisearch.service.config import ServiceConfig
from omnisearch.service.errors import Refusal, error_body, error_headers, internal_body, status_of
from omnisearch.service.gate.guard import (
    WRONG_KEYS_BURST,
    WRONG_KEYS_RATE,
    Bodies,
    Hosts,
    Rates,
)
from omnisearch.service.gate.keys import SCOPE_OF, Keys, key_of
from omnisearch.service.gate.quick import quick_answer
from omnisearch.service.gate.turns import Turns
from omnisearch.service.headers import PREFLIGHT, common_headers, cors_headers
from omnisearch.service.routes.pages import Page
from omnisearch.service.routes.suggest import CACHED
from omnisearch.service.serving.counters import ENDPOINTS
from omnisearch.service.serving.lane import SMALL, Lane
from omnisearch.service.serving.serving import Serving

_PLACES = {name: place for place, name in enumerate(ENDPOINTS)}
_PATHS = {
    **{f"/v1/{name}": name for name in ("search", "embed", "compare", "related", "similar")},
    **{f"/v1/{name}": name for name in ("suggest", "feedback", "judgments", "items", "status")},
    "/v1/experiments": "experiments",
    **{
        path: "pages"
        for path in ("/", "/compare", "/status", "/experiments", "/docs", "/openapi.json")
    },
}
_OPEN = frozenset(("pages", "probes"))  # no key required
_URGENT = frozenset(("search", "suggest", "probes"))  # these do not wait for their turn
# Seconds between two pages, or two parts of large bodies: 500 of them a second are enough, and
# leave the event loop to searches.
_GAP = 0.002
_COSTS = {"suggest": 0.1}  # of a client's requests per second; the others count 1
_MOST_PARAMETERS = 64  # of a query: thousands would take long to read
_FORBIDDEN_ID = re.compile(rb"[^A-Za-z0-9._-]")


class Gate:
    """The ASGI application of the service; `app` has the routes."""

    def __init__(
        self,
        app: Any,
        serving: Serving,
        lane: Lane,
        config: ServiceConfig,
        keys: Keys,
    ) -> None:
        self.app, self.serving, self.lane, self.config = app, serving, lane, config
        self._turns = Turns()
        self._turns_of_pages = Turns(lambda: serving.pool.under_way, _GAP)
        self._pages: dict[str, Page] = app.state.pages
        self._keys = keys
        self._hosts = Hosts(config.allowed_hosts)
        self._wrong_keys = Rates(WRONG_KEYS_RATE, WRONG_KEYS_BURST)
        self._rates = Rates(config.client_rate, config.burst) if config.client_rate else None
        self._bodies = Bodies(config.body_seconds, Turns(lambda: serving.pool.under_way, _GAP))
        self._common = common_headers(config)
        self._origins = frozenset(origin.encode() for origin in config.cors.split())
        self._run, self._numbers = os.urandom(4).hex(), count(1)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        if scope["type"] != "http":
            return await send({"type": "websocket.close", "code": 1003})
        await self._answer(scope, receive, send)

    async def _answer(self, scope: Any, receive: Any, send: Any) -> None:
        start = time.perf_counter()
        endpoint = endpoint_of(scope["path"], scope["method"])
        headers = dict(scope["headers"])
        request_id = self._request_id(headers)
        scope["omnisearch.id"] = request_id
        extra = [*self._common, (b"x-request-id", request_id.encode())]
        if endpoint == "pictures":  # the route sets a stricter policy
            extra = [header for header in extra if header[0] != b"content-security-policy"]
        origin = headers.get(b"origin", b"")
        if origin in self._origins:
            extra += cors_headers(origin)
        status, sent, gone, ended = 0, 0, False, False

        async def answer(message: Any) -> None:
            nonlocal status, sent, gone, ended
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), *extra]
            else:
                sent += len(message.get("body", b""))
                ended = not message.get("more_body", False)
            try:
                await send(message)
            except (RuntimeError, OSError):  # the connection is closed
                gone = True
                raise

        if endpoint not in _URGENT:
            await (self._turns_of_pages if endpoint == "pages" else self._turns).wait()
        try:
            client = self._admit(scope, headers, endpoint)
            if scope["method"] == "OPTIONS" and origin in self._origins:
                await _send(answer, 204, PREFLIGHT, b"")
            elif not await self._quick(scope, headers, endpoint, request_id, answer):
                inside = await self._inside(scope, headers, endpoint, receive)
                if inside is not None:
                    await self.app(scope, inside, answer)
        except OmniError as error:
            client = None
            if not status:
                await _send(answer, status_of(error), error_headers(error), error_body(error))
            if status_of(error) == 500 or not isinstance(error, Refusal):
                self.serving.log.line("refused", request_id=request_id, error=str(error))
        except Exception as error:
            client = None
            known = None if gone else cause_of(error)
            if not gone:
                self.serving.say_fault(request_id, error)
            if status and not (ended or gone):
                raise  # the server must close the connection after half an answer
            kind = [(b"content-type", b"application/json")]
            if known is not None and not status:
                await _send(answer, status_of(known), error_headers(known), error_body(known))
            elif not status:
                await _send(answer, 500, kind, internal_body())
        seconds = time.perf_counter() - start
        self.serving.counters.observe(_PLACES.get(endpoint, len(ENDPOINTS) - 1), status, seconds)
        if self.config.log_requests:
            self._log(scope, request_id, client, status, sent, seconds)

    def _admit(self, scope: Any, headers: Mapping[bytes, bytes], endpoint: str) -> str | None:
        """The client's name for the log; raises Refusal 401, 403, 421 or 429."""
        name = None
        address = (scope.get("client") or ("",))[0]
        if endpoint != "probes":
            self._hosts.check(headers.get(b"host", b""))
        scope_needed = SCOPE_OF.get(endpoint)
        needed = scope_needed == "write" or (self._keys.required and endpoint not in _OPEN)
        if needed and scope["method"] != "OPTIONS":
            name = self._keys.admit(headers, scope_needed)
            if name is None:
                self._wrong_keys.take(address)
                raise _no_key(key_of(headers, scope_needed))
        if self._rates and endpoint != "probes":
            self._rates.take(name or address, _COSTS.get(endpoint, 1.0))
        if scope["query_string"].count(b"&") >= _MOST_PARAMETERS:
            raise Refusal(
                422,
                f"There are more than {_MOST_PARAMETERS} parameters.",
                where="query",
                how="See /docs.",
            )
        return name

    async def _quick(
        self, scope: Any, headers: Any, endpoint: str, request_id: str, answer: Any
    ) -> bool:
        """Answer a request that needs no route; returns whether it could."""
        if scope["method"] != "GET":
            return False
        if endpoint == "pages":
            page = self._pages.get(scope["path"]) if b"if-none-match" not in headers else None
            if page is not None:
                await _send(answer, 200, page.headers, page.content)
            return page is not None
        query = scope["query_string"]
        body = await quick_answer(self.serving, endpoint, query, request_id)
        if body is None:
            return False
        stored = CACHED.encode() if endpoint == "suggest" else b"no-store"
        kind = [(b"content-type", b"application/json"), (b"cache-control", stored)]
        await _send(answer, 200, kind, body)
        return True

    async def _inside(
        self, scope: Any, headers: Mapping[bytes, bytes], endpoint: str, receive: Any
    ) -> Any:
        """A `receive` for the routes, with the whole body; None if the client has gone."""
        if scope["method"] in ("GET", "HEAD", "OPTIONS"):
            return receive
        large = endpoint == "embed_batch"
        most = self.config.batch_bytes if large else self.config.body_bytes
        if int(headers.get(b"content-length") or SMALL + 1) > SMALL:
            self.lane.check()  # before it is read
        body = await self._bodies.read(headers, receive, most)
        if body is None:
            return None
        messages = iter([{"type": "http.request", "body": body, "more_body": False}])

        async def receive_whole() -> Any:
            return next(messages, None) or await receive()

        return receive_whole

    def _request_id(self, headers: Mapping[bytes, bytes]) -> str:
        given = headers.get(b"x-request-id", b"")
        if given and len(given) <= 64 and not _FORBIDDEN_ID.search(given):
            return given.decode("ascii")
        return f"{self._run}-{next(self._numbers)}"

    def _log(
        self,
        scope: Any,
        request_id: str,
        client: str | None,
        status: int,
        sent: int,
        seconds: float,
    ) -> None:
        fields = (
            {"query": scope["query_string"].decode("latin-1")} if self.config.log_queries else {}
        )
        self.serving.log.line(
            "request",
            request_id=request_id,
            method=scope["method"],
            path=scope["path"],
            status=status,
            bytes=sent,
            ms=round(seconds * 1000, 3),
            key=client,
            **fields,
        )


def endpoint_of(path: str, method: str) -> str:
    """The name under which a request is counted."""
    name = _PATHS.get(path)
    if name is not None:
        return "embed_batch" if name == "embed" and method == "POST" else name
    if path.startswith("/v1/experiments/"):
        return "experiments"
    if path.startswith("/v1/items/"):
        return "items"
    if path.startswith("/pictures/"):
        return "pictures"
    if path.startswith("/assets/"):
        return "pages"
    return "probes" if path in ("/healthz", "/readyz") else "other"


def _no_key(shown: bytes) -> Refusal:
    """Why a request without a known key is refused; `shown` is the key that it carries."""
    if shown:
        what, how = "This API key is not known.", "Send a key that this service was given."
    else:
        what, how = "An API key is required.", "Send the header: Authorization: Bearer KEY"
    return Refusal(401, what, where="Authorization", how=how)


async def _send(send: Any, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    length = [] if status == 204 else [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*headers, *length]})
    await send({"type": "http.response.body", "body": body})
