"""The query embedder: order, coalescing, micro-batches, back-pressure, deadlines, swaps."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
from test_engine_query_cache import CountingEncoder

from engine.query.embedder import QueryEmbedder
from engine.query_cache import QueryCache


def test_rows_follow_the_queries(tmp_path: Path) -> None:
    tower = CountingEncoder()
    embedder = QueryEmbedder(QueryCache(tmp_path / "cache.db"), tower)
    found = asyncio.run(embedder.embed(["sofa", "lamp", "Sofa "]))
    np.testing.assert_allclose(found, CountingEncoder().queries(["sofa", "lamp", "sofa"]))
    assert embedder.cached("lamp") is not None
    assert embedder.cached("rug") is None
    embedder.close()
