"""Recall@k against a plain count."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from omnisearch.encoders.training.retrieval_eval import ahead, recall_at


@given(st.integers(1, 12), st.integers(1, 30), st.integers(0, 1000), st.booleans())
def test_ahead_counts_scores_that_are_at_least_the_positives(pairs, size, seed, inside) -> None:
    rng = np.random.default_rng(seed)
    corpus = rng.integers(-2, 3, size=(size, 3)).astype(np.float32)  # many ties
    queries = rng.integers(-2, 3, size=(pairs, 3)).astype(np.float32)
    rows = rng.integers(0, size, pairs) if inside else np.full(pairs, -1)
    positives = corpus[rows] if inside else rng.integers(-2, 3, (pairs, 3)).astype(np.float32)
    expected = [
        sum(
            float(queries[i] @ corpus[j]) >= float(queries[i] @ positives[i])
            for j in range(size)
            if j != rows[i]
        )
        for i in range(pairs)
    ]
    assert ahead(queries, positives, corpus, rows if inside else None).tolist() == expected


def test_a_model_that_gives_all_the_same_vector_gets_nothing() -> None:
    same = np.ones((50, 4), dtype=np.float32)
    assert recall_at(same[:5], same[:5], same, rows=np.arange(5)) == 0.0
    assert recall_at(same[:5], same[:5], same[:10], rows=np.arange(5)) == 1.0  # nine others
    assert recall_at(same[:0], same[:0], same) == 0.0
