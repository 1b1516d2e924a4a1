"""What steps aside for searches makes no step meanwhile, and does not wait for ever."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, cast

from omnisearch.data.workspace.steps import end_step
from omnisearch.service.serving.aside import _PATIENCE, stepping_aside
from omnisearch.service.serving.pool import Pool


class _Searches:
    under_way = 0


def _working(searches: _Searches, done: list[int], steps: int) -> threading.Thread:
    def work() -> None:
        with stepping_aside(cast(Pool, searches)):
            for at in range(steps):
                done.append(at)
                end_step()
                time.sleep(0.001)

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def _until(true: Callable[[], Any]) -> None:
    until = time.monotonic() + 10
    while not true() and time.monotonic() < until:
        time.sleep(0.001)


def test_no_step_is_made_while_a_search_is_under_way() -> None:
    searches, done = _Searches(), list[int]()
    thread = _working(searches, done, 300)
    _until(lambda: len(done) > 5)
    searches.under_way = 1
    time.sleep(0.02)  # the step that was being made
    before = len(done)
    time.sleep(_PATIENCE / 4)
    assert len(done) == before
    searches.under_way = 0
    thread.join(10)
    assert done == list(range(300))


def test_searches_without_end_do_not_hold_it_up_for_ever() -> None:
    searches, done = _Searches(), list[int]()
    searches.under_way = 1
    begun = time.monotonic()
    _working(searches, done, 20).join(10)
    assert done == list(range(20))
    assert time.monotonic() - begun >= _PATIENCE


def test_afterwards_and_in_other_threads_nothing_waits() -> None:
    searches = _Searches()
    searches.under_way = 1
    begun = time.monotonic()
    with stepping_aside(cast(Pool, searches)):
        thread = threading.Thread(target=end_step)
        thread.start()
        thread.join(10)
    end_step()
    assert time.monotonic() - begun < _PATIENCE
