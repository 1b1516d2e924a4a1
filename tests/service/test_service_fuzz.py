"""Schemathesis asks what the OpenAPI description allows, and what it does not."""

from __future__ import annotations

import os
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from server_process import Server
from test_service_items import KEY, writable

from omnisearch.data.workspace import Workspace

schemathesis = pytest.importorskip("schemathesis", reason="the extra 'dev' is not installed")
from schemathesis.checks import not_a_server_error  # noqa: E402
from schemathesis.specs.openapi.checks import (  # noqa: E402
    ignored_auth,
    negative_data_rejection,
    positive_data_acceptance,
)

EXAMPLES = int(os.environ.get("OMNISEARCH_FUZZ_EXAMPLES", "15"))  # of each operation and mode
PATHS = (
    *(
        "/v1/search",
        "/v1/suggest",
        "/v1/related",
        "/v1/similar",
        "/v1/compare",
        "/v1/embed",
        "/v1/feedback",
    ),
    *("/v1/judgments", "/v1/status", "/v1/session", "/healthz", "/readyz", "/metrics"),
    "/pictures/{entity}/{id}",
    *("/v1/experiments", "/v1/experiments/{name}"),
)
ITEMS = ("/v1/items", "/v1/items/{entity}/{id}")  # only a service of their own may be asked
WITHOUT_INPUT = ("/v1/status", "/v1/experiments", "/v1/session", "/healthz", "/readyz", "/metrics")


def _operations(server: Server) -> list[Any]:
    schema = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
    return [result.ok() for result in schema.get_all_operations()]


@pytest.fixture(scope="module")
def operations(server: Server) -> dict[str, list[Any]]:
    """The operations of each path."""
    found: dict[str, list[Any]] = {}
    for operation in _operations(server):
        found.setdefault(operation.path, []).append(operation)
    return found


@pytest.mark.parametrize(
    ("path", "mode"),
    [(path, "positive") for path in PATHS]
    + [(path, "negative") for path in PATHS if path not in WITHOUT_INPUT],
)
def test_every_answer_is_one_that_the_description_allows(
    operations: dict[str, list[Any]], path: str, mode: str
) -> None:
    for operation in operations[path]:
        _fuzz(operation, schemathesis.GenerationMode(mode))


def test_every_answer_about_items_is_one_that_the_description_allows(served: Workspace) -> None:
    with writable(served) as server:
        for operation in _operations(server):
            if operation.path in ITEMS:
                for mode in ("positive", "negative"):
                    # A bad row does not lose the good ones: the answer is 200 and names it.
                    partly = [negative_data_rejection] if operation.method == "post" else []
                    # Requests without a key are soon answered by 429 (test_service_safety).
                    left_out = [ignored_auth, *partly]
                    _fuzz(operation, schemathesis.GenerationMode(mode), left_out, headers=KEY)
        assert not server.events("fault")


def _fuzz(operation: Any, mode: Any, excluded: Any = (), **asked: Any) -> None:
    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        derandomize=True,
        database=None,
    )
    def ask(case: Any) -> None:
        answer = case.call(**asked)
        # 503 is no fault where the deadline was drawn from 1 ms on, and 422 is none for a query
        # of signs that nobody can search for: both are described.
        late = answer.status_code == 503 and "deadline_ms" in (case.query or {})
        assert answer.status_code < 500 or late, answer.text
        # Too many rows (413) and too long an address (431): no refusals for Schemathesis.
        refused = [negative_data_rejection] if answer.status_code in (413, 431) else []
        others = [not_a_server_error, positive_data_acceptance, *excluded, *refused]
        case.validate_response(answer, excluded_checks=others)

    ask()


def test_all_paths_are_asked(operations: dict[str, list[Any]]) -> None:
    assert set(operations) == {*PATHS, *ITEMS}


def test_nothing_of_it_was_a_fault(server: Server) -> None:
    assert not server.events("fault")
    requests = server.json("/v1/status")["requests"]
    assert not any("500" in statuses for statuses in requests.values())
