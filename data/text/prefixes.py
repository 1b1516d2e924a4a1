"""What is compared while somebody types: the form of a text in which a beginning is a prefix.

The form has the text's words, without case and accents, each followed by a space. Of Korean, it has
the letters in the order of their keys: whoever types 소파 sees 소, then 솦, then 소파.
"""

from __future__ import annotations

from bisect import bisect_left
from unicodedata import category

from omnisearch.data.text.accents import unaccented
from omnisearch.data.text.normalise import MAX_QUERY_CHARS, encodable, word_places, words

SHORTEST_TYPO, SHORTEST_TWO = 4, 8  # letters of a word that may have one typo, or two

_FIRST = tuple("ㄱㄲㄴㄷㄸㄹㅁㅂㅃㅅㅆㅇㅈㅉㅊㅋㅌㅍㅎ")
_TWO_VOWELS = "ㅗㅏ ㅗㅐ ㅗㅣ ㅛ ㅜ ㅜㅓ ㅜㅔ ㅜㅣ ㅠ ㅡ ㅡㅣ ㅣ"
_VOWELS = (*"ㅏㅐㅑㅒㅓㅔㅕㅖㅗ", *_TWO_VOWELS.split(" "))
_TWO_LAST = "ㄱ ㄲ ㄱㅅ ㄴ ㄴㅈ ㄴㅎ ㄷ ㄹ ㄹㄱ ㄹㅁ ㄹㅂ ㄹㅅ ㄹㅌ ㄹㅍ ㄹㅎ ㅁ ㅂ ㅂㅅ"
_LAST = (*_TWO_LAST.split(" "), *"ㅅㅆㅇㅈㅊㅋㅌㅍㅎ")
_KEYS: dict[int, str] = {  # of syllables, and of letters that NFKC has made of those typed alone
    **{
        0xAC00 + (first * 21 + vowel) * 28 + last: _FIRST[first] + _VOWELS[vowel] + end
        for first in range(19)
        for vowel in range(21)
        for last, end in enumerate(["", *_LAST])
    },
    **{0x1100 + place: keys for place, keys in enumerate(_FIRST)},
    **{0x1161 + place: keys for place, keys in enumerate(_VOWELS)},
    **{0x11A8 + place: keys for place, keys in enumerate(_LAST)},
}


def whole_key(text: str) -> str:
    """The form of a whole text; empty if it has no words."""
    return "".join(f"{word} " for word in _typed(text))


def typed_key(text: str) -> str:
    """The form of what has been typed so far: its last word may go on, unless a sign ends it."""
    text = encodable(text[: 4 * MAX_QUERY_CHARS])
    key = whole_key(text)[:MAX_QUERY_CHARS]
    ended = text[-1:] and category(text[-1])[0] not in "LMN"
    return key if ended else key[:-1]


def typos(word: str) -> int:
    """How many typos a word of a typed form may have."""
    if not word[0].isalpha():
        return 0
    return (len(word) >= SHORTEST_TYPO) + (len(word) >= SHORTEST_TWO)


def matched_part(text: str, key: str) -> tuple[int, int] | None:
    """Where a text has what was typed, from the beginning of a word: (start, end) in code points.

    Args:
        key: of `typed_key`.
    """
    bare = key.rstrip()
    for start, _ in word_places(text):
        if whole_key(text[start:]).startswith(key):
            ends = range(start + 1, len(text) + 1)
            place = bisect_left(ends, True, key=lambda end: _begins(text[start:end], bare))
            end = ends[min(place, len(ends) - 1)]
            while end < len(text) and category(text[end])[0] == "M":
                end += 1
            return start, end
    return None


def _begins(text: str, bare: str) -> bool:
    return whole_key(text).startswith(bare)


def _typed(text: str) -> list[str]:
    return [unaccented(word).translate(_KEYS) for word in words(text)]
