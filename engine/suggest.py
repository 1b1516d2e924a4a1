"""Suggestions while somebody types: what begins with it, then what does but for a typo."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from omnisearch.data.text.prefixes import matched_part, typed_key
from omnisearch.data.workspace.errors import InputError
from omnisearch.data.workspace.memory import remembering
from omnisearch.data.workspace.steps import end_step
from omnisearch.engine.attributes import Attributes
from omnisearch.engine.query_language import checked_language
from omnisearch.indexer.parts.suggest import KINDS, Entries, Found, first_of

MOST = 50
_REMEMBERED = 10_000
_ATTRIBUTES = {"category": ("category", "product_types"), "brand": ("brand",)}


@dataclass(frozen=True)
class Suggestion:
    """One text that may be searched for.

    Attributes:
        text: as it is searched; a category is a path such as 'Shoes > Running'.
        kind: 'query', 'category', 'brand' or 'title'.
        count: how many people asked the query, how many items have the brand or are in the
            category; of a title its items, and how often these were engaged.
        highlights: the ranges [start, end) of what was typed, in Unicode code points of `text`.
        typos: between what was typed and what was found.
        filter: what a search can be filtered by instead, such as 'brand=Acme'; None for a query, a
            title, and what no filter can name.
    """

    text: str
    kind: str
    count: int
    highlights: list[tuple[int, int]]
    typos: int
    filter: str | None = None


class Suggester:
    """Suggests from the texts of one generation; safe for several threads."""

    def __init__(self, sources: tuple[Entries, ...], attributes: Attributes | None = None) -> None:
        """`attributes`: of the generation's items, for the filters of brands and categories."""
        self._sources, self._attributes = sources, attributes
        if attributes:  # what filters need is read now, not while somebody types
            for names in _ATTRIBUTES.values():
                attributes.filter_on(names, "")
                end_step()

    def suggest(self, prefix: str, k: int = 8, language: str | None = None) -> list[Suggestion]:
        """At most k texts of which a word begins with `prefix`, the best first.

        First come those that begin with it, then those of which another word does, then those that
        do but for a typo (in words of 4 letters and more) or two (8 and more); of equal ones those
        with the higher count. Typos are not in the first letter, unless nothing else is found.

        Args:
            prefix: what has been typed so far; a space at its end ends its last word.
            k: 1 to 50.
            language: only texts in this language, such as 'de', and those of no language; None for
                all.

        Raises:
            InputError: k is not in that range, `prefix` is no text, or `language` is no code.
        """
        if not isinstance(prefix, str):
            what = f"What was typed must be text, got {type(prefix).__name__}."
            raise InputError(what, where="prefix")
        if isinstance(k, bool) or not isinstance(k, int) or not 1 <= k <= MOST:
            raise InputError(f"k must be from 1 to {MOST}, got {k!r}.", where="k")
        spoken = None if language is None else checked_language(language, "language")
        key = typed_key(prefix)
        return list(self.remembered(key, k, spoken)) if key.strip() else []

    @cached_property
    def remembered(self) -> Callable[[str, int, str | None], tuple[Suggestion, ...]]:
        """The suggestions for a `typed_key`; the last ones are kept."""
        return remembering(self._suggest, _REMEMBERED)

    def _suggest(self, key: str, k: int, language: str | None) -> tuple[Suggestion, ...]:
        found = first_of([part.exact(key, k, language) for part in self._sources], k)
        if len(found) < k:
            near = [part.near(key, k, language) for part in self._sources]
            found = first_of([found, *near], k)
        if not found:
            near = [part.near(key, k, language, any_first=True) for part in self._sources]
            found = first_of(near, k)
        return tuple(map(self._suggestion, found))

    def _suggestion(self, found: Found) -> Suggestion:
        part, kind = matched_part(found.text, found.key), KINDS[found.kind]
        narrowed = None
        if self._attributes and kind in _ATTRIBUTES:
            narrowed = self._attributes.filter_on(_ATTRIBUTES[kind], found.text)
        marked = [part] if part else []
        return Suggestion(found.text, kind, found.counted, marked, found.typos, narrowed)
