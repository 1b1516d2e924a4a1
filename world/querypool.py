"""The query pool: intents, each in several phrasings and languages."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from omnisearch.data.text.normalise import normalise_query
from omnisearch.world.lexicon import GROUPS, LANGUAGES, Lexicon
from omnisearch.world.population import LANGUAGE_SHARE, Prior
from omnisearch.world.showcase import SHARE, SHOWCASES
from omnisearch.world.templates import QUERY_ENDINGS
from omnisearch.world.wording import PICKS, attribute_words, phrase, pick_word, typo

ATTRIBUTES_SHARE = (0.06, 0.27, 0.41, 0.26)  # of intents with 0, 1, 2, 3 attributes
FAMILY_SHARE, INTEREST_SHARE = 0.12, 0.08  # of intents whose noun is one
ENDING_SHARE = 0.15
TYPO_SHARE = 0.03
ZIPF = 0.45  # exponent of the intents' popularity
PHRASINGS = 2.5  # mean number of phrasings of an intent


@dataclass(frozen=True)
class QueryPool:
    """All distinct queries; one row per query.

    Attributes:
        text: as typed. theme: (q,) int16. wanted: (q, G) int16 values, -1 for none.
        language: (q,) int8. pick: (q,) int8. weight: (q,) float64, its frequency.
        months: (q, 12) float32, seasonal factors by month.
    """

    text: list[str]
    theme: np.ndarray
    wanted: np.ndarray
    language: np.ndarray
    pick: np.ndarray
    weight: np.ndarray
    months: np.ndarray

    def __len__(self) -> int:
        return len(self.text)


def make_queries(lexicon: Lexicon, prior: Prior, n: int, rng: np.random.Generator) -> QueryPool:
    """About n phrasings; those with the same text are one query.

    The showcases are the first ones.
    """
    intents = max(1, round(n / PHRASINGS))
    theme, wanted = _intents(lexicon, prior, intents, rng)
    # Zipf; intents with few attributes mostly come first.
    order = np.argsort((wanted >= 0).sum(axis=1) + rng.normal(0.0, 3.5, intents), kind="stable")
    liking = np.empty(intents)
    liking[order] = (40.0 + np.arange(intents)) ** -ZIPF
    intent = np.concatenate(
        [np.arange(intents), rng.choice(intents, n - intents, p=liking / liking.sum())]
    )
    language = rng.choice(len(LANGUAGES), n, p=LANGUAGE_SHARE)
    pick = rng.integers(0, PICKS, n)
    ending = np.where(rng.random(n) < ENDING_SHARE, rng.integers(0, 60, n), -1)
    wrong = np.where(rng.random(n) < TYPO_SHARE, rng.integers(0, 1000, n), -1)
    share = rng.lognormal(0.0, 0.8, n) * np.where(wrong >= 0, 0.3, 1.0)
    weight = liking[intent] * share / np.bincount(intent, weights=share, minlength=intents)[intent]
    theme, wanted = theme[intent], wanted[intent]
    first: dict[str, int] = {}
    texts: list[str] = []
    rows: list[int] = []
    total: list[float] = []
    for row, showcase in enumerate(SHOWCASES[:n]):
        theme[row], wanted[row] = showcase.meaning(lexicon)
        language[row], pick[row] = LANGUAGES.index(showcase.language), 0
        first[normalise_query(showcase.text)] = len(texts)
        texts.append(showcase.text)
        rows.append(row)
        total.append(SHARE * weight.sum())
    for row in range(len(rows), n):
        text = _phrase(lexicon, theme[row], wanted[row], language[row], pick[row])
        if ending[row] >= 0:
            endings = QUERY_ENDINGS[LANGUAGES[language[row]]]
            text = f"{text} {endings[ending[row] % len(endings)]}"
        if wrong[row] >= 0:
            text = typo(text, int(wrong[row]))
        if language[row] != LANGUAGES.index("de") or pick[row] % 3:
            text = text.lower()
        known = first.setdefault(normalise_query(text), len(texts))
        if known < len(texts):
            total[known] += weight[row]
            continue
        texts.append(text)
        rows.append(row)
        total.append(weight[row])
    kept = np.array(rows)
    return QueryPool(
        text=texts,
        theme=theme[kept].astype(np.int16),
        wanted=wanted[kept],
        language=language[kept].astype(np.int8),
        pick=pick[kept].astype(np.int8),
        weight=np.array(total) / sum(total),
        months=_months(lexicon, wanted[kept]),
    )


def _intents(
    lexicon: Lexicon, prior: Prior, n: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """n intents from the prior of the items, so that most have matching items."""
    theme, wanted = prior.sample(rng, n)
    named = rng.choice(len(ATTRIBUTES_SHARE), n, p=ATTRIBUTES_SHARE)
    level = rng.random(n)
    family = np.array([t.family for t in lexicon.themes])[theme]
    interest = np.array([t.interest for t in lexicon.themes])[theme]
    wide = level < FAMILY_SHARE + INTEREST_SHARE
    theme = np.where(level < FAMILY_SHARE, family, np.where(wide, interest, theme))
    named = np.where(level < FAMILY_SHARE, named, np.where(wide, np.maximum(named, 1), named))
    order = np.argsort(np.where(wanted >= 0, rng.random(wanted.shape), 2.0), axis=1).argsort(axis=1)
    wanted[order >= named[:, None]] = -1
    return theme, wanted


def _phrase(lexicon: Lexicon, theme: int, wanted: np.ndarray, language: int, pick: int) -> str:
    name = LANGUAGES[language]
    noun = pick_word(lexicon.themes[theme].words, name, int(pick))
    words = attribute_words(lexicon, wanted.tolist(), name, int(pick))
    return phrase(noun, words, name)


def _months(lexicon: Lexicon, wanted: np.ndarray) -> np.ndarray:
    """Christmas queries are frequent in November and December, rare in June."""
    factor = np.ones((len(lexicon.values) + 1, 12), dtype=np.float32)  # the last row: no value
    for number, value in enumerate(lexicon.values):
        if value.months:
            factor[number] = 0.15
            factor[number, [month - 1 for month in value.months]] = 1.0
    seasonal = [GROUPS.index("occasion"), GROUPS.index("season")]
    return factor[wanted[:, seasonal]].prod(axis=1)
