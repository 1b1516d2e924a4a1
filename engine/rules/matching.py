"""Which rules are for a query: by its normalised text, its beginning, or its words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, lru_cache

from omnisearch.data.text.normalise import words
from omnisearch.data.text.tokens import tokens
from omnisearch.data.workspace.memory import remembering
from omnisearch.engine.rules.rule import Rule

Stems = tuple[str, ...]
_REMEMBERED = 10_000  # queries


class Matching:
    """Rules by what they are for. A look-up reads no rule that is for other queries, and what it
    found for the last queries is kept."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self.rules = rules
        self.about_all = [at for at, rule in enumerate(rules) if rule.about_all]
        self._query: dict[str, list[int]] = {}
        self._prefix: dict[str, list[int]] = {}
        self._words: dict[str, list[tuple[frozenset[str], int]]] = {}
        self._phrases: dict[Stems, list[int]] = {}
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
                self._phrases.setdefault(stems_of(text), []).append(at)
        self._prefix_lengths = sorted(set(map(len, self._prefix)))
        lengths: dict[str, set[int]] = {}  # of the phrases that begin with a stem
        for phrase in self._phrases:
            lengths.setdefault(phrase[0], set()).add(len(phrase))
        self._phrase_lengths = {stem: sorted(found) for stem, found in lengths.items()}

    @cached_property
    def of(self) -> Callable[[tuple[str, ...]], tuple[int, ...]]:
        """The positions of the rules that are for one of these normalised texts, not for all.

        In the order in which they are heeded: for the query, for its beginning, for its words; of
        a kind as in the file.
        """
        return remembering(self._of, _REMEMBERED)

    @cached_property
    def phrases(self) -> Callable[[str], tuple[tuple[Stems, int], ...]]:
        """The phrases of synonyms that a text has, as stems, with the position of the rule."""
        return remembering(self._phrases_of, _REMEMBERED)

    def _phrases_of(self, text: str) -> tuple[tuple[Stems, int], ...]:
        return tuple(self._phrases_in(text))

    def _of(self, texts: tuple[str, ...]) -> tuple[int, ...]:
        query, prefix, both = set[int](), set[int](), set[int]()
        for text in texts:
            query.update(self._query.get(text, ()))
            for end in self._prefix_lengths:
                if end > len(text):
                    break
                prefix.update(self._prefix.get(text[:end], ()))
            if self._words:
                found = frozenset(stems_of(text))
                for stem in found:
                    both.update(at for stems, at in self._words.get(stem, ()) if stems <= found)
        prefix -= query
        return (*sorted(query), *sorted(prefix), *sorted(both - query - prefix))

    def _phrases_in(self, text: str) -> Iterator[tuple[Stems, int]]:
        said = stems_of(text)
        for start, stem in enumerate(said):
            for length in self._phrase_lengths.get(stem, ()):
                if start + length > len(said):
                    break
                phrase = said[start : start + length]
                for at in self._phrases.get(phrase, ()):
                    yield phrase, at


@lru_cache(maxsize=_REMEMBERED)
def stems_of(text: str) -> Stems:
    """The stem of each word of a text."""
    return tuple(map(_stem, words(text)))


@lru_cache(maxsize=100_000)
def _stem(word: str) -> str:
    return tokens(word)[0]
