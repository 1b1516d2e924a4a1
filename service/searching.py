"""A search within a deadline: whoever is late is left out, and the answer says so.

Of the time there is, the model may take 60%, sources begin until 80%; at 90% the answer is made
of what the sources have returned by then, even if one of them hangs.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any

from omnisearch.engine.filters import Filters
from omnisearch.engine.given import Given
from omnisearch.engine.query_embeddings.embedder import Overloaded
from omnisearch.engine.response import Response
from omnisearch.engine.systems import system_named
from omnisearch.service.errors import busy
from omnisearch.service.runtime.serving import Serving

MODEL_SHARE, SOURCES_SHARE, ANSWER_SHARE = 0.6, 0.8, 0.9


@dataclass(frozen=True)
class Search:
    """What is searched for; `deadline` is in seconds from now."""

    query: str
    deadline: float
    k: int = 20
    page: int = 1
    system: str = "full"
    filters: Filters = field(default_factory=Filters)
    explain: bool = False


async def given_for(serving: Serving, query: str, deadline: float, encode: bool = True) -> Given:
    """The view that a request answers from, with the query's embedding if it comes in time."""
    started = time.monotonic()
    live = serving.live
    given = Given(live, until=started + SOURCES_SHARE * deadline)
    searched = live.searched(query) if encode else ""
    if not searched:
        return given
    given.vector = serving.embedder.cached(searched, live.encoder)
    given.cached = given.vector is not None
    if given.vector is None:
        try:
            found = await serving.embedder.embed([searched], MODEL_SHARE * deadline, live.encoder)
            given.vector = found[0]
        except (TimeoutError, Overloaded):
            serving.board.add("degraded")
    return given


async def search(serving: Serving, wanted: Search) -> Response:
    """One page of results, in time.

    Raises:
        InputError: as `SearchEngine.search`.
        Refusal: 503, where nothing can be left out: the system has no source without the model,
            or too many searches wait.
    """
    end = time.monotonic() + ANSWER_SHARE * wanted.deadline
    system = system_named(wanted.system)
    given = await given_for(serving, wanted.query, wanted.deadline, system.needs_vector)
    if given.vector is None and given.cached is False and "token" not in system.kinds:
        raise busy("The model did not encode the query in time.")

    def run(given: Given) -> Response:
        return serving.engine.search(
            wanted.query,
            wanted.k,
            wanted.page,
            wanted.filters,
            wanted.explain,
            wanted.system,
            given,
        )

    future = serving.pool.run(run, given)
    try:
        left = max(0.001, end - time.monotonic())
        found = await asyncio.wait_for(asyncio.shield(future), left)
        if not given.found:  # all began too late
            raise busy("No source answered in time.")
        return found
    except TimeoutError:
        if given.retrieved:  # it only has to be put in order
            return await future
        serving.board.add("degraded")
        if not given.found:  # not begun, or its first source hangs: there is nothing to show
            future.cancel()
            raise busy("No source answered in time.") from None
        return await serving.pool.run(run, given.rescue(), urgent=True)


async def in_time(serving: Serving, deadline: float, call: Any, *args: Any) -> Any:
    """What a call of the engine returns; raises Refusal 503 where it takes too long."""
    future = serving.pool.run(call, *args)
    try:
        return await asyncio.wait_for(asyncio.shield(future), deadline)
    except TimeoutError:
        raise busy("The engine did not answer in time.") from None
