"""Traffic of a sample world's users on an experiment: they see what their variant really shows.

Each user makes one search or more, by the world's own distribution of queries, and acts on the
results by the world's click model (`world.sessions`): by what is true of the items, which no search
can read. What is logged is what a service logs, in the same files.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import orjson

from omnisearch.data.catalogue.feedback import add_events, open_feedback
from omnisearch.data.catalogue.schema import ACTIONS
from omnisearch.data.catalogue.searches import FIRST, Logged, add_searches, open_searches
from omnisearch.data.text.normalise import normalise_query
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import InputError
from omnisearch.data.workspace.progress import Progress
from omnisearch.engine.search import SearchEngine
from omnisearch.engine.searcher import Searcher
from omnisearch.evaluation.experiments import store
from omnisearch.evaluation.experiments.definition import INTERLEAVE
from omnisearch.evaluation.experiments.interleaving import turns
from omnisearch.evaluation.experiments.running import Arm, Running, open_arms
from omnisearch.world.itemtext import item_id
from omnisearch.world.population import DAY
from omnisearch.world.sessions import SHOWN, acts, draw_queries
from omnisearch.world.truth import Truth

_MEAN_SEARCHES = 4.0  # of a user in 14 days, of whom a few search very much
_LEAST_APPETITE = 0.3


@dataclass(frozen=True, eq=False)
class Users:
    """Users, who stay as they are before an experiment and during it.

    Attributes:
        activity: float64 (users,) searches in 14 days, exponentially distributed.
        appetite: float64 (users,) from _LEAST_APPETITE to 1: how much they engage with what they
            like, as a factor.
    """

    activity: np.ndarray
    appetite: np.ndarray

    @classmethod
    def of(cls, count: int, seed: int) -> Users:
        """The same for a user and a seed, however many there are."""
        key = seed.to_bytes(8, "big", signed=True)
        digests = [blake2b(_name(user).encode(), key=key, digest_size=16) for user in range(count)]
        parts = np.frombuffer(b"".join(each.digest() for each in digests), ">u8").reshape(-1, 2)
        activity, appetite = parts.T / 2.0**64
        return cls(
            -_MEAN_SEARCHES * np.log1p(-activity.clip(max=1 - 1e-12)),
            _LEAST_APPETITE + (1 - _LEAST_APPETITE) * appetite,
        )


@dataclass(frozen=True, eq=False)
class Traffic:
    """Searches: (s,) times in seconds since 1970, ascending, users, and query numbers."""

    time: np.ndarray
    user: np.ndarray
    query: np.ndarray


@dataclass(frozen=True)
class Simulated:
    """What was simulated."""

    users: int
    searches: int
    events: int


def simulate(
    workspace: Workspace,
    name: str,
    users: int,
    days: int,
    before: int,
    seed: int,
    progress: Progress | None = None,
) -> Simulated:
    """Start an experiment `days` ago, and let the users search until now; then it is stopped.

    Args:
        users: how many there are. before: days of searches before the start, for which all got what
            is live. progress: counts searches.

    Raises:
        InputError: the workspace is not of a sample world, or the experiment was started before.
        NotReady, Corrupt: there is nothing to search, or a part of a variant cannot be opened.
    """
    if not workspace.truth.exists():
        raise InputError(
            "Only the users of a sample world can be simulated.",
            where=str(workspace.root),
            how="Make one with `omnisearch demo` or `omnisearch world`.",
        )
    kept = store.load(workspace, name)
    if kept.began is not None:
        raise InputError(
            f"The experiment {name!r} was started before.",
            how="Create one with another name for a simulation.",
        )
    truth, rng = Truth.read(workspace.truth), np.random.default_rng(seed)
    engine = SearchEngine.open(workspace)
    arms = open_arms(workspace, kept.experiment, engine.snapshot)
    kept = store.start(workspace, name, at=kept.history[0].time - days * DAY)
    began = kept.history[-1].time
    key = store.key_of(workspace)
    assert key is not None
    live = Arm("", "", "full", engine.snapshot, engine.config)
    pages = _Pages(engine, truth)
    found, everybody = Simulated(users, 0, 0), Users.of(users, seed)
    for running, start, span in (
        (Running(key, live, None, {}), began - before * DAY, before),
        (Running(key, live, kept, arms), began, days),
    ):
        traffic = _drawn(truth, everybody, start, span, rng)
        found = _written(workspace, running, pages, everybody, traffic, found, rng, progress)
    engine.close()
    store.stop(workspace, name)
    return found


def _name(user: int) -> str:
    return f"user-{user}"


def _drawn(truth: Truth, users: Users, start: int, days: int, rng: np.random.Generator) -> Traffic:
    searches = rng.poisson(users.activity * days / 14)
    user = np.repeat(np.arange(len(searches)), searches)
    time = start + np.sort(rng.integers(0, max(1, days * DAY - 3600), len(user)))
    rng.shuffle(user)
    return Traffic(time, user, draw_queries(truth.queries, time, rng))


class _Pages:
    """Result pages of arms, each query asked once of each."""

    def __init__(self, engine: SearchEngine, truth: Truth) -> None:
        self._cache, self.truth = engine.cache, truth
        self._known: dict[tuple[int, int], list[str]] = {}

    def of(self, arm: Arm, query: int) -> list[str]:
        """The ids of the first results."""
        found = self._known.get((id(arm), query))
        if found is None:
            searcher = Searcher(arm.snapshot, self._cache, arm.config)
            ranked = searcher.rank(self.truth.queries.text[query], arm.system, SHOWN[1] - 1)
            found = self._known[id(arm), query] = [key for _, key, _ in ranked]
        return found


def _written(
    workspace: Workspace,
    running: Running,
    pages: _Pages,
    users: Users,
    traffic: Traffic,
    before: Simulated,
    rng: np.random.Generator,
    progress: Progress | None,
) -> Simulated:
    """Search, act, and log both; returns the counts with those `before`."""
    truth, count = pages.truth, len(traffic.time)
    shown = np.full((count, SHOWN[1] - 1), -1)
    rows = []
    for number in range(count):
        user, arms = running.of(_name(int(traffic.user[number])))
        query, arm, drafted = int(traffic.query[number]), arms[0], ""
        text, variant = normalise_query(truth.queries.text[query]), arm.variant
        page = pages.of(arm, query)
        first = orjson.dumps([[_kind(truth, key), key] for key in page[:FIRST]]).decode()
        if len(arms) == 2:
            merged = turns(page, pages.of(arms[1], query), user, text, SHOWN[1] - 1)
            page, variant, first = merged.keys, INTERLEAVE, ""
            of_b = merged.of_b.tolist()
            whose = [[_kind(truth, key), key, of_b[place]] for place, key in enumerate(page)]
            drafted = orjson.dumps(whose).decode()
        shown[number, : len(page)] = [truth.item_of[key] for key in page]
        name = f"simulated-{running.kept.experiment.name if running.kept else 'before'}"
        rows.append(
            Logged(
                f"{name}-{before.searches + number}",
                int(traffic.time[number]) * 1000,
                user,
                arm.experiment,
                variant,
                text,
                "",
                1,
                len(page),
                1.0,
                arm.snapshot.generation.number,
                drafted,
                shown=first if arm.experiment else "",
            )
        )
        if progress:
            progress(number + 1, count)
    events = list(_events(truth, users, traffic, shown, rows, rng))
    with closing(open_searches(workspace.searches, create=True)) as log:
        add_searches(log, rows)
    with closing(open_feedback(workspace.feedback, create=True)) as log:
        add_events(log, events, int(traffic.time[-1]) if count else 0)
    total = before.searches + count
    return Simulated(before.users, total, before.events + len(events))


def _kind(truth: Truth, key: str) -> str:
    return "pin" if truth.item_of[key] < truth.items.pins else "product"


def _events(
    truth: Truth,
    users: Users,
    traffic: Traffic,
    shown: np.ndarray,
    rows: list[Logged],
    rng: np.random.Generator,
) -> Iterator[tuple[str, bytes]]:
    """(event id, row) of what users did on the pages (s, p) of item rows, -1 for none."""
    session = (traffic.time, np.arange(len(rows)), traffic.query)
    true = np.where(shown >= 0, truth.relevance(traffic.query[:, None], shown), 0)
    true = true * users.appetite[traffic.user][:, None]  # engagement is in proportion to it
    impression = ACTIONS.index("impression")
    for part in acts(truth.items, truth.queries, shown, true, session, rng):
        for time, number, _, row, _, action, _, offsite in zip(
            *(column.tolist() for column in part), strict=True
        ):
            if action == impression or offsite:
                continue
            search, kind, key = rows[number], ACTIONS[action], item_id(truth.items, row)
            event = {
                "request_id": search.request_id,
                "query": search.query,
                "entity": _kind(truth, key),
                "item_id": key,
                "action": kind,
                "time": time,
            }
            yield f"{search.request_id}-{kind}-{row}", orjson.dumps(event)
