"""Reading a file of rules: TOML, with every fault named by its line and field."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from omnisearch.data.catalogue.schema import ITEM_ENTITIES
from omnisearch.data.text.language import primary
from omnisearch.data.text.normalise import MAX_QUERY_CHARS, normalise, words
from omnisearch.data.workspace.errors import InputError
from omnisearch.engine.rules.conditions import parse_filters
from omnisearch.engine.rules.rule import KINDS, MOST_PLACES, Rule

VERSION = 1  # of the file's form
MOST_RULES = 100_000
MOST_BYTES = 32_000_000
MOST_FOR_ALL = 200  # rules with a filter that are for all queries: each looks at every item
LAST_PLACE = 1000

_WHEN = ("query", "prefix", "words", "all")
_FIELDS = {
    "synonyms": ("words", "from", "to", "language"),
    "pin": (*_WHEN, "item", "place"),
    "boost": (*_WHEN, "item", "filter", "places"),
    "bury": (*_WHEN, "item", "filter", "places"),
    "hide": (*_WHEN, "item", "filter"),
}
_ALWAYS = ("name", "start", "end")
_HEADER = re.compile(r"[ \t]*\[\[[ \t]*([A-Za-z0-9_-]+)[ \t]*\]\]")
_FIELD = re.compile(r"[ \t]*([A-Za-z0-9_-]+)[ \t]*=")
_AT_LINE = re.compile(r"\(at line (\d+)")


@dataclass(frozen=True)
class Fault:
    """What is wrong with a file of rules, where, and what to do."""

    line: int
    field: str
    what: str
    how: str = ""

    def __str__(self) -> str:
        where = f"line {self.line}" + (f", {self.field}" if self.field else "")
        return f"{where}: {self.what} {self.how}".rstrip()


def read_rules(content: bytes) -> tuple[list[Rule], list[Fault]]:
    """The rules of a file that are right, and all faults, in the order of lines."""
    if len(content) > MOST_BYTES:
        return [], [Fault(1, "", f"The file has more than {MOST_BYTES:,} bytes.")]
    try:
        text = content.decode("utf-8")
        parsed = tomllib.loads(text)
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        return [], [Fault(line, "", "The file is not UTF-8.")]
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        found = _AT_LINE.search(str(error))
        line = int(found[1]) if found else text.count("\n") + 1
        return [], [Fault(line, "", f"This is not valid TOML ({error}).")]
    rules, faults = [], _top_faults(parsed)
    lines = _lines(text)
    for kind in (kind for kind in KINDS if kind in parsed):
        tables, places = parsed[kind], lines.get(kind, [])
        if not isinstance(tables, list) or len(tables) != len(places):
            faults.append(Fault(1, kind, "Its rules are not tables.", f"Write each as [[{kind}]]."))
            continue
        for table, known in zip(tables, places, strict=True):
            reader = _Reader(kind, table, known)
            rule = reader.rule()
            faults += reader.faults
            if not reader.faults:
                rules.append(rule)
    faults += _too_many(rules)
    rules.sort(key=lambda rule: rule.line)
    return rules, sorted(faults, key=lambda fault: fault.line)


def _top_faults(parsed: dict[str, Any]) -> list[Fault]:
    faults = []
    if parsed.get("version") != VERSION or isinstance(parsed.get("version"), bool):
        how = f"Begin the file with `version = {VERSION}`."
        faults.append(Fault(1, "version", "The version of the file's form is not known.", how))
    for name in parsed.keys() - {"version", *KINDS}:
        how = f"Rules are {', '.join(f'[[{kind}]]' for kind in KINDS)}."
        faults.append(Fault(1, name[:60], "There is no such kind of rule.", how))
    return faults


def _too_many(rules: list[Rule]) -> list[Fault]:
    if len(rules) > MOST_RULES:
        return [Fault(1, "", f"The file has more than {MOST_RULES:,} rules.")]
    wide = [rule for rule in rules if rule.about_all and rule.filter]
    if len(wide) > MOST_FOR_ALL:
        what = f"More than {MOST_FOR_ALL} rules with a filter are for all queries."
        return [Fault(wide[MOST_FOR_ALL].line, "all", what, "Say for which queries they are.")]
    return []


def _lines(text: str) -> dict[str, list[dict[str, int]]]:
    """The lines of each rule by kind: of its header (under ''), and of its fields.

    No value may have several lines (`_Reader` sees to it), so a line that looks like a header or a
    field is one.
    """
    found: dict[str, list[dict[str, int]]] = {}
    here: dict[str, int] = {}
    for number, line in enumerate(text.split("\n"), 1):
        if header := _HEADER.match(line):
            here = {"": number}
            found.setdefault(header[1], []).append(here)
        elif field := _FIELD.match(line):
            here.setdefault(field[1], number)
    return found


class _Reader:
    """Reads one table, and gathers what is wrong with it."""

    def __init__(self, kind: str, table: Any, lines: dict[str, int]) -> None:
        self.kind, self.faults, self._lines = kind, list[Fault](), lines
        self._table: dict[str, Any] = table if isinstance(table, dict) else {}

    def fault(self, field: str, what: str, how: str = "") -> None:
        self.faults.append(Fault(self._lines.get(field, self._lines[""]), field, what, how))

    def rule(self) -> Rule:
        known = (*_FIELDS[self.kind], *_ALWAYS)
        for name in self._table:
            if name not in known:
                how = f"Its fields are {', '.join(known)}."
                self.fault(name[:60], f"A rule [[{self.kind}]] has no such field.", how)
        fields = self._when() if self.kind != "synonyms" else self._synonyms()
        if "item" in _FIELDS[self.kind]:
            fields |= self._about()
        if self.kind in ("boost", "bury"):
            fields["places"] = self._number("places", MOST_PLACES)
        if self.kind == "pin":
            fields["places"] = self._number("place", LAST_PLACE)
        start, end = self._time("start"), self._time("end")
        if start is not None and end is not None and end <= start:
            self.fault("end", "The rule ends before it starts.")
        fields |= {name: at for name, at in (("start", start), ("end", end)) if at is not None}
        name = next(iter(self._texts("name")), "") if "name" in self._table else ""
        return Rule(self.kind, self._lines[""], name=name, **fields)

    def _when(self) -> dict[str, Any]:
        given = [name for name in _WHEN if name in self._table]
        if len(given) != 1:
            what = "The rule does not say for which queries it is, or says it twice."
            self.fault(
                given[1] if given else "query", what, "Give one of query, prefix, words, all."
            )
            return {}
        if given == ["all"]:
            if self._table["all"] is not True:
                self.fault("all", "This can only be true.")
            return {}
        return {given[0]: self._spoken(given[0])}

    def _synonyms(self) -> dict[str, Any]:
        if "words" in self._table:
            if self._table.keys() & {"from", "to"}:
                self.fault("words", "Synonyms have either words, or from and to.")
            both = self._spoken("words")
            if len(both) < 2:
                self.fault("words", "Synonyms need two different words or more.")
            return {"source": both, "target": both, "language": self._language()}
        for name in ("from", "to"):
            if name not in self._table:
                self.fault(name, "This is missing.", "Give words, or from and to.")
                return {}
        fields = {"source": self._spoken("from"), "target": self._spoken("to")}
        return {**fields, "language": self._language()}

    def _language(self) -> str:
        if "language" not in self._table:
            return ""
        found = next(iter(self._texts("language")), "")
        if not re.fullmatch("[a-zA-Z]{2,3}([-_][a-zA-Z0-9]{1,8})*", found):
            self.fault("language", "This is no code of a language.", "Give one such as de.")
        return primary(found)

    def _about(self) -> dict[str, Any]:
        possible = [name for name in ("item", "filter") if name in _FIELDS[self.kind]]
        given = [name for name in possible if name in self._table]
        if not given:
            how = f'Name one, such as "product/b7"{", or give a filter" if possible[1:] else ""}.'
            self.fault("item", "The rule does not say which items it is about.", how)
            return {}
        if len(given) == 2:
            self.fault("filter", "A rule has either an item or a filter.")
        if given[0] == "filter":
            return {"filter": self._conditions()}
        pairs = [text.partition("/") for text in self._texts("item")]
        for entity, _, key in pairs:
            if entity not in ITEM_ENTITIES or not key:
                how = f"Write {' or '.join(f'{name}/ID' for name in ITEM_ENTITIES)}."
                self.fault("item", f"{entity[:60]!r} does not name an item.", how)
        if self.kind == "pin" and len(pairs) > 1:
            self.fault("item", "A pin has one item.", "Write a [[pin]] for each.")
        return {"item": tuple((entity, key) for entity, _, key in pairs)}

    def _conditions(self) -> tuple[str, ...]:
        conditions = self._texts("filter")
        try:
            parse_filters(conditions)
        except InputError as error:
            self.fault("filter", error.what, error.how)
        return conditions

    def _spoken(self, name: str) -> tuple[str, ...]:
        """Distinct normalised texts that have words."""
        found = self._texts(name)
        for text in found:
            if not words(text):
                self.fault(name, f"{text[:60]!r} has no letters or digits.")
            elif len(normalise(text)) > MAX_QUERY_CHARS:
                self.fault(name, f"A text has more than {MAX_QUERY_CHARS} characters.")
        return tuple(dict.fromkeys(map(normalise, found)))

    def _texts(self, name: str) -> tuple[str, ...]:
        value = self._table[name]
        found = value if isinstance(value, list) and name != "name" else [value]
        if not found or not all(isinstance(text, str) and text.strip() for text in found):
            self.fault(name, "It must be text, or a list of texts.", 'Write it as "sofa".')
            return ()
        if any("\n" in text for text in found):
            self.fault(name, "A text has several lines.", "Write it on one.")
        return tuple(text.strip() for text in found)

    def _number(self, name: str, most: int) -> int:
        value = self._table.get(name)
        if type(value) is not int or not 1 <= value <= most:
            self.fault(name, f"It must be a whole number from 1 to {most}.")
            return 1
        return value

    def _time(self, name: str) -> float | None:
        if name not in self._table:
            return None
        value = self._table[name]
        if not isinstance(value, datetime) or value.tzinfo is None:
            how = "Write it as 2026-12-01T00:00:00Z, without quotes."
            self.fault(name, "It is no time with its offset from UTC.", how)
            return None
        return value.timestamp()
