"""Processes that give way run also where a sandbox forbids other policies."""

from __future__ import annotations

import os

import pytest

from omnisearch.service.runtime.priority import give_way


def test_a_policy_that_is_not_permitted_is_done_without(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def refuse(*given: object) -> None:
        asked.append(given)
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "nice", asked.append)
    monkeypatch.setattr(os, "SCHED_BATCH", 3, raising=False)
    monkeypatch.setattr(os, "sched_param", int, raising=False)
    monkeypatch.setattr(os, "sched_setscheduler", refuse, raising=False)
    give_way(10, "SCHED_BATCH")
    assert asked == [10, (0, 3, 0)]
    give_way(5, "SCHED_OF_ANOTHER_SYSTEM")
    assert asked[2:] == [5]
