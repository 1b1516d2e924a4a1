"""An index before any training with a text encoder at hand: its embeddings, as it gives them."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from omnisearch import pipeline
from omnisearch.data.catalogue.schema import open_catalogue
from omnisearch.data.catalogue.vectors import open_vectors
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import Corrupt
from omnisearch.encoders.text_encoder import TextTower
from omnisearch.encoders.untrained import is_untrained
from omnisearch.engine.search import SearchEngine
from omnisearch.enrichment import text
from omnisearch.pipeline import encoder
from omnisearch.pipeline.status import workspace_status
from omnisearch.pipeline.verify import verify_workspace

TITLES = (
    *("oak velvet chair", "walnut linen sofa", "brass oak lamp"),
    *("linen vase oak", "velvet brass mirror", "oak linen lamp"),
)


@pytest.fixture
def shop(tmp_path: Path, backbone: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """Products with text and one without; a text encoder is on this machine."""
    monkeypatch.setattr(encoder, "installed", lambda name: True)
    monkeypatch.setattr(text, "fitting_encoders", lambda db: [str(backbone)])
    workspace = Workspace.create(tmp_path / "shop")
    write(tmp_path / "products.csv", *enumerate(TITLES), (99, ""))
    pipeline.import_files(workspace, [tmp_path / "products.csv"])
    return workspace


def write(path: Path, *rows: tuple[int, str]) -> None:
    path.write_text("id,title\n" + "".join(f"p{number},{title}\n" for number, title in rows))


def first(workspace: Workspace, query: str) -> list[str]:
    engine = SearchEngine.open(workspace)
    found = [hit.id for hit in engine.search(query, k=3, system="embedding").hits]
    engine.close()
    return found


def test_the_embeddings_are_the_text_encoders_own(shop: Workspace, backbone: Path) -> None:
    told: list[str] = []
    pipeline.build_index(shop, tell=told.append)
    assert told[0].startswith(f"Embedded the texts of 6 items by {backbone}: ")
    assert "text encoder's own. `omnisearch train`, about a minute here, would fit" in told[1]
    engine = SearchEngine.open(shop)
    space = engine.snapshot.generation.spaces["product", "learned"]
    texts = open_vectors(shop, open_catalogue(shop.catalogue), "text", "product")
    ids = engine.snapshot.generation.tables["product"].ids
    assert texts is not None
    rows, has = texts.rows(ids)
    np.testing.assert_array_equal(space.present, has)
    assert [ids[row] for row in np.flatnonzero(~has)] == ["p99"]
    np.testing.assert_allclose(space.vectors[has], rows[has], atol=2e-3)  # float16 here
    asked = ["oak chairs", "a lamp of brass"]
    own = TextTower(str(backbone)).queries(asked)
    np.testing.assert_allclose(engine.snapshot.encoder.queries(asked), own, atol=1e-4)
    assert verify_workspace(shop).problems == []


def test_updates_embed_what_changed(shop: Workspace, tmp_path: Path) -> None:
    pipeline.build_index(shop)
    write(tmp_path / "products.csv", (2, "walnut brass sofa"), (7, "walnut oak mirror"))
    pipeline.import_files(shop, [tmp_path / "products.csv"])
    told: list[str] = []
    assert pipeline.update_index(shop, tell=told.append) == 2
    assert any("Embedded the texts of 2 new and changed items" in each for each in told)
    assert first(shop, "walnut oak mirror")[0] == "p7"
    assert first(shop, "walnut brass sofa")[0] == "p2"


def test_installing_an_encoder_adds_embeddings(
    shop: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as without:
        without.setattr(encoder, "installed", lambda name: False)
        assert pipeline.build_index(shop) == 1
    assert pipeline.update_index(shop) == 2
    assert first(shop, "brass oak lamp")[0] == "p2"


def test_a_training_takes_its_place(shop: Workspace) -> None:
    pipeline.build_index(shop)
    before = SearchEngine.open(shop).snapshot.encoder.checkpoint
    assert is_untrained(shop, "default")
    assert workspace_status(shop)["next"] == "omnisearch train"
    folder = pipeline.train(shop, "tiny", steps=2, warm_steps=2)
    assert not is_untrained(shop, "default")
    assert workspace_status(shop)["next"] == "omnisearch index build"
    assert [path.name for path in folder.parent.glob("untrained-*")] == []
    told: list[str] = []
    pipeline.build_index(shop, tell=told.append)
    assert SearchEngine.open(shop).snapshot.encoder.checkpoint != before
    assert not any("omnisearch train" in sentence for sentence in told)
    assert workspace_status(shop)["next"] is None


def test_an_unchanged_text_encoder_makes_no_other_checkpoint(shop: Workspace) -> None:
    pipeline.build_index(shop)
    best = shop.best_checkpoint("default").read_text()
    told: list[str] = []
    assert pipeline.update_index(shop, tell=told.append) == 1
    assert shop.best_checkpoint("default").read_text() == best
    assert not any("Embedded" in sentence for sentence in told)


def test_another_text_encoder_makes_another_checkpoint(
    shop: Workspace, backbone: Path, tmp_path: Path
) -> None:
    pipeline.build_index(shop)
    shutil.copytree(backbone, tmp_path / "other")
    pipeline.enrich(shop, "text", backbone=str(tmp_path / "other"), pooling="cls")
    pipeline.build_index(shop)
    (left,) = shop.checkpoints.glob("default/untrained-*")
    assert left.name == shop.best_checkpoint("default").read_text().strip()


def test_a_damaged_untrained_checkpoint_is_an_error(shop: Workspace) -> None:
    pipeline.build_index(shop)
    (weights,) = shop.checkpoints.glob("default/*/model.safetensors")
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")
    with pytest.raises(Corrupt):
        pipeline.update_index(shop)


def test_items_without_text_are_indexed_without_embeddings(shop: Workspace, tmp_path: Path) -> None:
    (tmp_path / "products.csv").write_text("id,price\nq1,3\n")
    workspace = Workspace.create(tmp_path / "bare")
    pipeline.import_files(workspace, [tmp_path / "products.csv"])
    told: list[str] = []
    pipeline.build_index(workspace, tell=told.append)
    assert "by their ids and codes alone, because no item has text" in told[0]
    assert not SearchEngine.open(workspace).snapshot.embeds


def test_imported_text_vectors_stay(shop: Workspace, tmp_path: Path) -> None:
    np.save(tmp_path / "text.npy", np.eye(6, dtype=np.float32))
    (tmp_path / "text.ids").write_text("".join(f"p{number}\n" for number in range(6)))
    pipeline.import_files(shop, [tmp_path / "text.npy"], vectors="text", entity="product")
    told: list[str] = []
    pipeline.build_index(shop, tell=told.append)
    assert "were imported" in told[0]
    texts = open_vectors(shop, open_catalogue(shop.catalogue), "text", "product")
    assert texts is not None and texts.dim == 6
