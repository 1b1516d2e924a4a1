"""Which rules are for a query: by its normalised text, its beginning, or its words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

from omnisearch.data.text.normalise import words
from omnisearch.data.text.tokens import tokens
from omnisearch.engine.rules.rule import Rule

Stems = tuple[str, ...]


class Matching:
    """Rules by what they are for. A look-up reads no rule that is for other queries."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self.rules = rules
        self.about_all = [at for at, rule in enumerate(rules) if rule.about_all]
        self._query: dict[str, list[int]] = {}
        self._prefix: dict[str, list[int]] = {}
        self._words: dict[str, list[tuple[frozenset[str], int]]] = {}
        self._phrases: dict[str, list[tuple[Stems, int]]] = {}
        together = [
            (frozenset(stems_of(text)), at) for at, rule in enumerate(rules) for text in rule.words
        ]
        often = Counter(stem for stems, _ in together for stem in stems)
        for stems, at in together:  # by its rarest word, so that few are looked at
            self._words.setdefault(min(stems, key=lambda stem: (often[stem], stem)), []).append(
                (stems, at)
            )
        for at, rule in enumerate(rules):
            for text in rule.query:
                self._query.setdefault(text, []).append(at)
            for text in rule.prefix:
                self._prefix.setdefault(text, []).append(at)
            for text in rule.source:
                phrase = stems_of(text)
                self._phrases.setdefault(phrase[0], []).append((phrase, at))
        self._longest = max(map(len, self._prefix), default=0)

    def of(self, texts: Iterable[str]) -> list[int]:
        """The positions of the rules that are for one of these normalised texts, not for all.

        In the order in which they are heeded: for the query, for its beginning, for its words; of
        a kind as in the file.
        """
        query, prefix, both = set[int](), set[int](), set[int]()
        for text in texts:
            query.update(self._query.get(text, ()))
            for end in range(1, min(len(text), self._longest) + 1):
                prefix.update(self._prefix.get(text[:end], ()))
            if self._words:
                found = frozenset(stems_of(text))
                for stem in found:
                    both.update(at for stems, at in self._words.get(stem, ()) if stems <= found)
        prefix -= query
        return [*sorted(query), *sorted(prefix), *sorted(both - query - prefix)]

    def phrases(self, text: str) -> Iterator[tuple[Stems, int]]:
        """The phrases of synonyms that a text has, as stems, with the position of the rule."""
        if not self._phrases:
            return
        said = stems_of(text)
        for start, stem in enumerate(said):
            for phrase, at in self._phrases.get(stem, ()):
                if said[start : start + len(phrase)] == phrase:
                    yield phrase, at


def stems_of(text: str) -> Stems:
    """The stem of each word of a text."""
    return tuple(map(_stem, words(text)))


@lru_cache(maxsize=100_000)
def _stem(word: str) -> str:
    return tokens(word)[0]
