"""Words near a typed one, found among all words of an index at once.

A typo is a letter added, removed or changed, or two neighbours swapped (Damerau's distance, each
letter edited once). The table of distances is filled for all words together, a row for each typed
letter; words that are too far already are left out as it goes.
"""

from __future__ import annotations

import numpy as np

MOST_LETTERS = 20  # of a word; longer ones are found as they are typed

_NONE = np.uint8(100)


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
    first = np.uint16(codes[0])
    start, end = (int(np.searchsorted(letters[0], first, side)) for side in ("left", "right"))
    where, block = np.arange(start, end), letters[:, start:end]
    if len(codes) > most:  # a shorter or longer word is not near
        near = block[len(codes) - most - 1] != 0 if len(codes) - most <= len(block) else where < 0
        if whole and len(codes) + most < len(block):
            near &= block[len(codes) + most] == 0
        where, block = where[near], block[:, near]
    # rows[i][j] holds, for each word, the typos between i typed letters and j letters of it
    before: dict[int, np.ndarray] = {}
    row = {j: np.full(len(where), j, np.uint8) for j in range(most + 1)}
    for i in range(1, len(codes) + 1):
        before, row = row, _next_row(block, codes, i, most, before, row)
        nearest = np.minimum.reduce(list(row.values())) if row else np.full(len(where), _NONE)
        near = nearest <= most
        if np.count_nonzero(near) < 0.7 * len(near):
            where, block = where[near], block[:, near]
            before = {j: column[near] for j, column in before.items()}
            row = {j: column[near] for j, column in row.items()}
    least = np.full(len(where), _NONE)
    compared = np.zeros(len(where), np.uint8)
    for j, column in row.items():
        if j == 0:
            continue
        fits = block[j - 1] != 0
        if whole and j < len(block):
            fits &= block[j] == 0
        better = fits & (column < least)
        least[better], compared[better] = column[better], j
    near = least <= most
    return where[near], least[near], compared[near]


def _next_row(
    block: np.ndarray,
    codes: list[int],
    i: int,
    most: int,
    before: dict[int, np.ndarray],
    above: dict[int, np.ndarray],
) -> dict[int, np.ndarray]:
    """Row i of the table; `above` is row i - 1, `before` row i - 2. Only j near i can be near."""
    row: dict[int, np.ndarray] = {}
    for j in range(max(0, i - most), min(len(block), i + most) + 1):
        if j == 0:
            row[0] = np.full(block.shape[1], i, np.uint8)
            continue
        column = np.full(block.shape[1], _NONE)
        if j - 1 in above:
            column = above[j - 1] + (block[j - 1] != codes[i - 1])
        if j in above:
            column = np.minimum(column, above[j] + np.uint8(1))
        if j - 1 in row:
            column = np.minimum(column, row[j - 1] + np.uint8(1))
        if i > 1 and j > 1 and j - 2 in before:
            swapped = (block[j - 1] == codes[i - 2]) & (block[j - 2] == codes[i - 1])
            other = before[j - 2] + np.uint8(1)
            column = np.where(swapped, np.minimum(column, other), column)
        row[j] = column
    return row


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
