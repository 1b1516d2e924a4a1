"""Vectors that are not finite, or have no direction, enter no index."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson
import pytest
import sqlite_utils
from indexer_fakes import FakeEncoder, put

from omnisearch.data.catalogue.vectors_write import write_vectors
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.artefacts import write_manifest
from omnisearch.data.workspace.errors import Corrupt
from omnisearch.indexer.build import build
from omnisearch.indexer.generation import Generation
from omnisearch.indexer.segment import GENERATION
from omnisearch.indexer.update import update

Small = tuple[Workspace, sqlite_utils.Database]


class Odd(FakeEncoder):
    """An encoder whose vector of the last item of each batch has another length."""

    length = np.nan

    def items(self, items: list[dict[str, Any]], features: Mapping[str, np.ndarray]) -> np.ndarray:
        vectors = super().items(items, features)
        vectors[-1] *= self.length
        return vectors


@pytest.mark.parametrize("length", [np.nan, np.inf])
def test_an_encoder_whose_vectors_are_not_finite_is_refused(small: Small, length: float) -> None:
    workspace, db = small
    build(workspace, db, FakeEncoder())
    encoder = Odd("fedcba9876543210")
    encoder.length = length
    with pytest.raises(Corrupt, match=r"hold NaN or infinity.*pin 'pin059'.*index verify"):
        build(workspace, db, encoder)
    assert Generation.open(workspace).number == 1


def test_a_vector_of_almost_no_length_is_none(small: Small) -> None:
    workspace, db = small
    encoder = Odd()
    encoder.length = 1e-9
    build(workspace, db, encoder)
    space = Generation.open(workspace).spaces["pin", "learned"]
    assert space.count == 59 and not space.vectors[59].any()


def test_compatible_vectors_that_are_not_finite_are_refused(small: Small) -> None:
    workspace, db = small
    write_vectors(workspace, db, "pinsage", "pin", ["pin001"], np.zeros((1, 16), np.float32))
    with np.errstate(invalid="ignore"), pytest.raises(Corrupt, match="hold NaN or infinity"):
        build(workspace, db, FakeEncoder())  # its `compat` divides by the length


def test_an_update_refuses_a_base_whose_items_do_not_fit(small: Small) -> None:
    workspace, db = small
    build(workspace, db, FakeEncoder())
    put(db, "pin", id="new", title="an old lamp")
    ids = workspace.generation(1) / "pin" / "ids.jsonl"
    content = ids.read_bytes()
    ids.write_bytes(content + b'"pin100"\n')
    with pytest.raises(Corrupt, match="does not match its manifest"):
        update(workspace, db, FakeEncoder())
    ids.write_bytes(b"\xff" + content)
    _rehash(workspace)
    with pytest.raises(Corrupt, match=r"ids\.jsonl"):
        update(workspace, db, FakeEncoder())


def _rehash(workspace: Workspace) -> None:
    path = workspace.generation(1) / "manifest.json"
    facts = orjson.loads(path.read_bytes())
    write_manifest(path.parent, GENERATION, {key: facts[key] for key in facts if key != "files"})
