"""A second compatibility space of pins, of another package: trained for, indexed and searched."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from omnisearch.data.catalogue.schema import open_catalogue
from omnisearch.data.catalogue.spaces import SPACES, Space, spaces_of
from omnisearch.data.catalogue.vectors_write import write_vectors
from omnisearch.data.workspace import Workspace
from omnisearch.encoders.checkpoint import load_encoder
from omnisearch.encoders.config import preset_config
from omnisearch.encoders.training.run import train
from omnisearch.engine.search import SearchEngine
from omnisearch.engine.sources import SOURCES, Source
from omnisearch.engine.systems import SYSTEMS, System
from omnisearch.indexer.build import BuildOptions, build

DIM = 12


@pytest.fixture
def added() -> Iterator[None]:
    entries: Any = (
        (SPACES, Space("visual", "pin")),
        (SOURCES, Source("visual_pins", "pin", "visual", depth=20)),
        (SYSTEMS, System("visual", "Visual", "nearest pins by looks", "score", ("visual_pins",))),
    )
    for registry, entry in entries:
        registry.register(entry)
    yield
    for registry, entry in entries:
        registry.remove(entry.name)


def test_a_second_space_of_pins_beside_pinsage(
    added: None, tiny_workspace: Workspace, tmp_path: Path
) -> None:
    assert spaces_of("pin") == ["pinsage", "visual"]
    workspace = Workspace(tmp_path / "workspace")
    shutil.copytree(tiny_workspace.root, workspace.root)
    db = open_catalogue(workspace.catalogue)
    ids = [key for (key,) in db.conn.execute("SELECT id FROM pins ORDER BY id")]
    rng = np.random.default_rng(0)
    write_vectors(workspace, db, "visual", "pin", ids, rng.normal(size=(len(ids), DIM)))
    write_vectors(workspace, db, "pinsage", "pin", ids[5:], rng.normal(size=(len(ids) - 5, 8)))
    train(workspace, db, preset_config("tiny", steps=2))
    encoder = load_encoder(workspace)
    assert encoder.compat_spaces == {"pinsage": "pin", "visual": "pin"}
    build(workspace, db, encoder, BuildOptions())
    db.conn.close()
    engine = SearchEngine.open(workspace)
    spaces = engine.snapshot.generation.spaces
    assert {("pin", "pinsage"), ("pin", "visual")} <= spaces.keys()
    for name in ("visual", "pinsage"):
        vectors, query = spaces["pin", name].vectors, engine.snapshot.query("boho bedroom")
        vector = engine.cache.vector(engine.snapshot.encoder, query.text)[0]
        exact = np.sort(vectors @ vector)[::-1][:10]
        found = [score for _, _, score in engine.rank("boho bedroom", name, 10)]
        np.testing.assert_allclose(found, exact, atol=1e-5)
    hits = engine.search("boho bedroom", k=200, explain=True).hits
    named = {source for hit in hits for source in (hit.explain or {})["sources"]}
    assert {"pinsage_pins", "visual_pins"} <= named
    engine.close()
