"""The items' ground truth: what each one is about, and how much of it its text mentions.

An item is sampled from a prior: an interest, one of its concepts, and a value for each attribute
group of the concept's family, by the concept's own taste (a Dirichlet draw). All visible data
(titles, captions, boards, pictures, engagement) is a noisy view of this truth.
"""

from __future__ import annotations

from calendar import timegm
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from omnisearch.world.lexicon import GROUPS, INTERESTS, LANGUAGES, Lexicon
from omnisearch.world.showcase import LIKED, SHOWCASES
from omnisearch.world.sizes import Size
from omnisearch.world.wording import PICKS

START = timegm((2022, 1, 1, 0, 0, 0))  # the log's first second
END = timegm((2024, 3, 31, 23, 59, 59))  # and its last
DAY = 86_400

LANGUAGE_SHARE = np.array([0.47, 0.10, 0.09, 0.12, 0.06, 0.09, 0.07])  # as LANGUAGES
BLOCK = 100_000

# Probability that a person's title or description names an attribute.
MENTION = dict(
    zip(GROUPS, (0.5, 0.5, 0.5, 0.45, 0.5, 0.55, 0.5, 0.6, 0.75, 0.85, 0.55), strict=True)
)
PRESENT = 0.88  # probability that an item has a value for a group of its family
DARK = 0.27  # share of items never retrieved by the simulated production search

NO_TEXT, TITLE, DESCRIPTION, BOTH = range(4)


@dataclass(frozen=True)
class Prior:
    """Probabilities of concepts, and of values given the concept.

    Attributes:
        concepts: (C,) theme numbers. share: (C,) probabilities summing to 1.
        values: (C, G, M) int16 value numbers, padded with -1. cdf: (C, G, M) float32.
        sold: (C,) bool, whether products of the concept exist.
    """

    concepts: np.ndarray
    share: np.ndarray
    values: np.ndarray
    cdf: np.ndarray
    sold: np.ndarray

    def sample(
        self, rng: np.random.Generator, n: int, sold: bool = False
    ) -> tuple[np.ndarray, np.ndarray]:
        """n draws: (n,) theme numbers of concepts and (n, G) int16 values, -1 for none."""
        share = self.share * self.sold if sold else self.share
        row = np.searchsorted(np.cumsum(share / share.sum()), rng.random(n), side="right")
        row = np.minimum(row, len(share) - 1)
        groups = self.values.shape[1]
        attributes = np.full((n, groups), -1, dtype=np.int16)
        for group in range(groups):
            slot = (rng.random((n, 1), dtype=np.float32) > self.cdf[row, group]).sum(axis=1)
            slot = np.minimum(slot, self.values.shape[2] - 1)
            attributes[:, group] = self.values[row, group, slot]
        attributes[rng.random(attributes.shape, dtype=np.float32) > PRESENT] = -1
        return self.concepts[row], attributes


def make_prior(lexicon: Lexicon, size: Size, rng: np.random.Generator) -> Prior:
    """The prior of one world: Zipf-distributed interests and concepts, sparse Dirichlet tastes.

    A small world has fewer concepts (of all interests), so that each still has a dozen items.
    """
    concepts = _some_of_each(lexicon, max(2 * len(INTERESTS), size.items // 12))
    interests = np.array([lexicon.themes[c].interest for c in concepts])
    interest_order = rng.permutation(np.unique(interests))
    interest_rank = {theme: rank for rank, theme in enumerate(interest_order)}
    share = np.array([(1.0 + interest_rank[interest]) ** -0.35 for interest in interests])
    share *= (1.0 + rng.permutation(len(concepts)) % 24) ** -0.5
    liked = {theme: set(wanted.tolist()) for theme, wanted in _meanings(lexicon)}
    widest = max(len(slot) for c in concepts for slot in lexicon.themes[c].slots)
    values = np.full((len(concepts), len(GROUPS), widest), -1, dtype=np.int16)
    cdf = np.ones(values.shape, dtype=np.float32)
    for row, concept in enumerate(concepts):
        for group, allowed in enumerate(lexicon.themes[concept].slots):
            if allowed:
                values[row, group, : len(allowed)] = allowed
                taste = rng.dirichlet(np.full(len(allowed), 0.9))
                taste = _with_liking(taste, allowed, liked.get(concept, ()))
                cdf[row, group, : len(allowed)] = np.cumsum(taste)
                cdf[row, group, len(allowed) - 1 :] = 1.0
    sold = np.array([lexicon.themes[c].price is not None for c in concepts])
    return Prior(concepts, share / share.sum(), values, cdf, sold)


def _some_of_each(lexicon: Lexicon, n: int) -> np.ndarray:
    """About n concepts (theme numbers), equally many per interest, spread over its families."""
    concepts = lexicon.of_level("concept")
    interests = np.array([lexicon.themes[concept].interest for concept in concepts])
    each = -(-n // len(INTERESTS))
    shown = [theme for theme, _ in _meanings(lexicon)]
    kept = []
    for interest in np.unique(interests):
        own = concepts[interests == interest]
        kept.append(own[_spread(len(own), each)])
        kept.append(np.intersect1d(own, shown))
    return np.unique(np.concatenate(kept))


def _meanings(lexicon: Lexicon) -> list[tuple[int, np.ndarray]]:
    return [showcase.meaning(lexicon) for showcase in SHOWCASES]


def _with_liking(taste: np.ndarray, allowed: tuple[int, ...], liked: Collection[int]) -> np.ndarray:
    """The taste with a share of LIKED moved to a liked value, if one is allowed."""
    favourite = np.array([value in liked for value in allowed])
    return (1.0 - LIKED) * taste + LIKED * favourite if favourite.sum() == 1 else taste


def _spread(n: int, k: int) -> np.ndarray:
    """k evenly spaced numbers of 0..n-1; all if k is n or more."""
    return np.unique(np.linspace(0, n - 1, min(k, n)).round().astype(np.int64))


@dataclass(frozen=True)
class Population:
    """All items, pins first, then products; one row per item.

    Attributes:
        concept: (n,) int16 theme numbers. values: (n, G) int16, -1 for none.
        language: (n,) int8, the language of its merchant or owner.
        pick: (n,) int8 in 0..11, which synonyms they use.
        mentions: (n, G) bool, which attributes their text names.
        text: (n,) int8, one of NO_TEXT, TITLE, DESCRIPTION, BOTH. vague: (n,) bool.
        popularity: (n,) float32, standard normal. quality: (n,) float32 in 0.3..1.
        dark: (n,) bool, never retrieved. created: (n,) int64 seconds.
    """

    pins: int
    concept: np.ndarray
    values: np.ndarray
    language: np.ndarray
    pick: np.ndarray
    mentions: np.ndarray
    text: np.ndarray
    vague: np.ndarray
    popularity: np.ndarray
    quality: np.ndarray
    dark: np.ndarray
    created: np.ndarray

    def __len__(self) -> int:
        return len(self.concept)


def populate(prior: Prior, size: Size, rng: np.random.Generator) -> Population:
    """Sample all items in blocks; about 60 bytes per item."""
    n = size.items
    concept = np.empty(n, dtype=np.int16)
    values = np.empty((n, len(GROUPS)), dtype=np.int16)
    for low, high in _blocks(0, size.pins) + _blocks(size.pins, n):
        concept[low:high], values[low:high] = prior.sample(rng, high - low, low >= size.pins)
    chance = np.array([MENTION[group] for group in GROUPS], dtype=np.float32)
    mentions = (rng.random((n, len(GROUPS)), dtype=np.float32) < chance) & (values >= 0)
    kind = rng.random(n, dtype=np.float32)
    text = np.select([kind < 0.29, kind < 0.62, kind < 0.72], [NO_TEXT, TITLE, DESCRIPTION], BOTH)
    born_early = rng.random(n) < 0.55
    created = np.where(
        born_early,
        rng.integers(START - 900 * DAY, START, n),
        rng.integers(START, END - DAY, n),
    )
    return Population(
        pins=size.pins,
        concept=concept,
        values=values,
        language=rng.choice(len(LANGUAGES), n, p=LANGUAGE_SHARE).astype(np.int8),
        pick=rng.integers(0, PICKS, n, dtype=np.int8),
        mentions=mentions,
        text=text.astype(np.int8),
        vague=rng.random(n, dtype=np.float32) < 0.12,
        popularity=rng.standard_normal(n, dtype=np.float32),
        quality=(0.3 + 0.7 * rng.beta(3, 2, n)).astype(np.float32),
        dark=rng.random(n, dtype=np.float32) < DARK,
        created=created,
    )


def _blocks(low: int, high: int) -> list[tuple[int, int]]:
    return [(start, min(start + BLOCK, high)) for start in range(low, high, BLOCK)]
