"""The short way of plain requests answers as the routes do."""

from __future__ import annotations

import json
from typing import Any

import pytest
from server_process import Server

_ITS_OWN = ("took_ms", "request_id", "stages")


def answered(server: Server, path: str) -> tuple[int, dict[str, str], Any]:
    status, headers, body = server.get(path)
    found = json.loads(body)
    for name in _ITS_OWN:
        found.pop(name, None)
    for name in ("x-request-id", "date", "content-length"):
        headers.pop(name, None)
    return status, headers, found


@pytest.mark.parametrize(
    ("plain", "through_routes"),
    [
        ("/v1/search?q=dress", "/v1/search?q=dress&page=1"),
        ("/v1/search?q=Boho+%20LAMP&k=7", "/v1/search?k=7&q=Boho+%20LAMP"),
        ("/v1/search?q=caf%C3%A9", "/v1/search?q=caf%C3%A9&explain=false"),
        ("/v1/search?q=%ff", "/v1/search?q=%ff&page=1"),
        ("/v1/search?q=+", "/v1/search?q=+&page=1"),
        ("/v1/search?q=dress&k=99", "/v1/search?q=dress&k=99&page=1"),
        ("/v1/suggest?q=la", "/v1/suggest?k=8&q=la"),
        ("/v1/suggest?q=caf%C3%A9+&k=5", "/v1/suggest?k=5&q=caf%C3%A9+"),
        ("/v1/embed?q=dress", "/v1/embed?&q=dress"),
    ],
)
def test_plain_requests_answer_as_the_routes_do(
    server: Server, plain: str, through_routes: str
) -> None:
    server.get(through_routes)  # from now on the query's embedding is cached
    assert answered(server, plain) == answered(server, through_routes)


@pytest.mark.parametrize("path", ["/v1/search?q=", "/v1/search", "/v1/search?q=a&k=0"])
def test_what_is_not_plain_is_looked_at_by_the_routes(server: Server, path: str) -> None:
    assert server.get(path)[0] == 422
