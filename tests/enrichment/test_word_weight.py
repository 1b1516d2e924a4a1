"""How much words count beside the cosine, by the catalogue's own texts."""

from __future__ import annotations

import numpy as np
import pytest

from omnisearch.data.text.tokens import tokens
from omnisearch.encoders.training.tune import TextPairs
from omnisearch.enrichment.word_weight import USUAL, word_shares, word_weight
from omnisearch.ranker.starter import starter


class Tower:
    """A vector for each item, which its title and its texts have but for noise."""

    def __init__(self, noise: float) -> None:
        self._noise = noise

    def __call__(self, texts: list[str]) -> np.ndarray:
        return np.stack([self._vector(text, 0) for text in texts])

    def queries(self, texts: list[str]) -> np.ndarray:
        return np.stack([self._vector(text, 1) for text in texts])

    def _vector(self, text: str, kind: int) -> np.ndarray:
        number = int("".join(letter for letter in text if letter.isdigit())) % 1000
        of_item = np.random.default_rng(number).normal(size=64)
        found = of_item + np.random.default_rng([number, kind]).normal(size=64) * self._noise
        return found / np.linalg.norm(found)


def catalogue(same: float) -> tuple[TextPairs, list[list[str]]]:
    """100 pairs and 100 other items; a share of the items' texts repeat the title's words."""
    rng = np.random.default_rng(0)
    words = np.array([f"word{letter}x" for letter in "abcdefghijklmnopqrstuvwxyz"])
    queries, texts = [], []
    for number in range(200):
        said = rng.choice(words, 3, replace=False)
        other = said if rng.random() < same else rng.choice(words, 3, replace=False)
        queries.append(" ".join(said) + f" {number}")
        texts.append([" ".join(other) + f" {number + 1000}"])
    return TextPairs(queries[:100], np.arange(100), texts[:100]), texts[100:]


@pytest.mark.parametrize(
    ("same", "noise", "weight"), [(1.0, 4.0, 0.8), (0.0, 2.0, 0.2), (0.0, 1e6, None)]
)
def test_words_count_as_they_find_the_other_texts(same: float, noise: float, weight) -> None:
    assert word_weight(Tower(noise), *catalogue(same)) == weight


def test_one_pair_says_nothing() -> None:
    pairs, others = catalogue(1.0)
    one = TextPairs(pairs.queries[:1], pairs.items[:1], pairs.texts)
    assert word_weight(Tower(1.0), one, others) is None


def test_shares_are_those_of_a_plain_count() -> None:
    queries = ["red red lamp", "blue sofa of oak", "?"]
    texts = ["A red lamp", "Lamp, blue", "red oak sofa", ""]
    having = [set(tokens(text)) for text in texts]
    wanted = np.zeros((3, 4))
    for row, query in enumerate(queries):
        words = set(tokens(query))
        idf = {}
        for word in words:
            count = sum(word in text for text in having)
            idf[word] = np.log(1 + (4 - count + 0.5) / (count + 0.5))
        for column, text in enumerate(having):
            wanted[row, column] = sum(idf[word] for word in words & text) / max(
                sum(idf.values()), 1e-9
            )
    np.testing.assert_allclose(word_shares(queries, texts), wanted, rtol=1e-5)


def test_the_usual_weight_is_the_starter_rankers() -> None:
    weights = dict(zip(starter().names, starter().weights, strict=True))
    assert weights["text_share"] / weights["learned"] == pytest.approx(USUAL, abs=0.005)
    other = dict(zip(starter(0.8).names, starter(0.8).weights, strict=True))
    assert other["text_share"] == pytest.approx(0.8 * weights["learned"])
    assert {**other, "text_share": 0} == {**weights, "text_share": 0}
