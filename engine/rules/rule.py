"""One rule, as a file of rules says it, whatever the items of an index are."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from omnisearch.data.workspace.reading import check_shape

KINDS = ("synonyms", "pin", "boost", "bury", "hide")
MOST_PLACES = 200  # a boost or a burial moves an item by at most so many
_TEXTS = {name: [str] for name in ("query", "prefix", "words", "source", "target", "filter")}
_STORED = {
    **_TEXTS,
    **dict.fromkeys(("kind", "name", "language"), str),
    **dict.fromkeys(("line", "places"), int),
    "item": [[str]],
    "start": (float, type(None)),
    "end": (float, type(None)),
}


@dataclass(frozen=True)
class Rule:
    """One rule.

    Attributes:
        kind: of KINDS. name: as the file says, or empty. line: of its header in the file.
        query, prefix, words: normalised texts; the rule is for queries that are one of `query`,
            begin with one of `prefix`, or have all words of one of `words`; for all without any.
        source, target: of synonyms: a query with one of `source` is also searched by all of
            `target`, unless that is the very same. language: of the queries; empty for all.
        item: (entity, id) pairs, and filter: conditions in the filter syntax: the items it is
            about, those that are named, or those that meet all conditions.
        places: of a pin the place, 1 is the first; of a boost or a burial, by how many it moves.
        start, end: seconds since 1970; it acts from `start` on and before `end`.
    """

    kind: str
    line: int
    name: str = ""
    query: tuple[str, ...] = ()
    prefix: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    source: tuple[str, ...] = ()
    target: tuple[str, ...] = ()
    language: str = ""
    item: tuple[tuple[str, str], ...] = ()
    filter: tuple[str, ...] = ()
    places: int = 0
    start: float = -math.inf
    end: float = math.inf

    @property
    def said(self) -> str:
        """Its name for people."""
        return f"{self.kind} “{self.name}”" if self.name else f"{self.kind} of line {self.line}"

    @property
    def about_all(self) -> bool:
        """Whether it is for all queries."""
        return not (self.query or self.prefix or self.words or self.source)

    def acts(self, now: float) -> bool:
        """Whether it acts at a time."""
        return self.start <= now < self.end

    def to_json(self) -> dict[str, Any]:
        """Plain values; no time is null."""
        fields = asdict(self)
        for name in ("start", "end"):
            fields[name] = None if math.isinf(fields[name]) else fields[name]
        return fields


def rule_from_json(value: dict[str, Any]) -> Rule:
    """The rule of `Rule.to_json`; raises ValueError."""
    check_shape(value, _STORED)
    if value["kind"] not in KINDS or any(len(pair) != 2 for pair in value["item"]):
        raise ValueError(f"a rule of kind {value['kind'][:20]!r}, or what it names, is not known")
    fields = {name: value[name] for name in _STORED}
    fields |= {name: tuple(value[name]) for name in _TEXTS}
    fields["item"] = tuple((entity, key) for entity, key in value["item"])
    fields["start"] = -math.inf if value["start"] is None else float(value["start"])
    fields["end"] = math.inf if value["end"] is None else float(value["end"])
    return Rule(**fields)
