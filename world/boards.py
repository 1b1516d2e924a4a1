"""Boards, and the items their owners save to them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from omnisearch.world.lexicon import GROUPS, LANGUAGES, Lexicon
from omnisearch.world.population import BLOCK, DAY, END, LANGUAGE_SHARE, START, Population, Prior
from omnisearch.world.relevance import ThemeTree
from omnisearch.world.templates import TIDY_BOARDS, USELESS_BOARDS
from omnisearch.world.wording import PICKS, attribute_words, phrase, pick_word, title_case

# Kinds of boards: a concept, a concept with an attribute, an interest with an attribute ('boho
# home decor'), a family, an interest.
KINDS = {"concept": 0.22, "concept+": 0.42, "interest+": 0.20, "family": 0.09, "interest": 0.07}
USELESS = 0.26  # boards with an uninformative title; their items are as coherent
NO_BOARD = 0.09
MISPLACED = 0.1  # saves to a board of the same interest that does not fit
MOST_BOARDS = 10
# Attribute groups that people collect by.
COLLECTED = tuple(group for group in GROUPS if group not in ("material", "pattern"))


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
    """n boards; `users` (u,) is each user's language, which owners write in."""
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

    An item is saved to boards of its concept, family or interest, with one of its values or none;
    popular items are saved to more boards.
    """
    tree = ThemeTree.of(lexicon)
    shelves = _Shelves(lexicon, boards)
    by_interest = _Shelves(lexicon, boards, tree.interest[boards.theme])
    for low in range(0, len(items), BLOCK):
        rows = np.arange(low, min(low + BLOCK, len(items)))
        wanted = 1 + rng.poisson(np.exp(0.8 + 0.5 * items.popularity[rows]).clip(max=6.0))
        wanted = np.where(rng.random(len(rows)) < NO_BOARD, 0, wanted.clip(max=MOST_BOARDS))
        row = np.repeat(rows, wanted)
        if not len(row):
            continue
        theme, value = _where_to(lexicon, tree, items, row, rng)
        concept = items.concept[row]
        nothing = np.full(len(row), -1)
        board = shelves.draw(theme, value, rng)
        # Fallbacks without such a board: the concept's, the family's, the interest's, any.
        for wider in (concept, tree.family[concept], tree.interest[concept]):
            board = np.where(board >= 0, board, shelves.draw(wider, nothing, rng))
        misplaced = (board < 0) | (rng.random(len(row)) < MISPLACED)
        stray = by_interest.draw(tree.interest[concept], nothing, rng)
        stray = np.where(stray >= 0, stray, rng.integers(0, len(boards), len(row)))
        board = np.where(misplaced, stray, board)
        _, once = np.unique(board * len(items) + row, return_index=True)
        once.sort()
        board, row = board[once], row[once]
        earliest = np.maximum(items.created[row], START - 365 * DAY)
        time = earliest + (rng.random(len(row)) * (END - earliest)).astype(np.int64)
        yield board, row, time


class _Shelves:
    """Boards indexed by (theme, value), or by a given `theme` for each, without values."""

    def __init__(self, lexicon: Lexicon, boards: Boards, theme: np.ndarray | None = None) -> None:
        self.width = len(lexicon.values) + 1
        value = boards.value if theme is None else np.int64(-1)
        theme = boards.theme if theme is None else theme
        key = theme.astype(np.int64) * self.width + value + 1
        self.rows = np.argsort(key, kind="stable")
        ends = np.arange(len(lexicon.themes) * self.width + 1)
        bounds = np.searchsorted(key[self.rows], ends)
        self.starts, self.counts = bounds[:-1], np.diff(bounds)

    def draw(self, theme: np.ndarray, value: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """(n,) a board for each (theme, value), or -1 if there is none."""
        key = theme.astype(np.int64) * self.width + value + 1
        at = self.starts[key] + (rng.random(len(key)) * self.counts[key]).astype(np.int64)
        board = self.rows[np.minimum(at, len(self.rows) - 1)]
        return np.where(self.counts[key] > 0, board, -1)


def _where_to(
    lexicon: Lexicon,
    tree: ThemeTree,
    items: Population,
    row: np.ndarray,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """For each item row, the (theme, value) of the board it is saved to."""
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
