"""Boards, and which items their owners put on them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from data.world.lexicon import GROUPS, LANGUAGES, Lexicon
from data.world.population import BLOCK, DAY, END, LANGUAGE_SHARE, START, Population, Prior
from data.world.relevance import ThemeTree
from data.world.templates import TIDY_BOARDS, USELESS_BOARDS
from data.world.wording import PICKS, attribute_words, phrase, pick_word, title_case

# What a board collects: a concept, a concept with an attribute, an interest with an attribute
# ('boho home decor'), a family, an interest.
KINDS = {"concept": 0.30, "concept+": 0.22, "interest+": 0.26, "family": 0.12, "interest": 0.10}
USELESS = 0.26  # boards whose title says nothing; what they collect is as coherent
NO_BOARD = 0.09
MISPLACED = 0.1  # saves onto a board of the same interest that does not fit
MOST_BOARDS = 10
# Groups that people collect by.
COLLECTED = ("style", "colour", "room", "occasion", "season", "taste", "place", "manner")


@dataclass(frozen=True)
class Boards:
    """All boards, one row each.

    Attributes:
        theme: (b,) int16. value: (b,) int16, -1 for none. language: (b,) int8. useless: (b,) bool.
        owner: (b,) int64 user numbers.
    """

    theme: np.ndarray
    value: np.ndarray
    language: np.ndarray
    useless: np.ndarray
    owner: np.ndarray

    def __len__(self) -> int:
        return len(self.theme)


def make_boards(
    lexicon: Lexicon, prior: Prior, n: int, users: np.ndarray, rng: np.random.Generator
) -> Boards:
    """n boards; `users` (u,) holds each user's language, and owners write in theirs."""
    concept, values = prior.sample(rng, n)
    tree = ThemeTree.of(lexicon)
    kind = rng.choice(len(KINDS), n, p=list(KINDS.values()))
    theme = np.select(
        [kind <= 1, kind == 3], [concept, tree.family[concept]], tree.interest[concept]
    )
    groups = [GROUPS.index(group) for group in COLLECTED]
    offered = values[:, groups]
    choice = np.argmax(np.where(offered >= 0, rng.random(offered.shape), -1.0), axis=1)
    value = np.where((kind == 1) | (kind == 2), offered[np.arange(n), choice], -1)
    owner = rng.integers(0, len(users), n)
    return Boards(
        theme=theme.astype(np.int16),
        value=value.astype(np.int16),
        language=users[owner],
        useless=rng.random(n) < USELESS,
        owner=owner,
    )


def board_id(row: int) -> str:
    return f"b{row:06d}"


def board_records(lexicon: Lexicon, boards: Boards, seed: int) -> Iterator[dict[str, Any]]:
    """The import rows of all boards."""
    rng = random.Random(f"{seed}-boards")
    for row in range(len(boards)):
        language = LANGUAGES[boards.language[row]]
        if boards.useless[row]:
            title = rng.choice(USELESS_BOARDS[language])
        else:
            pick = rng.randrange(PICKS)
            noun = pick_word(lexicon.themes[boards.theme[row]].words, language, pick)
            words = attribute_words(lexicon, [int(boards.value[row])], language, pick)
            title = rng.choice(TIDY_BOARDS[language]).format(phrase(noun, words, language))
            title = title_case(title, language) if rng.random() < 0.6 else title
        yield {
            "id": board_id(row),
            "title": title,
            "owner": f"u{boards.owner[row]:06d}",
            "language": language,
        }


def place_items(
    lexicon: Lexicon, items: Population, boards: Boards, rng: np.random.Generator
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Blocks of (board row, item row, time), each (board, item) once.

    An item goes to boards of its concept, family or interest, with one of its values or with none;
    popular items go to more boards.
    """
    tree = ThemeTree.of(lexicon)
    width = len(lexicon.values) + 1
    key = boards.theme.astype(np.int64) * width + boards.value + 1
    order = np.argsort(key, kind="stable")
    bounds = np.searchsorted(key[order], np.arange(len(lexicon.themes) * width + 1))
    starts, counts = bounds[:-1], np.diff(bounds)
    by_interest = np.argsort(tree.interest[boards.theme], kind="stable")
    interest_bounds = np.searchsorted(
        tree.interest[boards.theme][by_interest], np.arange(len(lexicon.themes) + 1)
    )
    for low in range(0, len(items), BLOCK):
        rows = np.arange(low, min(low + BLOCK, len(items)))
        wanted = 1 + rng.poisson(np.exp(0.55 + 0.5 * items.popularity[rows]).clip(max=6.0))
        wanted = np.where(rng.random(len(rows)) < NO_BOARD, 0, wanted.clip(max=MOST_BOARDS))
        row = np.repeat(rows, wanted)
        if not len(row):
            continue
        theme, value = _where_to(lexicon, tree, items, row, rng)
        place = theme.astype(np.int64) * width + value + 1
        found = counts[place] > 0
        at = starts[place] + (rng.random(len(row)) * counts[place]).astype(np.int64)
        board = order[np.minimum(at, len(order) - 1)]
        # No such board, or misplaced: any board of the interest, else any board.
        interest = tree.interest[items.concept[row]]
        first, last = interest_bounds[interest], interest_bounds[interest + 1]
        anywhere = first + (rng.random(len(row)) * (last - first)).astype(np.int64)
        stray = by_interest[np.minimum(anywhere, len(boards) - 1)]
        board = np.where(found & (rng.random(len(row)) >= MISPLACED), board, stray)
        _, once = np.unique(board * len(items) + row, return_index=True)
        once.sort()
        board, row = board[once], row[once]
        earliest = np.maximum(items.created[row], START - 365 * DAY)
        time = earliest + (rng.random(len(row)) * (END - earliest)).astype(np.int64)
        yield board, row, time


def _where_to(
    lexicon: Lexicon,
    tree: ThemeTree,
    items: Population,
    row: np.ndarray,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """For each item row the (theme, value) of the board that it is put on."""
    concept = items.concept[row]
    kind = rng.choice(len(KINDS), len(row), p=list(KINDS.values()))
    theme = np.select(
        [kind <= 1, kind == 3], [concept, tree.family[concept]], tree.interest[concept]
    )
    groups = [GROUPS.index(group) for group in COLLECTED]
    offered = items.values[row][:, groups]
    choice = np.argmax(np.where(offered >= 0, rng.random(offered.shape), -1.0), axis=1)
    chosen = offered[np.arange(len(row)), choice]
    return theme, np.where((kind == 1) | (kind == 2), chosen, -1)


def user_languages(n: int, rng: np.random.Generator) -> np.ndarray:
    """(n,) int8: each user's language."""
    return rng.choice(len(LANGUAGES), n, p=LANGUAGE_SHARE).astype(np.int8)
