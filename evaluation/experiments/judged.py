"""Draws what the variants of an experiment showed, for people to judge blind (§5.1).

Queries are drawn apart for head, torso and tail, and of each apart for the variants, so that one
with few users has its queries too. What is judged is what one of the variant's searches showed, at
random. Users are shared out by chance, so a rare query was often asked of one variant alone: it
then also stands for those that chance gave to the others.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

import numpy as np
import orjson
import sqlite_utils

from omnisearch.data.catalogue.searches import FIRST, reading_searches
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.causes import damaged_log
from omnisearch.data.workspace.counts import counted
from omnisearch.data.workspace.errors import InputError
from omnisearch.evaluation.experiments.definition import INTERLEAVE
from omnisearch.evaluation.experiments.searches import (
    is_mixed,
    is_robot,
    rows_by_user,
    searches_of,
)
from omnisearch.evaluation.experiments.store import Kept
from omnisearch.evaluation.judged import Item, data_notes
from omnisearch.evaluation.judging.draw import mixed, pair_id
from omnisearch.evaluation.judging.folder import Design, Judging, Shown, write_judging
from omnisearch.evaluation.judging.queries import DrawnQuery, draw_apart, strata_of

Pages = dict[tuple[str, str], list[Item]]  # (query, variant) → what it showed, the best first


@dataclass
class Asked:
    """How often an experiment's users asked for one query, where it is known what they saw.

    Attributes:
        variants: the places of those that answered it.
    """

    searches: int = 0
    users: int = 0
    variants: set[int] = field(default_factory=set)


def draw_experiment(
    judging: Judging,
    workspace: Workspace,
    kept: Kept,
    db: sqlite_utils.Database,
    number: int,
    seed: int,
) -> None:
    """Draw a new judging of what an experiment's variants showed, and write its folder.

    Args:
        number: of queries. db: the catalogue.

    Raises:
        InputError: the experiment interleaves, the log has nothing that its variants showed, the
            judging's name is taken, or the variants found nothing. Corrupt: the log is damaged.
    """
    experiment = kept.experiment
    if experiment.mode == INTERLEAVE:
        raise InputError(
            f"The experiment {experiment.name!r} shows its variants' results in one list.",
            how="Judge two systems with `omnisearch judge draw`.",
        )
    asked = asked_in(workspace, kept) if kept.began is not None else {}
    if not asked:
        raise InputError(
            f"The log has no search that shows what a variant of {experiment.name!r} found.",
            where=str(workspace.searches),
            how=f"It keeps the first {FIRST} results of users' searches without filters, once "
            "`omnisearch experiment start` has run.",
        )
    judging.check_free(experiment.name)
    by_searches = sorted(asked, key=lambda query: (-asked[query].searches, query))
    strata = strata_of({query: asked[query].searches for query in by_searches})
    queries = drawn_queries(asked, strata, number, seed)
    names = [variant.name for variant in experiment.variants]
    pages = _pages(workspace, experiment.name, queries, seed)
    shares = experiment.shares()
    shown = []
    for entry in queries:
        about = asked[entry.query]
        for place in sorted(about.variants):
            pairs = [pair_id(entry.query, item) for item in pages[entry.query, names[place]]]
            weight = entry.weight / chance(about, float(shares[place]))
            shown.append(Shown(entry.query, names[place], pairs, weight))
    searches = dict.fromkeys(strata.values(), 0)
    for query, about in asked.items():
        searches[strata[query]] += about.searches
    design = Design(
        systems=names,
        k=FIRST,
        seed=seed,
        generation=0,
        checkpoint="",
        drawn_at=int(time.time()),
        notes=data_notes(db),
        experiment=experiment.name,
        searches=searches,
    )
    results = {(each.query, each.system): pages[each.query, each.system] for each in shown}
    to_judge = mixed(db, queries, results, seed)
    if not to_judge:
        raise InputError(
            "There is nothing to judge: the variants found nothing for the "
            f"{counted(len(queries), 'drawn query', 'drawn queries')}.",
            where=str(workspace.searches),
            how="Draw more with --number, or wait until users have found something.",
        )
    write_judging(judging.folder, design, queries, to_judge, shown)


def asked_in(workspace: Workspace, kept: Kept) -> dict[str, Asked]:
    """Query → how often it was asked for; users whom reports leave out do not count.

    Raises as `rows_by_user`.
    """
    name = kept.experiment.name
    places = {variant.name: place for place, variant in enumerate(kept.experiment.variants)}
    found: dict[str, Asked] = {}
    for rows in rows_by_user(workspace, name, 1000 * (kept.began or 0)):
        theirs = [row for row in rows if row.experiment == name]
        searches = searches_of(theirs, places)
        if is_mixed(searches) or is_robot(searches):
            continue
        known = {row.request_id for row in theirs if row.shown}
        queries = set()
        for search in searches:
            if not known.isdisjoint(search.ids):
                about = found.setdefault(search.query, Asked())
                about.searches += 1
                about.variants.add(search.variant)
                queries.add(search.query)
        for query in queries:
            found[query].users += 1
    return found


def drawn_queries(
    asked: Mapping[str, Asked], strata: Mapping[str, str], number: int, seed: int
) -> list[DrawnQuery]:
    """Queries in random order: equally many per stratum, and of it equally many per variant.

    A query belongs to the one of its variants that has the fewest queries of all.
    """
    every = np.bincount([place for about in asked.values() for place in about.variants])
    groups: dict[str, dict[int, list[str]]] = {}
    for query in sorted(asked):
        rarest = min(asked[query].variants, key=lambda place: (every[place], place))
        groups.setdefault(strata[query], {}).setdefault(rarest, []).append(query)
    traffic = {query: about.searches for query, about in asked.items()}
    return draw_apart(
        {name: [parts[place] for place in sorted(parts)] for name, parts in groups.items()},
        traffic,
        number,
        seed,
    )


def chance(about: Asked, share: float) -> float:
    """The probability that a variant with this share of the users had one who asked for a query."""
    return float(1 - (1 - share) ** about.users)


def _pages(workspace: Workspace, name: str, queries: Iterable[DrawnQuery], seed: int) -> Pages:
    """What each variant showed for drawn queries, in one of its searches at random."""
    wanted = {entry.query for entry in queries}
    least: dict[tuple[str, str], bytes] = {}
    found: Pages = {}
    statement = "SELECT request_id, query, variant, shown FROM searches WHERE experiment = ?"
    with reading_searches(workspace.searches) as db:
        for request_id, query, variant, shown in db.execute(statement, [name]):
            if query not in wanted or not shown:
                continue
            lot = blake2b(f"{seed} {request_id}".encode(), digest_size=8).digest()
            if lot < least.get((query, variant), b"\xff" * 9):
                least[query, variant] = lot
                found[query, variant] = _items(workspace, request_id, shown)
    return found


def _items(workspace: Workspace, request_id: str, shown: str) -> list[Item]:
    try:
        items: Sequence[tuple[str, str]] = [(entity, key) for entity, key in orjson.loads(shown)]
        if not all(isinstance(text, str) for item in items for text in item):
            raise ValueError("an id is no text")
        return list(dict.fromkeys(items))[:FIRST]
    except (ValueError, TypeError) as error:
        why = f"what the search {request_id} showed is no list of items ({error})"
        raise damaged_log("The log of searches", why, workspace.searches) from error
