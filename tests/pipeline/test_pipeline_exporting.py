"""An index build leaves an export of its query encoder, or says why there is none."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import orjson
import pytest

from omnisearch import pipeline
from omnisearch.data.catalogue.schema import open_catalogue
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.artefacts import sealed
from omnisearch.encoders.checkpoint import load_encoder
from omnisearch.encoders.onnx import export
from omnisearch.encoders.onnx.query_tower import FLOAT32, INT8, open_export
from omnisearch.indexer.generation import live_number
from omnisearch.indexer.retention import retain, retain_signals
from omnisearch.pipeline.stale import stale

QUERIES = ["blue sofa", "a query nobody asked"]


@pytest.fixture
def shop(trained: Workspace, tmp_path: Path) -> Workspace:
    shutil.copytree(trained.root, tmp_path / "shop")
    return Workspace(tmp_path / "shop")


def built(workspace: Workspace) -> str:
    """What a build tells of the export."""
    told: list[str] = []
    pipeline.build_index(workspace, tell=told.append)
    return " ".join(sentence for sentence in told if "xport" in sentence)


def test_a_build_exports_the_query_encoder_and_tells_the_time(shop: Workspace) -> None:
    encoder = load_encoder(shop)
    shutil.rmtree(shop.exports)
    said = built(shop)
    assert said.startswith("Exported the query encoder") and said.endswith(" s.")
    tower = open_export(shop, encoder.checkpoint)
    assert tower is not None and tower.precision == tower.facts["serves"]
    assert tower.facts["int8"]["pairs"] > 100
    assert (tower.queries(QUERIES) * encoder.queries(QUERIES)).sum(1).min() > 0.99
    before = tower.folder.stat().st_ino
    assert built(shop) == "" and tower.folder.stat().st_ino == before
    assert pipeline.update_index(shop) and tower.folder.stat().st_ino == before


@pytest.mark.parametrize("damage", [b"", b"not a model"])
def test_a_damaged_export_is_written_again(shop: Workspace, damage: bytes) -> None:
    checkpoint = load_encoder(shop).checkpoint
    names = [name for name in (FLOAT32, INT8) if (shop.export(checkpoint) / name).exists()]
    (shop.export(checkpoint) / names[-1]).write_bytes(damage)
    told: list[str] = []
    pipeline.update_index(shop, tell=told.append)
    assert "Exported the query encoder" in " ".join(told)
    assert open_export(shop, checkpoint) is not None


def test_a_failing_export_does_not_fail_a_build(
    shop: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(shop.exports)

    def fails(*_: object) -> None:
        raise RuntimeError("this backbone cannot be traced")

    monkeypatch.setattr(export, "write_float32", fails)
    said = built(shop)
    assert "PyTorch encodes" in said and "this backbone cannot be traced" in said
    assert list(shop.exports.iterdir()) == []
    assert live_number(shop) == 2
    monkeypatch.undo()
    monkeypatch.setattr(export, "write_tokeniser", lambda *_: export.write_float32(None, None))
    assert "PyTorch encodes" in built(shop)


def test_without_pairs_float32_serves_and_no_int8_is_made(shop: Workspace) -> None:
    shutil.rmtree(shop.exports)
    db = open_catalogue(shop.catalogue)
    with db.conn:
        db.conn.execute("DELETE FROM engagements")
    db.conn.close()
    assert "(float32)" in built(shop)


def test_exports_go_with_the_last_generation_of_their_checkpoint(shop: Workspace) -> None:
    live = load_encoder(shop).checkpoint
    earlier = "0123456789abcdef"
    shutil.copytree(shop.generation(1), shop.generation(2))
    for number, other in ((1, {"checkpoint": earlier}), (2, {"number": 2, "segments": [2]})):
        path = shop.generation(number) / "manifest.json"
        path.write_bytes(sealed(orjson.loads(path.read_bytes()) | other))
    for checkpoint in (earlier, "fedcba9876543210"):
        shop.export(checkpoint).mkdir()
    retain(shop, 2, 2)
    retain_signals(shop)
    assert {path.name for path in shop.exports.iterdir()} == {earlier, live}
    retain(shop, 1, 2)
    retain_signals(shop)
    assert {path.name for path in shop.exports.iterdir()} == {live}
    shutil.rmtree(shop.exports)
    retain(shop, 1, 2)
    retain_signals(shop)


def test_a_build_does_not_ask_for_the_export_that_it_writes(shop: Workspace) -> None:
    shutil.move(shop.export(load_encoder(shop).checkpoint), shop.export("0123456789abcdef"))
    db = open_catalogue(shop.catalogue)
    assert [each.name for each in stale(shop, db)] == ["export"]
    db.conn.close()
    told: list[str] = []
    pipeline.update_index(shop, tell=told.append)
    assert not any("omnisearch export onnx" in sentence for sentence in told)
    assert np.isfinite(open_export(shop, load_encoder(shop).checkpoint).queries(QUERIES)).all()  # type: ignore[union-attr]
