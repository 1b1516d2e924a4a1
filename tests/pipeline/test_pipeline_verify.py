"""`index verify` covers what a shop has written, too."""

from __future__ import annotations

from omnisearch.data.catalogue.schema import open_catalogue
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
