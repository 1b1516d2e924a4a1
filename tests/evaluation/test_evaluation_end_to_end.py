"""The whole of evaluation over a real engine on the tiny world, its encoder barely trained."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import orjson
import pytest

from omnisearch import SearchEngine, pipeline
from omnisearch.data.catalogue.schema import open_catalogue
from omnisearch.data.workspace import Workspace
from omnisearch.evaluation.compare import compare_query
from omnisearch.evaluation.compare_set import compare_queries
from omnisearch.evaluation.evaluate import EvaluateOptions, evaluate
from omnisearch.evaluation.pictures import picture_folders
from omnisearch.evaluation.report_html import comparison_page

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def opened(tiny_workspace: Workspace, tmp_path_factory: Any) -> Any:
    root: Path = tmp_path_factory.mktemp("trained") / "workspace"
    shutil.copytree(tiny_workspace.root, root)
    workspace = Workspace.open(root)
    pipeline.enrich(workspace, "graph")
    pipeline.train(workspace, "tiny", steps=4, valid_every=4)
    pipeline.build_index(workspace)
    db = open_catalogue(workspace.catalogue)
    engine = SearchEngine.open(workspace)
    yield engine, db
    engine.close()


def test_every_space_and_system_is_measured(opened: Any) -> None:
    engine, db = opened
    result = evaluate(engine, db, EvaluateOptions(queries=12, fewest=1))
    spaces = {(row.pairs_of.split("/")[0], row.space) for row in result.recall}
    assert {("pin", "learned"), ("pin", "pinsage"), ("pin", "bm25"), ("query", "learned")} <= spaces
    assert {("product", "itemsage"), ("product", "learned"), ("product", "bm25")} <= spaces
    # Whether any judged query falls into the evaluation window is up to the world's chance.
    assert [table.name for table in result.tables][:1] == ["held-out engagement"]
    engaged = result.tables[0]
    assert set(engaged.metrics) == {
        *("token", "embedding", "pinsage", "itemsage", "rrf", "l1", "full")
    }
    # The tiny world's words mostly meet: a working token system beats an untrained embedding.
    assert engaged.metrics["token"]["Recall@100"].mean > 0.1
    assert engaged.metrics["token"]["nDCG@10"].mean > engaged.metrics["embedding"]["nDCG@10"].mean
    assert any("Synthetic data" in note for note in result.notes)
    assert any("No rankers" in note for note in result.notes)
    orjson.dumps(result.to_json())


def test_a_page_of_real_results_with_their_pictures(opened: Any) -> None:
    engine, db = opened
    queries = [row[0] for row in db.conn.execute("SELECT DISTINCT query FROM judgments")]
    compared = [compare_query(engine, db, query) for query in queries]
    comparison = max(compared, key=lambda found: found.columns[0].relevant)
    assert comparison.columns[0].relevant > 0
    page = comparison_page(comparison, picture_folders(db))
    shown = sum(len(column.hits) for column in comparison.columns)
    assert page.count("data:image/svg+xml;base64,") == shown
    assert page.count("✓ relevant") == sum(column.relevant for column in comparison.columns)
    assert "Synthetic data" in page


def test_a_query_set_of_real_results(opened: Any) -> None:
    engine, db = opened
    queries = [row[0] for row in db.conn.execute("SELECT DISTINCT query FROM judgments LIMIT 10")]
    comparison = compare_queries(engine, db, queries)
    assert 0 < comparison.measured <= len(queries)
    token, embedding = (comparison.metrics[name]["nDCG@10"].mean for name in ("token", "embedding"))
    assert token > embedding >= 0
