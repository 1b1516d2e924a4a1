"""`index verify` covers what a shop has written, too."""

from __future__ import annotations

import numpy as np
import pytest

from omnisearch.data.catalogue.schema import open_catalogue
from omnisearch.data.catalogue.vectors_write import write_vectors
from omnisearch.data.workspace import Workspace
from omnisearch.engine.rules.file import read_rules
from omnisearch.engine.rules.published import publish_rules
from omnisearch.pipeline.verify import verify_workspace


def test_every_version_of_the_rules_is_compared_with_its_hashes(workspace: Workspace) -> None:
    open_catalogue(workspace.catalogue, create=True).conn.close()
    for place in (1, 2):  # a rollback would read the first, although the second is live
        content = f"version = 1\n[[pin]]\nall = true\nitem = 'pin/a'\nplace = {place}\n".encode()
        publish_rules(workspace, content, read_rules(content)[0])
    assert verify_workspace(workspace).problems == []
    path = workspace.rules / "1" / "rules.json"
    path.write_bytes(path.read_bytes().replace(b"1", b"3"))
    [problem] = verify_workspace(workspace).problems
    assert "rules/1" in problem and "rules.json" in problem


@pytest.mark.parametrize("suffix", [".npy", ".ids", ".made"])
def test_a_missing_file_of_vectors_is_told_in_words(workspace: Workspace, suffix: str) -> None:
    db = open_catalogue(workspace.catalogue, create=True)
    eye, made = np.eye(2, dtype=np.float32), np.ones((2, 16), np.uint8)
    write_vectors(workspace, db, "image", "pin", ["a", "b"], eye, made=made, made_by="a model")
    db.conn.close()
    assert verify_workspace(workspace).problems == []
    [missing] = workspace.item_vectors.glob(f"*{suffix}")
    missing.unlink()
    [problem] = verify_workspace(workspace).problems
    assert problem.startswith(f"{missing}: A file of the image vectors of pin items is missing. ")
    assert "Import them again" in problem and "Errno" not in problem
