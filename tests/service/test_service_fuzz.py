"""Schemathesis asks what the OpenAPI description allows, and what it does not."""

from __future__ import annotations

import os
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from server_process import Server

schemathesis = pytest.importorskip("schemathesis", reason="the extra 'dev' is not installed")
from schemathesis.checks import not_a_server_error  # noqa: E402
from schemathesis.specs.openapi.checks import positive_data_acceptance  # noqa: E402

EXAMPLES = int(os.environ.get("OMNISEARCH_FUZZ_EXAMPLES", "15"))  # of each operation and mode
PATHS = (
    *("/v1/search", "/v1/related", "/v1/similar", "/v1/compare", "/v1/embed", "/v1/feedback"),
    *("/v1/judgments", "/v1/status", "/v1/session", "/healthz", "/readyz", "/metrics"),
    "/pictures/{entity}/{id}",
)
WITHOUT_INPUT = ("/v1/status", "/v1/session", "/healthz", "/readyz", "/metrics")


@pytest.fixture(scope="module")
def operations(server: Server) -> dict[str, list[Any]]:
    """The operations of each path."""
    schema = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
    found: dict[str, list[Any]] = {}
    for result in schema.get_all_operations():
        operation = result.ok()
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


def _fuzz(operation: Any, mode: Any) -> None:
    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        derandomize=True,
        database=None,
    )
    def ask(case: Any) -> None:
        answer = case.call()
        # 503 is no fault where the deadline was drawn from 1 ms on, and 422 is none for a query
        # of signs that nobody can search for: both are described.
        late = answer.status_code == 503 and "deadline_ms" in (case.query or {})
        assert answer.status_code < 500 or late, answer.text
        case.validate_response(
            answer, excluded_checks=[not_a_server_error, positive_data_acceptance]
        )

    ask()


def test_all_paths_are_asked(operations: dict[str, list[Any]]) -> None:
    assert set(operations) == set(PATHS)


def test_nothing_of_it_was_a_fault(server: Server) -> None:
    assert not server.events("fault")
    requests = server.json("/v1/status")["requests"]
    assert not any("500" in statuses for statuses in requests.values())
