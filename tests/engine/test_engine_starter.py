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
