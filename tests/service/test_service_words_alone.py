"""A service over an index that has no embeddings yet."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from server_process import Server

from omnisearch import pipeline
from omnisearch.data.workspace import Workspace
from omnisearch.pipeline import encoder


@pytest.fixture(scope="module")
def words(tiny_workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder: Path = tmp_path_factory.mktemp("words") / "workspace"
    shutil.copytree(tiny_workspace.root, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoder, "installed", lambda name: False)
        pipeline.build_index(folder)
    with Server(folder) as running:
        yield running


def test_it_searches_by_words_and_says_so(words: Server) -> None:
    found = words.json("/v1/search?q=boho+bedroom&k=5&explain=true")
    assert len(found["hits"]) == 5 and found["degraded"] == [] and found["related"] == []
    assert any("no embeddings yet" in note for note in found["notes"])
    columns = words.json("/v1/compare?q=boho+bedroom")["columns"]
    assert all(column["hits"] for column in columns)
    assert words.json("/v1/related?q=boho")["related"] == []
    assert words.json("/v1/status")["checkpoint"] == "none"


@pytest.mark.parametrize("path", ["/v1/search?q=boho&system=embedding", "/v1/embed?q=boho"])
def test_what_needs_embeddings_says_that_there_are_none(words: Server, path: str) -> None:
    status, _, body = words.get(path)
    assert status == 503 and b"no embeddings yet" in body and b"system=token" in body
