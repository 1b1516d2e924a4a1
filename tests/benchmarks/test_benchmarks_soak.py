"""The soak's own checks: it must notice what it is there to notice."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pytest

pytest.importorskip("uvloop", reason="the extra 'serve' is not installed")

FOLDER = str(Path(__file__).parents[2] / "benchmarks")
HIT = {"entity": "pin", "id": "p1", "score": 0.25, "title": "a lamp soak 2", "image": None}
ANSWER = {"generation": 2, "query": "lamp", "hits": [HIT], "took_ms": 1.0}


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(FOLDER)
    names = ("load", "service_process", "soak", "soak_truth")
    before = {name: sys.modules.pop(name, None) for name in names}
    import soak
    import soak_truth

    yield SimpleNamespace(soak=soak, truth=soak_truth)
    for name in names:
        sys.modules.pop(name, None)
        if before[name] is not None:
            sys.modules[name] = before[name]


def soaked(parts: Any, answers: list[dict[str, Any]]) -> Any:
    """A soak after these answers, where generation 2 answers ANSWER."""
    search = parts.truth.Question("search", b"", "lamp")
    options = SimpleNamespace(connections=1, rate=1.0)
    soak = parts.soak.Soak(SimpleNamespace(pids=[1]), [search], options)
    titles = {("pin", "p1"): "a lamp soak 2"}
    soak.truths[2] = parts.truth.Truth(2, 0.0, [parts.truth.said(ANSWER)], titles, (0, 0))
    for answer in answers:
        soak._count(0, orjson.dumps(answer))
    return soak


@pytest.mark.parametrize(
    "change",
    [
        {"hits": [{**HIT, "score": 0.2500001}]},
        {"hits": [{**HIT, "title": "a lamp soak 1"}]},
        {"hits": []},
        {"generation": 3},
        {"degraded": ["learned_pins"], "hits": [{**HIT, "title": "a lamp soak 3"}]},
    ],
)
def test_an_answer_that_is_not_its_generations_is_wrong(parts: Any, change: dict) -> None:
    assert parts.soak.wrong_answers(soaked(parts, [{**ANSWER, **change}]))


def test_what_may_differ_is_not_wrong(parts: Any) -> None:
    other = {**ANSWER, "took_ms": 9.0, "hits": [{**HIT, "image": "/pictures/pin/p1"}]}
    degraded = {**ANSWER, "degraded": ["learned_pins"]}
    assert not parts.soak.wrong_answers(soaked(parts, [ANSWER, other, degraded]))


def test_only_a_killed_workers_connections_may_break(parts: Any) -> None:
    soak = soaked(parts, [])
    soak.kills.append((0.0, 7))
    for owner in (7, 8, None):
        connection = SimpleNamespace(tag={"owner": owner, "place": 0})
        soak._failed(connection, 0, b"")
    assert (soak.seen.lost, len(soak.seen.faults)) == (1, 2)
    soak._failed(SimpleNamespace(tag={"owner": 7, "place": 0}), 500, b"")
    assert len(soak.seen.faults) == 3
