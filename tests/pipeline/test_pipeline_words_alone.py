"""An index before any training and without a text encoder: items are found by their words."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from omnisearch import pipeline
from omnisearch.data.catalogue.schema import open_catalogue
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import Corrupt, NotReady
from omnisearch.encoders.no_encoder import NoEmbeddings
from omnisearch.engine.retrieval import answered
from omnisearch.engine.search import SearchEngine
from omnisearch.engine.systems import SYSTEMS
from omnisearch.pipeline import encoder
from omnisearch.pipeline.status import workspace_status
from omnisearch.pipeline.verify import verify_workspace

TITLES = ["Copper Bathroom Sink", "Oak Chair", "Linen Sofa", "Brass Desk Lamp"]


@pytest.fixture(autouse=True)
def no_text_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoder, "installed", lambda name: False)


@pytest.fixture
def shop(tmp_path: Path) -> Workspace:
    workspace = Workspace.create(tmp_path / "shop")
    write(tmp_path / "products.csv", *enumerate(TITLES))
    pipeline.import_files(workspace, [tmp_path / "products.csv"])
    return workspace


@pytest.fixture(scope="module")
def logged(tiny_workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A catalogue with a log, indexed by its words. Read only."""
    workspace = Workspace(tmp_path_factory.mktemp("words") / "workspace")
    shutil.copytree(tiny_workspace.root, workspace.root)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoder, "installed", lambda name: False)
        pipeline.build_index(workspace)
    return workspace


def write(path: Path, *rows: tuple[int, str]) -> None:
    path.write_text("id,title\n" + "".join(f"p{number},{title}\n" for number, title in rows))


def first(workspace: Workspace, query: str, system: str = "full") -> list[str]:
    engine = SearchEngine.open(workspace)
    found = [hit.id for hit in engine.search(query, system=system).hits]
    engine.close()
    return found


def test_a_catalogue_is_searched_without_any_training(shop: Workspace) -> None:
    told: list[str] = []
    number = pipeline.build_index(shop, tell=told.append)
    assert len(told) == 1 and "words alone" in told[0] and "minilm" in told[0]
    assert not (shop.generation(number) / "encoder").exists()
    engine = SearchEngine.open(shop)
    for system in answered(engine.snapshot, SYSTEMS):
        assert [hit.id for hit in engine.search("copper sinks", system=system).hits] == ["p0"]
    found = engine.search("copper sinks", explain=True)
    assert found.related == [] and found.degraded == [] and found.cached is None
    assert found.hits[0].explain["l1"] is not None  # by the starter ranker
    assert sum("no embeddings yet" in note for note in found.notes) == 1
    assert engine.search("sink", system="token").notes == []
    assert verify_workspace(shop).problems == []


def test_what_needs_embeddings_says_that_there_are_none(logged: Workspace) -> None:
    engine = SearchEngine.open(logged)
    for system in ("embedding", "pinsage", "itemsage", "compat"):
        with pytest.raises(NoEmbeddings, match=r"no embeddings yet.*--system token"):
            engine.search("lamp", system=system)
    with pytest.raises(NoEmbeddings):
        pipeline.evaluate(logged, systems=("token", "embedding"))
    assert engine.warm(["lamp"]) == 0


def test_no_torch_is_imported(shop: Workspace) -> None:
    lines = (
        "import sys",
        "from omnisearch import SearchEngine, pipeline",
        "from omnisearch.pipeline import encoder",
        "encoder.installed = lambda name: False",
        f"pipeline.build_index({str(shop.root)!r})",
        f"pipeline.update_index({str(shop.root)!r})",
        f"assert SearchEngine.open({str(shop.root)!r}).search('copper sink').hits",
        "assert not {'torch', 'transformers'} & set(sys.modules), 'torch was imported'",
    )
    subprocess.run([sys.executable, "-c", "\n".join(lines)], check=True, timeout=60)


def test_updates_publish_what_changed(shop: Workspace, tmp_path: Path) -> None:
    pipeline.build_index(shop)
    assert pipeline.update_index(shop) == 1  # nothing to publish
    write(tmp_path / "products.csv", (7, "Copper Kettle"))
    (tmp_path / "deletions.csv").write_text("entity,id\nproduct,p0\n")
    pipeline.import_files(shop, [tmp_path / "products.csv", tmp_path / "deletions.csv"])
    assert pipeline.update_index(shop) == 2
    assert first(shop, "copper") == ["p7"]
    assert pipeline.rebuild_index(shop) == 3
    assert first(shop, "copper") == ["p7"]


def test_systems_are_measured_and_rankers_trained(logged: Workspace, tmp_path: Path) -> None:
    found = pipeline.evaluate(logged, queries=30, fewest=1)
    assert {"token", "rrf", "l1", "full"} == set(found.tables[0].metrics)
    assert {recall.space for recall in found.recall} == {"bm25"}
    assert any("no embeddings yet" in note for note in found.notes)
    workspace = Workspace(tmp_path / "copy")
    shutil.copytree(logged.root, workspace.root)
    pipeline.train_rankers(workspace, queries=40)
    assert first(workspace, "boho bedroom") and workspace_status(workspace)["stale"] == []


def test_a_damaged_checkpoint_is_not_replaced_by_words(trained: Workspace, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "copy")
    shutil.copytree(trained.root, workspace.root)
    best = workspace.best_checkpoint("default")
    weights = best.with_name(best.read_text().strip()) / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")
    with pytest.raises(Corrupt):
        pipeline.build_index(workspace)
    best.write_text("gone")
    with pytest.raises(Corrupt):
        pipeline.update_index(workspace)
    shutil.rmtree(workspace.checkpoints)
    with pytest.raises(NotReady, match="No encoder 'default'"):
        pipeline.update_index(workspace)


def test_a_named_checkpoint_must_exist(shop: Workspace) -> None:
    with pytest.raises(NotReady, match="No encoder 'other'"):
        pipeline.build_index(shop, "other")
    assert not shop.current.exists()


def test_an_empty_catalogue_is_told(tmp_path: Path) -> None:
    workspace = Workspace.create(tmp_path / "empty")
    open_catalogue(workspace.catalogue, create=True).conn.close()
    told: list[str] = []
    pipeline.build_index(workspace, tell=told.append)
    assert "The catalogue has no items" in told[-1]
    assert first(workspace, "lamp") == []


def test_items_without_text_are_found_by_their_ids(tmp_path: Path) -> None:
    workspace = Workspace.create(tmp_path / "codes")
    (tmp_path / "products.csv").write_text("id,price\nQX-4711,3\nQX-4712,4\n")
    pipeline.import_files(workspace, [tmp_path / "products.csv"])
    pipeline.build_index(workspace)
    assert first(workspace, "qx-4711") == ["QX-4711"]
    assert first(workspace, "lamp") == []


def test_items_without_words_are_said_to_be_found_by_ids(tmp_path: Path) -> None:
    workspace = Workspace.create(tmp_path / "bare")
    (tmp_path / "products.csv").write_text("sku,Produktname\np1,Kupferlampe\n")
    pipeline.import_files(workspace, [tmp_path / "products.csv"], mapping={"id": "sku"})
    told: list[str] = []
    pipeline.build_index(workspace, tell=told.append)
    assert "no item has text" in told[0] and "install" not in told[0]
    assert first(workspace, "p1") == ["p1"] and first(workspace, "kupferlampe") == []
