"""The starter ranker orders until there are rankers of a workspace's own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from omnisearch.engine.search import SearchEngine
from omnisearch.ranker.features import l1_names
from omnisearch.ranker.l1 import Linear
from omnisearch.ranker.l2 import L2
from omnisearch.ranker.starter import starter
from omnisearch.ranker.training import Rankers

QUERY = "vintage mirror without lamp"


@pytest.mark.parametrize("system", ["l1", "full"])
def test_it_orders_until_there_are_own_rankers(engine: SearchEngine, system: str) -> None:
    found = engine.search(QUERY, k=50, system=system, explain=True)
    assert found.notes == ["No rankers are trained: the starter ranker orders the results."]
    scores = [hit.explain["l1"] for hit in found.hits if hit.explain]
    assert len(set(scores)) > 10
    assert system == "full" or scores == sorted(scores, reverse=True)  # the blend is of 'full'

    learned = starter()
    own = Linear(l1_names(), *(np.zeros(len(l1_names()), np.float32) for _ in range(3)))
    own.weights[own.names.index("learned")] = 1
    engine.swap(replace(engine.snapshot, rankers=Rankers(own, L2(None, None), {"order": "l1"})))
    found = engine.search(QUERY, k=50, system=system, explain=True)
    assert not found.notes and starter() is learned
    for hit in found.hits:
        assert hit.explain and hit.explain["l1"] == pytest.approx(hit.explain["learned"])


def test_words_count_as_the_generation_says(engine: SearchEngine) -> None:
    scores = {}
    for weight in (None, 0.8):
        generation = replace(engine.snapshot.generation, word_weight=weight)
        engine.swap(replace(engine.snapshot, generation=generation))
        for hit in engine.search(QUERY, k=50, system="l1", explain=True).hits:
            assert hit.explain
            scores[weight, hit.entity, hit.id] = hit.explain["l1"]
    usual = dict(zip(starter().names, starter().weights, strict=True))
    most = 0.8 * usual["learned"] - usual["text_share"]
    gains = [
        scores[0.8, entity, item] - before
        for (weight, entity, item), before in scores.items()
        if weight is None and (0.8, entity, item) in scores
    ]
    assert len(gains) > 10
    assert min(gains) >= -1e-4 and 0.3 * most < max(gains) <= most + 1e-4
