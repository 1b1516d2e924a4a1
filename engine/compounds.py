"""Compounds: `Stuhl` finds `Gartenstuhl`, and `Gartenstuhl` finds `Stuhl` and `Garten`.

In languages that write compounds as one word, a query's word is also searched by words of the
catalogue that begin or end with it, and by the longest ones that it begins and ends with. Only
words count that an item of the query's language has in its name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cached_property

from omnisearch.data.text.normalise import words
from omnisearch.data.text.tokens import Use, tokens
from omnisearch.data.workspace.memory import remembering
from omnisearch.engine.query import Query
from omnisearch.engine.query_language import SpokenLanguages
from omnisearch.indexer.parts.spelling import PART, Spelling

# Languages in which this found more, and what was chosen for it (benchmarks/inflections.py).
COMPOUNDING = frozenset(("da", "de", "fi", "hu", "nl", "no", "sv"))
_WEIGHT = 0.25
_MOST = 8  # compounds that begin with a word, and as many that end with it: the most frequent
_LOOKED_AT = 64


class Compounds:
    """The words of a catalogue by their beginnings and ends; none without such a language."""

    def __init__(self, spelling: Spelling, spoken: SpokenLanguages) -> None:
        self._spoken, self._spelling = spoken, spelling
        self._any = not COMPOUNDING.isdisjoint(spoken.codes)
        if self._any:  # of a build's many words once, for all generations that have its segment
            _ = [part.ordered for part in spelling.vocabularies]

    def added(self, query: Query) -> Query:
        """The query, in a language of COMPOUNDING also searched by compounds and their parts."""
        if query.inflected not in COMPOUNDING or not self._any:
            return query
        terms = dict(query.terms)
        for word in dict.fromkeys(words(query.text)):
            token = tokens(word)[0]
            if len(word) < PART or token not in query.terms:
                continue
            # Of a word that no item has, another form or spelling counts fully, but not these.
            usual = token if self._spelling.count(word) else ""
            for other in self.related(word, query.inflected):
                key = tokens(other)[0]
                use = terms.get(key, Use(0.0, usual))
                if use.weight < 1:  # a compound of two words of the query counts for each
                    terms[key] = use._replace(weight=use.weight + _WEIGHT)
        return replace(query, terms=terms)

    @cached_property
    def related(self) -> Callable[[str, str], list[str]]:
        """Compounds with a word of a language, and its own parts if it is a compound."""
        return remembering(self._related, 10_000)

    def _related(self, word: str, language: str) -> list[str]:
        begin, end = set[str](), set[str]()
        for part in self._spelling.vocabularies:
            begin.update(part.beginning(word, PART))
            end.update(part.ending(word, PART))
        found = [self._frequent(begin, language, _MOST)]
        found += [self._frequent(end, language, _MOST)]
        cuts = range(PART, len(word) - PART + 1)
        found += [self._frequent([word[cut:] for cut in cuts], language, 1, longest=True)]
        found += [self._frequent([word[:-cut] for cut in cuts], language, 1, longest=True)]
        return [other for part in found for other in part]

    def _frequent(
        self, found: Iterable[str], language: str, most: int, longest: bool = False
    ) -> list[str]:
        """The most frequent known words of a language, or the longest."""
        counts = {word: self._spelling.count(word) for word in found}
        known = [word for word, count in counts.items() if count and len(word) >= PART]
        if not longest:
            known.sort(key=lambda word: (-counts[word], word))
        known = known[:_LOOKED_AT]
        has = self._spoken.has(known, language)
        return [word for word, spoken in zip(known, has, strict=True) if spoken][:most]
