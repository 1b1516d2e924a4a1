"""A sample world's users meet ads: they see what a search really shows, and act by what is true.

They click an ad as they click any result (`world.sessions`): neither a bid nor a label changes what
they like. What is logged is what a service logs, in the same files.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import orjson

from omnisearch.data.catalogue.feedback import add_events, open_feedback
from omnisearch.data.catalogue.schema import ACTIONS
from omnisearch.data.catalogue.searches import open_searches
from omnisearch.data.catalogue.shown_ads import ShownAd, add_shown_ads
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import InputError
from omnisearch.data.workspace.progress import Progress
from omnisearch.engine.response import Hit
from omnisearch.engine.search import SearchEngine
from omnisearch.world.itemtext import item_id
from omnisearch.world.lexicon import LANGUAGES
from omnisearch.world.sessions import SHOWN, acts, draw_queries
from omnisearch.world.templates import COUNTRIES
from omnisearch.world.truth import Truth

MOST = SHOWN[1] - 1  # results that a user sees
_OFTEN = 30 * 86_400  # seconds over which queries are drawn, for their season


@dataclass(frozen=True)
class SimulatedAds:
    """What was simulated: searches, and of these the ads shown and the events sent."""

    searches: int
    ads: int
    events: int


def simulate_ads(
    workspace: Workspace, searches: int, seed: int, progress: Progress | None = None
) -> SimulatedAds:
    """Let users of the sample world search now, and log the ads and what they do.

    Raises:
        InputError: the workspace is not of a sample world.
        NotReady, Corrupt: there is nothing to search.
    """
    if not workspace.truth.exists():
        raise InputError(
            "Only the users of a sample world can be simulated.",
            where=str(workspace.root),
            how="Make one with `omnisearch demo` or `omnisearch world`.",
        )
    truth, rng = Truth.read(workspace.truth), np.random.default_rng(seed)
    now = int(time.time())
    asked = draw_queries(truth.queries, now - rng.integers(0, _OFTEN, searches), rng)
    engine = SearchEngine.open(workspace)
    pages = []
    for number, query in enumerate(asked.tolist(), 1):
        pages.append(page_of(engine, truth, query, rng))
        if progress:
            progress(number, searches)
    engine.close()
    shown = np.full((searches, MOST), -1)
    for number, page in enumerate(pages):
        shown[number, : len(page)] = [truth.item_of[hit.id] for hit in page]
    names = [f"simulated-ads-{seed}-{now}-{number}" for number in range(searches)]
    ads = [
        ShownAd(
            *(names[number], hit.rank, now * 1000, hit.campaign, hit.entity, hit.id),
            query=truth.queries.text[asked[number]],
        )
        for number, page in enumerate(pages)
        for hit in page
        if hit.campaign is not None
    ]
    events = list(events_of(truth, asked, shown, names, now, rng))
    with closing(open_searches(workspace.searches, create=True)) as log:
        add_shown_ads(log, ads)
    with closing(open_feedback(workspace.feedback, create=True)) as log:
        add_events(log, events, now)
    return SimulatedAds(searches, len(ads), len(events))


def page_of(engine: SearchEngine, truth: Truth, query: int, rng: np.random.Generator) -> list[Hit]:
    """The results that a user with a query (its row) sees, in a country of its language."""
    countries = COUNTRIES[LANGUAGES[truth.queries.language[query]]]
    country = countries[int(rng.integers(len(countries)))]
    return engine.search(truth.queries.text[query], k=MOST, user_country=country).hits


def events_of(
    truth: Truth,
    asked: np.ndarray,
    shown: np.ndarray,
    names: list[str],
    now: int,
    rng: np.random.Generator,
) -> Iterator[tuple[str, bytes]]:
    """(event id, row) of what users did, impressions too.

    Args:
        asked: (s,) rows of queries. shown: (s, p) item rows, -1 for none. names: request ids.
    """
    session = (np.full(len(asked), now), np.arange(len(asked)), asked)
    true = np.where(shown >= 0, truth.relevance(asked[:, None], shown), 0)
    for part in acts(truth.items, truth.queries, shown, true, session, rng):
        for _, number, query, row, _, action, position, offsite in zip(
            *(column.tolist() for column in part), strict=True
        ):
            if offsite:
                continue
            event = {
                "request_id": names[number],
                "query": truth.queries.text[query],
                "entity": "pin" if row < truth.items.pins else "product",
                "item_id": item_id(truth.items, row),
                "action": ACTIONS[action],
                "position": position,
                "time": now,
            }
            yield f"{names[number]}-{ACTIONS[action]}-{row}", orjson.dumps(event)
