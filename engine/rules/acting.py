"""Rules over the items of one generation: what they do to a query and its results."""

from __future__ import annotations

import math
import threading
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from omnisearch.data.catalogue.schema import ITEM_ENTITIES
from omnisearch.data.text.exclusions import split_query
from omnisearch.data.workspace.errors import InputError
from omnisearch.data.workspace.memory import remembering
from omnisearch.engine.attributes import Attributes
from omnisearch.engine.filters import allowed_rows
from omnisearch.engine.index import Items
from omnisearch.engine.query import Query
from omnisearch.engine.rules.conditions import parse_filters
from omnisearch.engine.rules.matching import Matching, Stems, stems_of
from omnisearch.engine.rules.rule import MOST_PLACES, Rule
from omnisearch.engine.rules.synonyms import with_synonyms
from omnisearch.indexer.parts.table import ItemTable

_MASKS = 64 << 20  # bytes of what conditions choose that are kept
_NONE = np.zeros(0, np.int64)
_SIGN = {"boost": -1, "bury": 1}


@dataclass(frozen=True)
class Pin:
    """An item that a rule puts at a place; 1 is the first."""

    place: int
    entity: str
    row: int


@dataclass(frozen=True)
class _ForAll:
    """The rules for all queries that act from `start` on and before `end`.

    Attributes:
        acting: their positions. hidden: entity type → bool (n,); moves: → int32 (n,), places down.
    """

    start: float
    end: float
    acting: tuple[int, ...] = ()
    hidden: dict[str, np.ndarray] = field(default_factory=dict)
    moves: dict[str, np.ndarray] = field(default_factory=dict)


class Acting:
    """The rules that act on one query.

    Attributes:
        rules: those that are for this query, then those for all.
        pins: places ascending and distinct.
    """

    def __init__(self, of: RulesOfItems, own: Sequence[int], for_all: _ForAll) -> None:
        """`own`: the positions of the rules for this query and not for all."""
        self._of, self._own, self._for_all = of, own, for_all
        self._all = (*own, *for_all.acting)
        self.rules = [of.rules[at] for at in self._all]
        self.pins = self._pinned()

    def hidden(self, entity: str) -> np.ndarray | None:
        """Bool (n,) over a table's rows: which are hidden; None if none are."""
        for_all = self._for_all.hidden.get(entity)
        hiding = [at for at in self._own if self._of.rules[at].kind == "hide"]
        if not hiding:
            return for_all
        found = np.zeros(self._of.size(entity), bool) if for_all is None else for_all.copy()
        for at in hiding:
            rule = self._of.rules[at]
            if rule.filter:
                found |= self._of.mask(rule.filter, entity)
            else:
                found[self._of.named(at).get(entity, _NONE)] = True
        return found if found.any() else None

    def moves(self, items: Items) -> np.ndarray | None:
        """int64 (n,): by how many places each item moves down, negative for up; None if none moves.

        The items are in (entity, row) order.
        """
        moving = [at for at in self._own if self._of.rules[at].kind in _SIGN]
        if not moving and not self._for_all.moves:
            return None
        moves = np.zeros(len(items), np.int64)
        for entity in ITEM_ENTITIES:
            if not moving and entity not in self._for_all.moves:
                continue
            part = items.part(entity)
            rows = items.row[part]
            if entity in self._for_all.moves:
                moves[part] += self._for_all.moves[entity][rows]
            for at in moving:
                rule = self._of.rules[at]
                by = _SIGN[rule.kind] * rule.places
                if rule.filter:
                    moves[part] += by * self._of.mask(rule.filter, entity)[rows]
                elif entity in (named := self._of.named(at)):
                    moves[part][_among(rows, named[entity])] += by
        return moves.clip(-MOST_PLACES, MOST_PLACES) if moves.any() else None

    def said_of(self, entity: str, row: int) -> list[str]:
        """The names of the rules that put an item where it is."""
        rows = np.array([row])
        return [
            rule.said
            for at, rule in zip(self._all, self.rules, strict=True)
            if rule.kind in ("pin", *_SIGN) and self._of.about(at, entity, rows)[0]
        ]

    def _pinned(self) -> list[Pin]:
        """Of two pins to one place, the later takes the next that is free."""
        taken: dict[int, tuple[str, int]] = {}
        for at, rule in zip(self._all, self.rules, strict=True):
            for entity, rows in self._of.named(at).items() if rule.kind == "pin" else ():
                item, place = (entity, int(rows[0])), rule.places
                while place in taken:
                    place += 1
                if item not in taken.values():
                    taken[place] = item
        return [Pin(place, *taken[place]) for place in sorted(taken)]


class RulesOfItems:
    """All rules, bound to the tables of a generation. Safe for several threads.

    Attributes:
        missing: each rule that names an item which the generation does not have, and what it names.
    """

    def __init__(
        self,
        rules: Sequence[Rule],
        matching: Matching,
        tables: Mapping[str, ItemTable],
        attributes: Attributes,
    ) -> None:
        """`matching`: of these rules; no generation changes it."""
        self.rules, self._matching, self._tables = rules, matching, tables
        self._attributes = attributes
        self.missing: list[tuple[Rule, str]] = []
        self._rows = {at: self._found(rule) for at, rule in enumerate(rules) if rule.item}
        most = max((len(table) for table in tables.values()), default=1)
        self.mask = remembering(self._mask, max(64, _MASKS // max(most, 1)))
        self._lock, self._for_all = threading.Lock(), _ForAll(math.inf, -math.inf)

    def query(self, query: Query, only: str | None, languages: frozenset[str], now: float) -> Query:
        """The query with its synonyms, none of what it excludes.

        Args:
            only: the catalogue's language, if it has one alone. languages: as of `query_of`.
        """
        spoken = query.inflected or only
        found: list[tuple[Stems, str]] = []
        names = dict[str, None]()
        excludes = len(query.excluded) > 0
        text = split_query(query.text, languages)[0] if excludes else query.text
        for phrase, rule in self.synonyms(text, now):
            if rule.language in ("", spoken):
                found += [(phrase, other) for other in rule.target if stems_of(other) != phrase]
                names[rule.said] = None
        return with_synonyms(query, found, tuple(names)) if found else query

    def synonyms(self, text: str, now: float) -> Iterator[tuple[Stems, Rule]]:
        """The phrases of a text that have synonyms now, as stems, each with its rule."""
        for phrase, at in self._matching.phrases(text):
            if self.rules[at].acts(now):
                yield phrase, self.rules[at]

    def acting(self, query: Query, now: float) -> Acting | None:
        """The rules that act on the results of a query; None if none does."""
        typed, text = query.typed, query.text
        found = self._matching.of((typed,) if typed == text else (typed, text))
        own = [at for at in found if self.rules[at].acts(now)]
        for_all = self.for_all(now)
        return Acting(self, own, for_all) if own or for_all.acting else None

    def for_all(self, now: float) -> _ForAll:
        """What the rules for all queries do now; computed anew when one starts or ends."""
        found = self._for_all
        if found.start <= now < found.end:
            return found
        with self._lock:
            self._for_all = self._computed(now)
        return self._for_all

    def named(self, at: int) -> dict[str, np.ndarray]:
        """The rows of the items that a rule names, by entity type."""
        return self._rows.get(at, {})

    def about(self, at: int, entity: str, rows: np.ndarray) -> np.ndarray:
        """Bool (m,): whether a rule is about rows int64 (m,)."""
        if self.rules[at].filter:
            return self.mask(self.rules[at].filter, entity)[rows]
        return np.isin(rows, self.named(at).get(entity, _NONE))

    def size(self, entity: str) -> int:
        """How many rows a table has."""
        return len(self._tables[entity])

    def _mask(self, conditions: tuple[str, ...], entity: str) -> np.ndarray:
        """Bool (n,): which rows of a table meet all conditions; none if one names nothing."""
        filters, table = parse_filters(conditions), self._tables[entity]
        try:
            mask = allowed_rows(filters, entity, table, self._attributes)
        except InputError:
            return np.zeros(self.size(entity), bool)
        return np.ones(self.size(entity), bool) if mask is None else mask

    def _computed(self, now: float) -> _ForAll:
        every = self._matching.about_all
        edges = [edge for at in every for edge in (self.rules[at].start, self.rules[at].end)]
        start = max((edge for edge in edges if edge <= now), default=-math.inf)
        end = min((edge for edge in edges if edge > now), default=math.inf)
        acting = tuple(at for at in every if self.rules[at].acts(now))
        found = _ForAll(start, end, acting)
        for at in acting:
            rule = self.rules[at]
            for entity in ITEM_ENTITIES if rule.kind in ("hide", *_SIGN) else ():
                where = self.named(at).get(entity, _NONE)
                if rule.filter:
                    where = np.flatnonzero(self._mask(rule.filter, entity))
                if not len(where):
                    continue
                if rule.kind == "hide":
                    found.hidden.setdefault(entity, np.zeros(self.size(entity), bool))[where] = True
                else:
                    moves = found.moves.setdefault(entity, np.zeros(self.size(entity), np.int32))
                    moves[where] += _SIGN[rule.kind] * rule.places
        return found

    def _found(self, rule: Rule) -> dict[str, np.ndarray]:
        """The rows of the items that a rule names; notes those that are missing."""
        found: dict[str, set[int]] = {}
        for entity, key in rule.item:
            ids = self._tables[entity].ids  # they ascend: no dictionary of all is needed
            at = bisect_left(ids, key)
            if at < len(ids) and ids[at] == key:
                found.setdefault(entity, set()).add(at)
            else:
                self.missing.append((rule, f"there is no {entity} {key!r}"))
        return {entity: np.array(sorted(rows), np.int64) for entity, rows in found.items()}


def _among(rows: np.ndarray, sought: np.ndarray) -> np.ndarray:
    """int64: where in rows int64 (n,) those of int64 (m,) are that it has; both ascend."""
    if not len(rows):
        return _NONE
    at = np.minimum(np.searchsorted(rows, sought), len(rows) - 1)
    return at[rows[at] == sought]


def unmet(
    rules: Sequence[Rule], tables: Mapping[str, ItemTable], attributes: Attributes
) -> list[tuple[Rule, str]]:
    """Each rule with a condition that no item meets, and that condition."""
    found, met = [], dict[str, bool]()
    for rule in rules:
        for text in rule.filter:
            if text not in met:
                filters = parse_filters([text])
                try:
                    masks = [
                        allowed_rows(filters, entity, tables[entity], attributes)
                        for entity in ITEM_ENTITIES
                    ]
                except InputError:
                    masks = []
                met[text] = any(mask is None or mask.any() for mask in masks)
            if not met[text]:
                found.append((rule, f"no item meets {text!r}"))
    return found
