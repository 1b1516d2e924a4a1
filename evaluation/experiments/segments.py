"""Fulfilment by segments of searches and users: where a variant helps, and where it harms.

Segments are many and are looked at afterwards, so they are exploratory: their p-values are
corrected for their number, and what they suggest needs an experiment of its own. The log is read
user by user, and of each segment only sums are kept.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from omnisearch.data.catalogue.searches import Logged, reading_searches
from omnisearch.data.workspace import Workspace
from omnisearch.evaluation.experiments.ratio import Effect, Moments, difference
from omnisearch.evaluation.experiments.scratch import Scratch
from omnisearch.evaluation.experiments.searches import (
    has,
    is_mixed,
    is_robot,
    rows_by_user,
    searches_of,
)
from omnisearch.evaluation.experiments.several import corrected
from omnisearch.evaluation.experiments.store import Kept

FEW = 100  # users of a variant: with fewer, a segment is left out
_PARTS = (("head", 1 / 3), ("torso", 2 / 3))  # queries of so much of the earlier searches
_TAIL = "tail"
Key = tuple[str, str]  # kind and value of a segment


@dataclass(frozen=True)
class Segment:
    """A variant beside the control, in one segment.

    Attributes:
        kind: 'queries', 'language', 'country', 'device' or 'users'. value: such as 'head'.
        effect: on fulfilment, its intervals those of one look.
        p_value: corrected for the number of segments and variants (Benjamini and Hochberg).
    """

    variant: str
    kind: str
    value: str
    effect: Effect
    p_value: float


def segments(
    workspace: Workspace, kept: Kept, scratch: Scratch
) -> tuple[list[Segment], dict[str, int]]:
    """The segments of an experiment that was started, and kind → how many of its values are left
    out, since no variant had FEW users there beside FEW of the control. Of kinds of which there is
    one value alone nothing is said.

    Raises InputError if no searches are logged, Corrupt if a log is damaged.
    """
    begin = 1000 * (kept.began or 0)
    frequent = _frequent(workspace, begin)
    names = [variant.name for variant in kept.experiment.variants]
    places = {name: place for place, name in enumerate(names)}
    sums: dict[Key, list[Moments]] = {}
    for rows in rows_by_user(workspace, kept.experiment.name, begin):
        returning = rows[0].time < begin
        theirs = [row for row in rows if row.experiment == kept.experiment.name]
        searches = searches_of(theirs, places)
        if is_mixed(searches) or is_robot(searches):
            continue
        events = scratch.events(row.request_id for row in theirs)
        first = {row.request_id: row for row in theirs}
        of_user: dict[Key, list[int]] = {}
        for search in searches:
            fulfilled = has(search, events, kept.experiment.actions)
            for key in _keys(first[search.ids[0]], frequent, returning):
                both = of_user.setdefault(key, [0, 0])
                both[0] += fulfilled
                both[1] += 1
        for key, (above, below) in of_user.items():
            variants = sums.setdefault(key, [Moments() for _ in names])
            variants[searches[0].variant].add(above, below)
    return _compared(names, sums)


def _keys(row: Logged, frequent: dict[str, str], returning: bool) -> list[Key]:
    """The segments of a search, by its first request."""
    keys = [("users", "returning" if returning else "new")]
    if frequent:
        keys.append(("queries", frequent.get(row.query, _TAIL)))
    told = (("language", row.language), ("country", row.country), ("device", row.device))
    return [*keys, *((kind, value) for kind, value in told if value)]


def _frequent(workspace: Workspace, begin: int) -> dict[str, str]:
    """Query → 'head' or 'torso', by the searches before `begin`; empty if there were none."""
    query = (
        "SELECT query, COUNT(*) AS asked FROM searches WHERE time < ? "
        "GROUP BY query ORDER BY asked DESC, query"
    )
    found: dict[str, str] = {}
    with reading_searches(workspace.searches) as db:
        ((every,),) = db.execute("SELECT COUNT(*) FROM searches WHERE time < ?", [begin])
        done = 0
        for text, asked in db.execute(query, [begin]):
            part = next((name for name, until in _PARTS if done < until * every), None)
            if part is None:
                break
            found[text] = part
            done += asked
    return found


def _compared(
    names: list[str], sums: dict[Key, list[Moments]]
) -> tuple[list[Segment], dict[str, int]]:
    found: dict[tuple[str, Key], Effect] = {}
    left_out: Counter[str] = Counter()
    kinds = Counter(kind for kind, _ in sums)
    for key, variants in sorted(sums.items()):
        if kinds[key[0]] < 2:
            continue
        enough = [each.users >= FEW for each in variants]
        for name, treatment, many in zip(names[1:], variants[1:], enough[1:], strict=True):
            if enough[0] and many:
                found[name, key] = difference(variants[0], treatment)
        if not (enough[0] and any(enough[1:])):
            left_out[key[0]] += 1
    labels = {f"{name} {kind} {value}": (name, (kind, value)) for name, (kind, value) in found}
    p_values = corrected({label: found[at].p_value for label, at in labels.items()}, ())
    compared = [
        Segment(name, *key, found[name, key], p_values[label])
        for label, (name, key) in labels.items()
    ]
    return compared, dict(left_out)
