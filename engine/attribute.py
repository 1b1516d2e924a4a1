"""One attribute of a generation's items: its values, and which items meet a condition."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from rapidfuzz import fuzz, process

from omnisearch.data.text.normalise import normalise
from omnisearch.data.workspace.errors import InputError
from omnisearch.engine.filter_syntax import Condition
from omnisearch.engine.tally import Tally
from omnisearch.indexer.parts.attributes import Column, used

KINDS = ("text", "list", "number", "flag", "path")
STEP = " > "  # between the parts of a category path
_SHOWN = 20  # values in an error
_NONE = np.zeros(0, np.int32)
_OPERATORS = {"<": "lt", "<=": "lte", ">": "gt", ">=": "gte"}
_COMPARE = {"lt": np.less, "lte": np.less_equal, "gt": np.greater, "gte": np.greater_equal}
_FLAGS = {"true": "true", "yes": "true", "1": "true", "false": "false", "no": "false", "0": "false"}


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """The values of an attribute, by which it is told what items have.

    Attributes:
        values: as shown: of values that differ only in their case, the first by the alphabet.
        place: compared form → its place in `values`.
        to: entity type → int32 (v,), the place of each value of its column, -1 for none.
    """

    values: list[str]
    place: dict[str, int]
    to: dict[str, np.ndarray]

    @cached_property
    def below(self) -> dict[str, list[int]]:
        """The places of a path and of what lies below it, by its compared form."""
        found: dict[str, list[int]] = {}
        for text, place in self.place.items():
            parts = text.split(STEP)
            for end in range(1, len(parts) + 1):
                found.setdefault(STEP.join(parts[:end]), []).append(place)
        return found

    @cached_property
    def several(self) -> bool:
        """Whether an item may have one value in two spellings."""
        return any(len(np.unique(to)) < len(to) for to in self.to.values())


@dataclass(frozen=True, eq=False)
class Attribute:
    """One attribute over all items.

    Attributes:
        kind: one of KINDS.
        vocabulary: of a number an empty one.
        entries: entity type → int32 (m,) rows and, for each, int32 (m,) a place in `values`, or
            of a number float64 (m,) the number itself.
    """

    name: str
    kind: str
    vocabulary: Vocabulary
    entries: dict[str, tuple[np.ndarray, np.ndarray]]
    _by_row: dict[str, np.ndarray] = field(default_factory=dict)
    _tallies: dict[str, Tally] = field(default_factory=dict)
    _nodes: dict[int, tuple[list[str], np.ndarray]] = field(default_factory=dict)

    @property
    def values(self) -> list[str]:
        """What items have, as shown."""
        return self.vocabulary.values

    @property
    def place(self) -> dict[str, int]:
        """Compared form → its place in `values`."""
        return self.vocabulary.place

    def count(self, value: str) -> int:
        """How many items have a value; of a path also what lies below it."""
        text = self.folded(value)
        if self.kind == "path":
            return int(self.counts[self.vocabulary.below.get(text, [])].sum())
        return int(self.counts[self.place[text]]) if text in self.place else 0

    @cached_property
    def counts(self) -> np.ndarray:
        """int64 (v,): how many items have each value."""
        places = [codes for _, codes in self.entries.values()]
        return np.bincount(np.concatenate(places), minlength=len(self.values))

    def mask(self, condition: Condition, entity: str, n: int) -> np.ndarray:
        """Bool (n,): the rows of an entity type that meet a condition.

        Raises InputError if the condition cannot be met by what there is.
        """
        rows, given = self.entries.get(entity, (_NONE, _NONE))
        number = self.kind == "number"
        met = self.compared(condition, given) if number else self.meeting(condition)[given]
        mask = np.zeros(n, bool)
        mask[rows[met]] = True
        return mask

    def by_row(self, entity: str, n: int) -> np.ndarray:
        """float64 (n,): a number by row, the least of several; NaN where an item has none."""
        if entity not in self._by_row:
            found = np.full(n, np.inf)
            if entity in self.entries:
                np.minimum.at(found, *self.entries[entity])
            found[np.isinf(found)] = np.nan
            self._by_row[entity] = found
        return self._by_row[entity]

    def tally(self, entity: str) -> Tally:
        """Counts what rows of an entity type have: places in `values`, or of a number in
        `numbers`."""
        if entity not in self._tallies:
            rows, given = self.entries.get(entity, (_NONE, _NONE))
            if self.kind == "number":
                given = np.searchsorted(self.numbers, given)
            size = max(len(self.values), len(self.numbers))
            self._tallies[entity] = Tally(rows, given, size)
        return self._tallies[entity]

    def nodes(self, depth: int) -> tuple[list[str], np.ndarray]:
        """Of a path, the nodes so many steps below the top, as shown, and int64 (v,), in which of
        them each value lies, -1 for none."""
        if depth not in self._nodes:
            known: dict[str, int] = {}
            names: list[str] = []
            node_of = np.full(len(self.values), -1)
            for text, place in self.place.items():
                parts, shown = text.split(STEP), self.values[place].split(STEP)
                if len(parts) > depth:
                    key = STEP.join(parts[: depth + 1])
                    if key not in known:
                        known[key] = len(names)
                        names.append(STEP.join(shown[: depth + 1]))
                    node_of[place] = known[key]
            self._nodes[depth] = (names, node_of)
        return self._nodes[depth]

    def ranges(self, condition: Condition) -> list[dict[str, float]]:
        """Of a number the ranges, by `lt`, `lte`, `gt` and `gte`, in one of which it must be.

        Raises InputError if a value of the condition is none.
        """
        try:
            read = _range if condition.op == "=" else _number
            ranges = [read(value) for value in condition.values]
        except ValueError:
            ranges = []
        if not ranges:
            least, most = self.range
            raise InputError(
                f"{self.name} is a number, got {'|'.join(condition.values)[:100]!r}.",
                where=f"filter {self.name}",
                how=f"Its values go from {least:g} to {most:g}.",
            )
        if condition.op == "=":
            return [
                {"gte": low, "lte": low} if low == high else {"gte": low, "lt": high}
                for low, high in ranges
            ]
        return [{_OPERATORS[condition.op]: ranges[0][0]}]

    def compared(self, condition: Condition, given: np.ndarray) -> np.ndarray:
        """Bool, which of the numbers meet a condition."""
        met = np.zeros(len(given), bool)
        for bounds in self.ranges(condition):
            compared = [_COMPARE[op](given, bound) for op, bound in bounds.items()]
            met |= np.logical_and.reduce(compared)
        return met

    @cached_property
    def numbers(self) -> np.ndarray:
        """float64 (d,): of a number the distinct ones, ascending."""
        if self.kind != "number":
            return np.zeros(0)
        return np.unique(np.concatenate([given for _, given in self.entries.values()]))

    @cached_property
    def range(self) -> tuple[float, float]:
        """The least and the largest number."""
        numbers = np.concatenate([given for _, given in self.entries.values()])
        return (float(numbers.min()), float(numbers.max())) if len(numbers) else (0.0, 0.0)

    def meeting(self, condition: Condition) -> np.ndarray:
        """Bool (v,): the values that a condition names.

        Raises InputError if no item has one of them, or it compares what are no numbers.
        """
        if condition.op != "=":
            raise InputError(
                f"{self.name} has no numbers to compare.",
                where=f"filter {self.name}",
                how=f"Write {self.name}=VALUE. {self._told()}",
            )
        wanted = np.zeros(len(self.values), bool)
        for value in condition.values:
            found = self.places_of(value)
            if not found:
                what = f"No item has the {self.name} {value[:100]!r}."
                raise InputError(what, where=f"filter {self.name}", how=self._told(value))
            wanted[found] = True
        return wanted

    def places_of(self, value: str) -> list[int]:
        """The places of the values that a text names: itself, and what lies below or inside it."""
        sought = self.folded(value)
        inner = STEP if self.kind == "path" else "-" if self.name == "language" else None
        found = [self.place[sought]] if sought in self.place else []
        if inner is not None:
            below = sought + inner
            found += [place for text, place in self.place.items() if text.startswith(below)]
        return found

    def folded(self, value: str) -> str:
        """The form in which values are compared."""
        return _compared(self.name, self.kind, normalise(value))

    def _told(self, near: str = "") -> str:
        most = np.argsort(-self.counts, kind="stable")[:_SHOWN]
        listed = ", ".join(self.values[place] for place in most.tolist())
        more = len(self.values) - len(most)
        listed += f", and {more:,} more" if more else ""
        guess = process.extractOne(near, self.values, scorer=fuzz.ratio, score_cutoff=60)
        guessed = f"Did you mean {guess[0]}? " if near and guess else ""
        return f"{guessed}Its values are {listed}."


def _number(text: str) -> tuple[float, float]:
    if not np.isfinite(float(text)):
        raise ValueError(text)
    return float(text), float(text)


def _range(text: str) -> tuple[float, float]:
    """10..20 as (10, 20): from 10, below 20. 10.. has no end, ..20 no beginning, 10 is (10, 10).

    Raises ValueError if it is neither.
    """
    low, dots, high = text.partition("..")
    if not dots:
        return _number(text)
    found = float(low or "-inf"), float(high or "inf")
    if (low + high).strip() == "" or not found[0] <= found[1]:  # also NaN
        raise ValueError(text)
    return found


def attribute_of(name: str, columns: Mapping[str, Column], kind: str) -> Attribute:
    """The attribute of a kind, of its column of each entity type."""
    entries = {}
    if kind == "number":
        for entity, column in columns.items():
            numbers = column.numbers[column.codes]
            known = ~np.isnan(numbers)
            entries[entity] = (column.rows[known], numbers[known])
        return Attribute(name, kind, Vocabulary([], {}, {}), entries)
    kept = next(iter(columns.values())).kept
    vocabulary = kept.of(columns, kind, lambda: _vocabulary(name, columns, kind))
    for entity, column in columns.items():
        codes = vocabulary.to[entity][column.codes]
        rows, codes = column.rows[codes >= 0], codes[codes >= 0]
        if vocabulary.several:
            rows, codes = np.unique(np.stack((rows, codes)), axis=1)
        entries[entity] = (rows, codes)
    return Attribute(name, kind, vocabulary, entries)


def _vocabulary(name: str, columns: Mapping[str, Column], kind: str) -> Vocabulary:
    shown: dict[str, str] = {}
    for column, places in used(columns.values()):
        for at in places.tolist():
            text = _compared(name, kind, column.folded[at])
            value = text if kind == "flag" else column.values[at]
            shown[text] = min(shown.get(text, value), value)
    if kind == "flag":
        shown = {text: value for text, value in shown.items() if text in ("true", "false")}
    place = {text: at for at, text in enumerate(sorted(shown))}
    to = {
        entity: np.array(
            [place.get(_compared(name, kind, text), -1) for text in column.folded], np.int32
        )
        for entity, column in columns.items()
    }
    values = [_shown_path(shown[text], text) if kind == "path" else shown[text] for text in place]
    return Vocabulary(values, place, to)


def _compared(name: str, kind: str, text: str) -> str:
    """The form in which a normalised text is compared."""
    if kind == "flag":
        return _FLAGS.get(text, text)
    if name == "availability":
        return text.replace(" ", "_")
    return _path(text) if kind == "path" else text


def _path(text: str) -> str:
    return STEP.join(filter(None, (part.strip() for part in text.split(">"))))


def _shown_path(value: str, text: str) -> str:
    """A path as shown: with the steps of its compared form, which '＞' parts too."""
    path = _path(value)
    return path if path.count(STEP) == text.count(STEP) else text
