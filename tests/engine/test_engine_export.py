"""Search from an exported query tower: the same results, without PyTorch; never another's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from omnisearch.data.catalogue.items import head_queries
from omnisearch.data.catalogue.pairs import window_pairs
from omnisearch.data.catalogue.schema import open_catalogue
from omnisearch.data.workspace import Workspace
from omnisearch.encoders.checkpoint import load_encoder
from omnisearch.encoders.onnx.query_tower import INT8, OnnxQueries
from omnisearch.engine.search import SearchEngine
from omnisearch.evaluation.tower_recall import tower_recall
from omnisearch.indexer.generation import Generation

ROOT = Path(__file__).parents[2]


@pytest.fixture
def exported(served: Workspace) -> Workspace:
    from omnisearch.encoders.onnx.export import export_query_tower

    sample = head_queries(open_catalogue(served.catalogue), 50)
    everything = {"pin/save": np.ones(1, bool)}
    export_query_tower(served, load_encoder(served), sample, lambda _: everything)
    return served


def test_search_uses_the_export_and_finds_the_same(exported: Workspace) -> None:
    served = SearchEngine.open(exported)
    assert isinstance(served.snapshot.encoder, OnnxQueries)
    assert served.snapshot.encoder.precision == "int8"
    found = {item[:2] for item in served.rank("boho bedroom", "embedding", 20)}
    served.close()
    exported.query_cache.unlink()
    (exported.export(served.snapshot.encoder.checkpoint)).rename(exported.root / "elsewhere")
    plain = SearchEngine.open(exported)
    assert not isinstance(plain.snapshot.encoder, OnnxQueries)
    assert len(found & {item[:2] for item in plain.rank("boho bedroom", "embedding", 20)}) >= 18


def test_a_damaged_export_does_not_fail_a_search(
    exported: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoint = load_encoder(exported).checkpoint
    (exported.export(checkpoint) / INT8).write_bytes(b"not a model")
    engine = SearchEngine.open(exported)
    assert engine.search("boho bedroom").hits and engine.snapshot.encoder.checkpoint == checkpoint
    assert "PyTorch encodes queries" in caplog.text


def test_searching_from_an_export_imports_no_pytorch(exported: Workspace) -> None:
    code = (
        "import sys; from omnisearch.engine.search import SearchEngine\n"
        "engine = SearchEngine.open(sys.argv[1])\n"
        "assert engine.search('a query nobody asked before').hits\n"
        "engine.close()\n"
        "assert not {'torch', 'transformers'} & set(sys.modules)\n"
    )
    asked = [sys.executable, "-c", code, str(exported.root)]
    done = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_the_recall_of_a_tower_is_that_of_exact_search(served: Workspace) -> None:
    generation, encoder = Generation.open(served), load_encoder(served)
    db = open_catalogue(served.catalogue)
    pairs = window_pairs(db, (0, 2**40), sample=30)
    measure = tower_recall(generation, pairs)
    assert measure is not None
    found = measure(encoder)
    assert set(found) == set(pairs)
    table, items = pairs["pin/save"], generation.spaces["pin", "learned"].vectors
    rows = [generation.tables["pin"].row_of[key] for key in table["item_id"].to_pylist()]
    scores = encoder.queries(table["query"].to_pylist()) @ np.asarray(items).T
    own = scores[np.arange(len(rows)), rows]
    expected = (scores >= own[:, None] - 1e-6).sum(axis=1) <= 10
    np.testing.assert_array_equal(found["pin/save"], expected)
    assert tower_recall(generation, {}) is None
    few = tower_recall(generation, pairs, corpus=10)
    assert few is not None and few(encoder)["pin/save"].mean() >= expected.mean()
