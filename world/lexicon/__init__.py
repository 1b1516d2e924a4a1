"""The words of the sample world: themes and attribute values in seven languages.

One TOML file per interest; a file has families, a family has concepts. A concept inherits its
family's shape and attributes unless it has its own `shape` or groups of `slots`. Interests,
families and concepts are all *themes*: what a query, a board or an item can be about. The two
`attributes*.toml` files have the attribute values by group.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

LANGUAGES = ("en", "de", "fr", "es", "it", "ja", "ru")
GROUPS = (
    "style",
    "colour",
    "material",
    "pattern",
    "room",
    "occasion",
    "season",
    "audience",
    "taste",
    "place",
    "manner",
)
INTERESTS = (
    "home",
    "fashion",
    "food",
    "garden",
    "weddings",
    "crafts",
    "travel",
    "beauty",
    "art",
    "fitness",
    "children",
    "technology",
)
_FOLDER = Path(__file__).parent

Words = dict[str, tuple[str, ...]]  # language → synonyms, most common first


@dataclass(frozen=True)
class Value:
    """An attribute value: 'boho' of the group 'style'."""

    name: str
    group: int
    words: Words
    hex: str = ""
    months: tuple[int, ...] = ()


@dataclass(frozen=True)
class Theme:
    """An interest, a family or a concept.

    Attributes:
        interest, family: theme numbers; interests and families are their own family.
        slots: for each group of GROUPS, the allowed value numbers, by descending preference.
        price: lowest and highest usual price in USD, or None if not sold.
    """

    name: str
    level: str
    interest: int
    family: int
    words: Words
    shape: str = ""
    price: tuple[float, float] | None = None
    slots: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True)
class Lexicon:
    """All themes and values, numbered by position."""

    themes: list[Theme]
    values: list[Value]

    def of_level(self, level: str) -> np.ndarray:
        """The theme numbers of a level, int64."""
        return np.array([n for n, theme in enumerate(self.themes) if theme.level == level])


def _words(table: dict[str, Any], where: str) -> Words:
    missing = [language for language in LANGUAGES if not table.get(language)]
    if missing:
        raise ValueError(f"{where} lacks words in {missing}")
    return {
        language: tuple(word.strip() for word in table[language].split(","))
        for language in LANGUAGES
    }


def _read(name: str) -> dict[str, Any]:
    return tomllib.loads((_FOLDER / f"{name}.toml").read_text("utf-8"))


@cache
def load_lexicon() -> Lexicon:
    """The whole lexicon; raises ValueError if a file lacks a word or names an unknown value."""
    values: list[Value] = []
    number: dict[tuple[str, str], int] = {}
    for group, entries in (_read("attributes") | _read("attributes_use")).items():
        for name, entry in entries.items():
            number[group, name] = len(values)
            values.append(
                Value(
                    name,
                    GROUPS.index(group),
                    _words(entry, f"{group} {name}"),
                    entry.get("hex", ""),
                    tuple(entry.get("months", ())),
                )
            )
    themes: list[Theme] = []
    for interest_name in INTERESTS:
        tables = _read(interest_name)
        interest = len(themes)
        words = _words(tables.pop("interest")["words"], interest_name)
        themes.append(Theme(interest_name, "interest", interest, interest, words))
        for family_name, table in tables.items():
            _add_family(themes, interest, family_name, table, number)
    return Lexicon(themes, values)


def _add_family(
    themes: list[Theme],
    interest: int,
    name: str,
    table: dict[str, Any],
    number: dict[tuple[str, str], int],
) -> None:
    family = len(themes)
    slots = _slots(table["slots"], name, number)
    price = tuple(table["price"]) if "price" in table else None
    words = _words(table["words"], name)
    themes.append(Theme(name, "family", interest, family, words, table["shape"], price, slots))
    for concept, entry in table["concepts"].items():
        own = _slots(table["slots"] | entry.get("slots", {}), concept, number)
        words = _words(entry, f"{name} {concept}")
        shape = entry.get("shape", table["shape"])
        themes.append(Theme(concept, "concept", interest, family, words, shape, price, own))


def _slots(
    table: dict[str, str], where: str, number: dict[tuple[str, str], int]
) -> tuple[tuple[int, ...], ...]:
    unknown = set(table) - set(GROUPS)
    if unknown:
        raise ValueError(f"{where} has unknown groups {unknown}")
    return tuple(
        tuple(number[group, value] for value in table.get(group, "").split()) for group in GROUPS
    )
