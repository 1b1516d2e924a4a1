"""A search within a deadline: what is late is left out, and the answer says so.

The model may take 60% of the time, and no source starts after 80%; by then what a cluster was asked
is given up, and of a query's spelling after 30%. At 90% the answer is made of what the sources have
returned by then, even if one of them hangs.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from omnisearch.data.catalogue.searches import FIRST, Logged, country_code
from omnisearch.data.catalogue.shown_ads import ShownAd
from omnisearch.engine.filters import Filters
from omnisearch.engine.index import SourceResult
from omnisearch.engine.query import Query
from omnisearch.engine.query_embeddings.jobs import Overloaded
from omnisearch.engine.response import Response
from omnisearch.engine.retrieval import needs_vector, sources_in
from omnisearch.engine.searcher import Searcher
from omnisearch.engine.snapshot import Snapshot
from omnisearch.engine.systems import SYSTEMS
from omnisearch.evaluation.experiments.definition import INTERLEAVE
from omnisearch.evaluation.experiments.interleaving import turns
from omnisearch.evaluation.experiments.running import Arm
from omnisearch.indexer.cluster.time_left import trips_until
from omnisearch.service.errors import busy
from omnisearch.service.serving.serving import Serving

SPELLING_SHARE, MODEL_SHARE, SOURCES_SHARE, ANSWER_SHARE = 0.3, 0.6, 0.8, 0.9


@dataclass
class Deadline:
    """An `engine.context.SearchContext` in which nothing begins after `until`.

    Attributes:
        until: in seconds of `time.monotonic()`.
    """

    until: float
    results: dict[str, SourceResult] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    retrieved: bool = False

    def may_begin(self, name: str) -> bool:
        if time.monotonic() <= self.until:
            return True
        self.left_out.append(name)
        return False

    def rescue(self) -> Deadline:
        """A context for an answer from what the sources have returned by now: nothing may begin."""
        return Deadline(0.0, dict(self.results))


@dataclass(frozen=True)
class Asked:
    """A request's query in the snapshot that it is answered from.

    Attributes:
        query: with its vector, if there was time for one and a need.
        cached: whether that was cached; None where no vector was needed.
    """

    snapshot: Snapshot
    query: Query
    cached: bool | None
    context: Deadline

    @property
    def missing(self) -> bool:
        """Whether the model did not encode the query in time."""
        return self.cached is False and self.query.vector is None


@dataclass(frozen=True)
class Search:
    """A search request; `deadline` is in seconds from now."""

    query: str
    deadline: float
    k: int = 20
    page: int = 1
    system: str = "full"
    filters: Filters = field(default_factory=Filters)
    explain: bool = False
    query_language: str | None = None
    sort: str | None = None
    facets: tuple[str, ...] = ()
    user: str | None = None
    user_country: str | None = None
    device: str | None = None


async def read_in_time(
    serving: Serving,
    text: str,
    deadline: float,
    encode: bool = True,
    language: str | None = None,
    snapshot: Snapshot | None = None,
) -> Asked:
    """The query of a request, with its embedding if that comes in time.

    Args:
        snapshot: what it is answered from; None is the newest.
    """
    start = time.monotonic()
    context = Deadline(start + SOURCES_SHARE * deadline)
    snapshot = snapshot or serving.snapshot
    if snapshot.index.one_trip:  # a cluster may be asked for the spelling: not in the event loop
        until = start + SPELLING_SHARE * deadline
        query = await in_time(serving, deadline, before, until, snapshot.query, text, language)
    else:
        query = snapshot.query(text, language)
    if not (encode and snapshot.embeds):
        return Asked(snapshot, query, None, context)
    vector = serving.embedder.cached(query.text, snapshot.encoder)
    cached = vector is not None
    if vector is None:
        budget = max(0.001, start + MODEL_SHARE * deadline - time.monotonic())
        with suppress(TimeoutError, Overloaded):
            vector = (await serving.embedder.embed([query.text], budget, snapshot.encoder))[0]
    return Asked(snapshot, query.with_vector(vector), cached, context)


async def search(serving: Serving, wanted: Search, arm: Arm | None = None) -> Response:
    """One page of results, in time.

    Args:
        arm: the variant of an experiment that answers; None is what is live.

    Raises:
        InputError, NoEmbeddings: as `Searcher.search`.
        Refusal: 503, if no source answered in time, if the model was late and every source of the
            system needs it, or if too many searches wait.
    """
    end = time.monotonic() + ANSWER_SHARE * wanted.deadline
    arm = arm or Arm("", "", wanted.system, serving.snapshot, serving.engine.config)
    system = SYSTEMS.named(arm.system, "system")
    encode, language = needs_vector(arm.snapshot, system), wanted.query_language
    asked = await read_in_time(
        serving, wanted.query, wanted.deadline, encode, language, arm.snapshot
    )
    if asked.missing and all(s.needs_vector for s in sources_in(asked.snapshot, system)):
        raise busy("The model did not encode the query in time.")
    searcher, context = Searcher(arm.snapshot, serving.engine.cache, arm.config), asked.context

    def run(context: Deadline) -> Response:
        with trips_until(context.until):
            found = searcher.search(
                asked.query,
                wanted.k,
                wanted.page,
                wanted.filters,
                wanted.explain,
                system.name,
                context,
                sort=wanted.sort,
                facets=wanted.facets,
                user_country=wanted.user_country,
            )
        return replace(found, cached=asked.cached)

    future = serving.pool.run(run, context)
    try:
        left = max(0.001, end - time.monotonic())
        found = await asyncio.wait_for(asyncio.shield(future), left)
        if not context.results:  # all would have begun too late
            raise busy("No source answered in time.")
        return found
    except TimeoutError:
        if context.retrieved:  # only the ranking is left to do
            return await future
        if not context.results:  # it has not begun, or its first source hangs
            future.cancel()
            raise busy("No source answered in time.") from None
        return await serving.pool.run(run, context.rescue(), urgent=True)


async def users_search(
    serving: Serving, wanted: Search, request_id: str
) -> tuple[Response, Arm | None]:
    """A search as the user's variant of the running experiment answers it, and that variant.

    The search is logged, and so are its ads, whoever searches. Who names another system than 'full'
    gets that, and takes no part.

    Raises:
        as `search`.
    """
    found, arm = await _of_variant(serving, wanted, request_id)
    serving.counters.add("degraded", int(bool(found.degraded)))
    now = time.time_ns() // 1_000_000
    for hit in found.hits:
        if hit.campaign is not None:
            item = (hit.campaign, hit.entity, hit.id, found.query)
            serving.searches.add(ShownAd(request_id, hit.rank, now, *item))
    return found, arm


async def _of_variant(
    serving: Serving, wanted: Search, request_id: str
) -> tuple[Response, Arm | None]:
    running = serving.running
    if running is None or wanted.user is None or wanted.system != "full":
        return await search(serving, wanted), None
    user, arms = running.of(wanted.user)
    arm, drafted, shown = arms[0], "", ""
    if len(arms) == 1:
        found = await search(serving, wanted, arm)
        if arm.experiment and _may_be_judged(wanted):
            first = [(hit.entity, hit.id) for hit in found.hits[:FIRST]]
            shown = orjson.dumps(first).decode()
    else:
        # An auction gives ads the places of one feed, not of two.
        plain = [replace(arm, config=replace(arm.config, campaigns=False)) for arm in arms]
        found, drafted = await _interleaved(serving, wanted, plain, user)
        arm = replace(arm, variant=INTERLEAVE)
    serving.searches.add(
        Logged(
            request_id,
            time.time_ns() // 1_000_000,
            user,
            arm.experiment,
            arm.variant,
            found.query,
            found.language or "",
            found.page,
            found.total,
            found.took_ms,
            found.generation,
            drafted,
            country_code(wanted.user_country),
            wanted.device or "",
            shown,
        )
    )
    return found, arm


def _may_be_judged(wanted: Search) -> bool:
    """Whether the query alone says what was wanted, so that judges can grade the results.

    A shop may always ask for products.
    """
    plain = wanted.sort is None and wanted.filters == Filters(entity=wanted.filters.entity)
    return plain and wanted.page == 1 and wanted.k >= FIRST


async def _interleaved(
    serving: Serving, wanted: Search, arms: list[Arm], user: bytes
) -> tuple[Response, str]:
    """A page of two variants' results in turns, and whose they are, as the log has it."""
    end = wanted.page * wanted.k
    both = replace(wanted, k=end, page=1)
    first, second = await asyncio.gather(*(search(serving, both, arm) for arm in arms))
    hits = {(hit.entity, hit.id): hit for hit in (*second.hits, *first.hits)}
    a, b = ([(hit.entity, hit.id) for hit in found.hits] for found in (first, second))
    merged = turns(a, b, user, first.query, end)
    page = range(end - wanted.k, len(merged.keys))
    shown = [replace(hits[merged.keys[place]], rank=place + 1) for place in page]
    drafted = [[*merged.keys[place], float(merged.of_b[place])] for place in page]
    answer = replace(
        first,
        hits=shown,
        page=wanted.page,
        total=max(first.total, second.total),
        took_ms=max(first.took_ms, second.took_ms),
        degraded=list(dict.fromkeys((*first.degraded, *second.degraded))),
    )
    return answer, orjson.dumps(drafted).decode()


async def in_time(serving: Serving, deadline: float, call: Any, *args: Any) -> Any:
    """The result of a call of the engine; raises Refusal 503 if it takes too long."""
    future = serving.pool.run(before, time.monotonic() + SOURCES_SHARE * deadline, call, *args)
    try:
        return await asyncio.wait_for(asyncio.shield(future), deadline)
    except TimeoutError:
        raise busy("The engine did not answer in time.") from None


def before(until: float, call: Any, *args: Any) -> Any:
    """The result of a call whose trips to a cluster end at a moment of `time.monotonic()`."""
    with trips_until(until):
        return call(*args)
