"""Opening the engine of a worker: what is live, or else the best that can be opened.

A worker that takes another's place must serve even if what was published last is damaged: its
neighbours, who have an earlier generation open, do.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import lru_cache
from typing import Any

import numpy as np

from omnisearch.data.catalogue.campaigns import load_campaigns
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.artefacts import numbers_in
from omnisearch.data.workspace.errors import Corrupt, OmniError
from omnisearch.engine.ads.models import load_models
from omnisearch.engine.rules.published import load_rules
from omnisearch.engine.search import SearchEngine
from omnisearch.engine.snapshot import Snapshot
from omnisearch.indexer.generation import live_number
from omnisearch.indexer.segment import GENERATION
from omnisearch.ranker.published import load_rankers
from omnisearch.service.serving.counters import Counters
from omnisearch.service.serving.log import JsonLog


def open_engine(
    workspace: Workspace, log: JsonLog, counters: Counters, avoid: Collection[int] = ()
) -> tuple[SearchEngine, bool]:
    """An engine, and whether it has the live generation, rankers, rules and ads.

    Rankers, rules and ads that cannot be opened are left out. Generations are tried in this order:
    the live one, the newest before it, and so on; then those after it, which a rollback has left.

    Args:
        avoid: generations that ended a worker when it opened them; they are not tried.

    Raises:
        OmniError: no generation can be opened; it says why the first cannot.
    """
    numbers, whole = numbers_in(workspace.generations)[::-1], True
    problem: OmniError | None = None
    try:
        live = live_number(workspace)
        numbers = [live, *sorted(set(numbers) - {live}, key=lambda n: (n > live, -n))]
    except OmniError as error:
        problem = error
    try:
        load_rankers(workspace)
    except Exception as error:
        whole = False
        log.line("rankers_refused", error=str(error))
    with_rankers, with_rules = whole, True
    try:
        load_rules(workspace)
    except Exception as error:
        whole = with_rules = False
        log.line("rules_refused", error=str(error))
    with_ads = True
    try:
        load_campaigns(workspace)
        load_models(workspace)
    except Exception as error:
        whole = with_ads = False
        log.line("ads_refused", error=str(error))
    for number in numbers:
        counters.put("opening", number)
        try:
            if number in avoid:
                raise Corrupt(f"Generation {number} ended the worker that opened it.")
            engine = SearchEngine.open(
                workspace,
                number=number,
                with_rankers=with_rankers,
                with_rules=with_rules,
                with_ads=with_ads,
            )
            warm(engine, engine.snapshot)
        except BaseException as error:  # whatever a library makes of unreadable content
            if isinstance(error, KeyboardInterrupt | SystemExit):
                raise
            log.line("generation_refused", number=number, error=str(error) or repr(error))
            problem = problem or _said(number, error)
        else:
            return engine, whole and problem is None
        finally:
            counters.put("opening", 0)
    assert problem is not None  # without generations there is no live one
    raise problem


def _said(number: int, error: BaseException) -> OmniError:
    if isinstance(error, OmniError):
        return error
    what = f"Generation {number} cannot be opened ({error!r})."
    return Corrupt(what, how=GENERATION.mend)


@lru_cache(maxsize=1)
def _encoded(tower: Any, text: str) -> np.ndarray:
    """float32 (dim,): the same for the generations of an encoder, which may come every second."""
    return tower.queries([text])[0]


def stands_on(snapshot: Snapshot, other: Snapshot) -> bool:
    """Whether a snapshot has the build, the rankers and the models of another one, so that what is
    computed on first use has been, but for a millisecond."""
    same = snapshot.rankers is other.rankers and snapshot.encoder is other.encoder
    return same and snapshot.generation.segments[0] is other.generation.segments[0]


def warm(engine: SearchEngine, snapshot: Snapshot) -> None:
    """Search once, so that the first request does not pay for what is computed on first use."""
    query = snapshot.query("warm up")
    if snapshot.embeds:
        tower: Any = snapshot.encoder  # hashable, as all objects; a protocol does not say so
        query = query.with_vector(_encoded(tower, query.text))
    engine.at(snapshot).search(query)
