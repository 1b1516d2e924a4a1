"""How much words count beside the cosine in a catalogue, by its own texts.

Some catalogues say a thing in the same words again, others paraphrase it, and the starter ranker
cannot know which. A title stands for a query, the other texts of its item are what it should find,
and both have what the starter ranker reads: a cosine, and a share of words. Figures:
docs/results/ranking.md.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from omnisearch.data.text.tokens import tokens
from omnisearch.encoders.text_encoder import TextTower
from omnisearch.encoders.training.tune import TextPairs

NOTE = "word_weight"  # key in the catalogue's meta table
USUAL = 0.42  # the starter ranker's weight of `text_share`, that of the cosine being 1
OTHERS = (0.2, 0.3, 0.6, 0.8)
_QUERIES, _ITEMS = 500, 2_000
_SURE = 1.645  # standard errors: one-sided, 95%


def word_weight(tower: TextTower, pairs: TextPairs, others: Sequence[list[str]]) -> float | None:
    """Which of OTHERS ranks the pairs' items higher than USUAL does, for certain; None if none.

    Args:
        pairs: titles and the other texts of their items, of which the tower has learned none.
        others: texts of other items, of which these are to be told apart.
    """
    count = min(len(pairs), _QUERIES)
    texts = [". ".join(pairs.texts[item]) for item in pairs.items[:count].tolist()]
    texts += [". ".join(of_item) for of_item in others[:_ITEMS]]
    if count < 2:
        return None
    queries = pairs.queries[:count]
    cosines = tower.queries(queries) @ tower(texts).T  # (queries, items)
    shares = word_shares(queries, texts)
    ranks = {weight: _log_ranks(cosines + weight * shares) for weight in (USUAL, *OTHERS)}
    gains = {weight: ranks[USUAL] - ranks[weight] for weight in OTHERS}
    least = {
        weight: gain.mean() - _SURE * gain.std(ddof=1) / np.sqrt(count)
        for weight, gain in gains.items()
    }
    best = max(OTHERS, key=lambda weight: least[weight])
    return best if least[best] > 0 else None


def word_shares(queries: Sequence[str], texts: Sequence[str]) -> np.ndarray:
    """float32 (queries, texts): the share of a query's words, weighted by idf, that a text has."""
    rows: dict[str, list[int]] = {}
    for row, text in enumerate(texts):
        for word in set(tokens(text)):
            rows.setdefault(word, []).append(row)
    shares = np.zeros((len(queries), len(texts)), np.float32)
    for query, words in enumerate(set(tokens(text)) for text in queries):
        having = {word: len(rows.get(word, ())) for word in words}
        idf = {w: np.log1p((len(texts) - n + 0.5) / (n + 0.5)) for w, n in having.items()}
        whole = sum(idf.values())
        for word in words & rows.keys():
            shares[query, rows[word]] += idf[word] / whole
    return shares


def _log_ranks(scores: np.ndarray) -> np.ndarray:
    """(queries,) log10 of the rank of each query's own item, whose row is the query's."""
    own = scores[np.arange(len(scores)), np.arange(len(scores))]
    return np.log10(1 + (scores > own[:, None]).sum(axis=1))
