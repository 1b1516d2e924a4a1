"""Builds phrases from themes and attribute values, in each language's word order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from omnisearch.world.lexicon import GROUPS, Lexicon, Words
from omnisearch.world.templates import BEFORE_NOUN, ORDER_AFTER, ORDER_BEFORE

PICKS = 12  # a pick in 0..11 chooses uniformly among one, two, three or four synonyms

_BEFORE = [GROUPS.index(group) for group in ORDER_BEFORE]
_AFTER = [GROUPS.index(group) for group in ORDER_AFTER]


def pick_word(words: Words, language: str, pick: int) -> str:
    """The synonym that `pick` chooses."""
    choices = words[language]
    return choices[pick % len(choices)]


def attribute_pick(pick: int, group: int) -> int:
    """The pick of a writer with `pick` for an attribute of a group."""
    return (pick + 5 * group) % PICKS


def phrase(noun: str, attributes: Mapping[int, str], language: str) -> str:
    """Noun and attribute words (by group number) in the language's word order."""
    if language in BEFORE_NOUN:
        parts = [attributes[group] for group in _BEFORE if group in attributes]
        return " ".join([*parts, noun])
    return " ".join([noun, *(attributes[group] for group in _AFTER if group in attributes)])


def attribute_words(
    lexicon: Lexicon, values: Iterable[int], language: str, pick: int
) -> dict[int, str]:
    """Group number → word, for the value numbers given (negative ones are absent)."""
    words = {}
    for number in values:
        if number >= 0:
            value = lexicon.values[number]
            words[value.group] = pick_word(value.words, language, attribute_pick(pick, value.group))
    return words


def title_case(text: str, language: str) -> str:
    """Title capitalisation: every word in English, the first letter in other languages."""
    if language == "en":
        return " ".join(word[:1].upper() + word[1:] for word in text.split(" "))
    return text[:1].upper() + text[1:]


def typo(text: str, where: int) -> str:
    """The text with two adjacent letters of a longer word swapped."""
    spots = [n for n in range(1, len(text) - 2) if text[n].isalpha() and text[n + 1].isalpha()]
    if not spots or len(text) < 6:
        return text
    n = spots[where % len(spots)]
    return text[:n] + text[n + 1] + text[n] + text[n + 2 :]
