"""Words near a typed one, found among all words of an index at once.

A typo is a letter added, removed or changed, or two neighbours swapped (Damerau's distance, each
letter edited once). The table of distances is filled for all words together, a row for each typed
letter; words that are too far already are left out as it goes.
"""

from __future__ import annotations

import numpy as np

MOST_LETTERS = 20  # of a word; longer ones are found as they are typed

_NONE = np.uint8(100)
_NO_LETTER = np.uint16(0xFFFE)


def word_letters(words: list[str]) -> np.ndarray:
    """uint16 (MOST_LETTERS, v): the letters of words, in columns, 0 after their ends.

    Letters beyond the basic plane are one letter.
    """
    letters = np.zeros((MOST_LETTERS, len(words)), np.uint16)
    for place, word in enumerate(words):
        letters[: len(word), place] = [min(ord(letter), 0xFFFF) for letter in word]
    return letters


def near_words(
    letters: np.ndarray, typed: str, most: int, whole: bool = False
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The words near a typed one that have its first letter, or those with a beginning near it.

    Args:
        letters: uint16 (MOST_LETTERS, v), of `word_letters`, the words ascending.
        most: typos, at most.
        whole: compare whole words; otherwise the beginning of a word that is nearest.

    Returns:
        int64 (m,) the places of the words, ascending; uint8 (m,) their typos; uint8 (m,) how many
        of their letters are compared, the fewest for these typos.
    """
    codes = [min(ord(letter), 0xFFFF) for letter in typed]
    first, size = np.uint16(codes[0]), len(codes)
    start, end = (int(np.searchsorted(letters[0], first, side)) for side in ("left", "right"))
    where = np.arange(start, end)
    if size - most > len(letters):
        return where[:0], np.zeros(0, np.uint8), np.zeros(0, np.uint8)
    # Letter j of the words is row j + most; no letter is before the first, 0 after the last.
    block = np.zeros((len(letters) + 3 * most + 2, len(where)), np.uint16)
    block[: most + 1] = _NO_LETTER
    block[most + 1 : most + 1 + len(letters)] = letters[:, where]
    if size > most:  # a shorter or longer word is not near
        near = block[size] != 0
        if whole:
            near &= block[size + 2 * most + 1] == 0
        where, block = where[near], block[:, near]
    # Place b of a row i holds the typos between i typed letters and j = i - most + b letters.
    band = 2 * most + 1
    row = np.repeat(np.arange(-most, most + 1)[:, None], len(where), 1)
    row = np.where(row < 0, _NONE, row).astype(np.uint8)
    before = np.full_like(row, _NONE)
    for i in range(1, size + 1):
        here = block[i : i + band]
        new = row + (here != codes[i - 1])
        np.minimum(new[:-1], row[1:] + np.uint8(1), out=new[:-1])
        if i > 1:
            swapped = (here == codes[i - 2]) & (block[i - 1 : i - 1 + band] == codes[i - 1])
            new = np.where(swapped, np.minimum(new, before + np.uint8(1)), new)
        for b in range(1, band):
            np.minimum(new[b], new[b - 1] + np.uint8(1), out=new[b])
        before, row = row, new
        near = row.min(axis=0) <= most
        if np.count_nonzero(near) < 0.7 * len(near):
            where, block = where[near], block[:, near]
            before, row = before[:, near], row[:, near]
    least = np.full(len(where), _NONE)
    compared = np.zeros(len(where), np.uint8)
    for b in range(max(0, most + 1 - size), band):
        fits = block[size + b] != 0
        if whole:
            fits &= block[size + b + 1] == 0
        better = fits & (row[b] < least)
        least[better], compared[better] = row[b][better], size - most + b
    near = least <= most
    return where[near], least[near], compared[near]


def other_first(
    letters: np.ndarray, typed: str, whole: bool = False
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The words that differ from a typed one in one typo of its first letter; as `near_words`."""
    codes: list[int | None] = [min(ord(letter), 0xFFFF) for letter in typed]
    forms = [[None, *codes[1:]], [None, *codes], codes[1:], [*codes[1::-1], *codes[2:]]]
    found: dict[int, int] = {}
    for form in forms:
        places = np.arange(letters.shape[1])
        if len(form) > len(letters):
            continue
        for letter, column in zip(form, letters, strict=False):
            if letter is not None:
                places = places[column[places] == letter]
        if whole and len(form) < len(letters):
            places = places[letters[len(form)][places] == 0]
        found |= dict.fromkeys(places[letters[len(form) - 1][places] != 0].tolist(), len(form))
    places = np.array(sorted(found), np.int64)
    sizes = np.array([found[place] for place in places.tolist()], np.uint8)
    return places, np.ones(len(places), np.uint8), sizes
