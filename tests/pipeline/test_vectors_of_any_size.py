"""Existing embeddings of any size: imported, trained with, indexed, searched, and replaced."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import orjson
import pytest

from omnisearch import SearchEngine, Workspace, pipeline
from omnisearch.data.catalogue.schema import open_catalogue
from omnisearch.data.catalogue.vectors_write import write_vectors
from omnisearch.data.workspace.errors import InputError

WORDS = ("oak", "walnut", "brass", "linen", "velvet", "lamp", "chair", "sofa", "mirror", "vase")
DAY = 86_400
slow = pytest.mark.slow
DIMS = (384, *(pytest.param(dim, marks=slow) for dim in (1, 4, 128, 1024)))
SPACES = {"pinsage": "pin", "itemsage": "product"}
ITEMS = 24


def imported(folder: Path, dim: int, missing: int) -> Workspace:
    """A workspace of pins and products with vectors, but the first `missing` of each."""
    files = folder / "files"
    files.mkdir()
    rng = np.random.default_rng(dim)
    log = []
    for name, entity in SPACES.items():
        ids = [f"{entity}{number:02}" for number in range(ITEMS)]
        rows = [{"id": key, "title": " ".join(rng.choice(WORDS, 3))} for key in ids]
        (files / f"{entity}s.jsonl").write_bytes(b"\n".join(map(orjson.dumps, rows)))
        log += [
            {"query": row["title"], "entity": entity, "item_id": row["id"], "action": "save"}
            for row in rows
        ]
        np.save(files / f"vectors-{name}-{entity}.npy", rng.normal(size=(ITEMS - missing, dim)))
        (files / f"vectors-{name}-{entity}.ids").write_text("\n".join(ids[missing:]))
    events = [{"time": DAY * (1 + at), **event} for at, event in enumerate(log)]
    (files / "engagements.jsonl").write_bytes(b"\n".join(map(orjson.dumps, events)))
    workspace = Workspace.create(folder / "workspace")
    reports = pipeline.import_files(workspace, [files])
    assert [report.refused for report in reports] == [0] * 5
    return workspace


def check(workspace: Workspace, missing: int) -> None:
    """Both spaces hold unit rows of the encoder's size, zeros where there is no vector."""
    engine = SearchEngine.open(workspace)
    generation = engine.snapshot.generation
    dim = engine.snapshot.encoder.dim
    for name, entity in SPACES.items():
        space = generation.spaces[entity, name]
        norms = np.linalg.norm(space.vectors, axis=1)
        assert space.vectors.shape == (ITEMS, dim) and space.count == ITEMS - missing
        np.testing.assert_allclose(norms, [0] * missing + [1] * (ITEMS - missing), atol=1e-3)
        found = engine.rank("oak lamp", name, ITEMS)
        vector = engine.cache.vector(engine.snapshot.encoder, "oak lamp")[0]
        exact = np.sort(space.vectors[missing:] @ vector)[::-1]
        np.testing.assert_allclose([score for *_, score in found], exact, atol=1e-4)
    assert engine.search("oak lamp", k=2 * ITEMS).hits
    engine.close()


@pytest.mark.parametrize("missing", [9, pytest.param(0, marks=slow)])
@pytest.mark.parametrize("dim", DIMS)
def test_vectors_of_any_size_are_searched(tmp_path: Path, dim: int, missing: int) -> None:
    workspace = imported(tmp_path, dim, missing)
    pipeline.train(workspace, "tiny", steps=2, warm_steps=0)
    pipeline.build_index(workspace)
    check(workspace, missing)


@pytest.mark.parametrize("dim", DIMS)
def test_a_warm_start_beside_vectors_of_any_size(tmp_path: Path, dim: int, backbone: Path) -> None:
    workspace = imported(tmp_path, dim, missing=9)
    pipeline.enrich(workspace, "text", backbone=str(backbone))
    pipeline.train(workspace, "tiny", steps=2, warm_steps=2)
    pipeline.build_index(workspace)
    check(workspace, missing=9)


def test_another_size_than_trained_with_is_named_until_trained_again(tmp_path: Path) -> None:
    workspace = imported(tmp_path, 4, missing=0)
    pipeline.train(workspace, "tiny", steps=2, warm_steps=0)
    pipeline.build_index(workspace)
    db = open_catalogue(workspace.catalogue)
    for name, entity in SPACES.items():
        ids = [f"{entity}{number:02}" for number in range(ITEMS)]
        vectors = np.random.default_rng(1).normal(size=(ITEMS, 6))
        write_vectors(workspace, db, name, entity, ids, vectors, replace=True)
    db.conn.close()
    for publish in (pipeline.build_index, pipeline.update_index, pipeline.rebuild_index):
        with pytest.raises(InputError, match=r"6 dimensions.*trained with 4.*`omnisearch train`"):
            publish(workspace)
    check(workspace, missing=0)  # what was live still is
    pipeline.train(workspace, "tiny", steps=2, warm_steps=0)
    assert pipeline.update_index(workspace) == 2
    check(workspace, missing=0)
