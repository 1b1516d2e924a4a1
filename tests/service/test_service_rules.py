"""A service follows the rules that are applied, and serves on if a version is damaged."""

from __future__ import annotations

import time
from typing import Any

from server_process import Server

from omnisearch.data.workspace import Workspace
from omnisearch.engine.rules.file import read_rules
from omnisearch.engine.rules.published import publish_rules, roll_back


def apply(workspace: Workspace, key: str) -> int:
    content = f"version = 1\n[[pin]]\nall = true\nplace = 1\nitem = '{key}'\n".encode()
    return publish_rules(workspace, content, read_rules(content)[0])


def wait_for(holds: Any) -> None:
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.1)


def test_rules_are_followed_and_damaged_ones_left_out(served: Workspace) -> None:
    with Server(served.root) as server:

        def first() -> dict:
            return server.json("/v1/search?q=dress&k=20&explain=true")["hits"][0]

        last = server.json("/v1/search?q=dress&k=20")["hits"][-1]
        assert server.json("/v1/status")["rules"] is None and first()["id"] != last["id"]
        apply(served, f"{last['entity']}/{last['id']}")
        wait_for(lambda: first()["id"] == last["id"])
        assert first()["explain"]["rules"] == ["pin of line 2"]
        assert server.json("/v1/search?q=dress&explain=true")["rules"] == ["pin of line 2"]
        assert server.json("/v1/status")["rules"] == {"version": 1, "rules": 1, "missing": 0}

        number = apply(served, "product/none")
        wait_for(lambda: server.json("/v1/status")["rules"]["version"] == number)
        assert server.json("/v1/status")["rules"]["missing"] == 1
        assert first()["id"] != last["id"]

        roll_back(served, 1)
        wait_for(lambda: first()["id"] == last["id"])
    (served.rules / "1/rules.json").write_text("[]")
    with Server(served.root) as server:
        assert server.json("/v1/search?q=dress&k=20")["hits"][0]["id"] != last["id"]
        assert "without rules" in server.json("/v1/status")["behind"]
