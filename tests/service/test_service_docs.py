"""docs/reference/http-api.md tells every address, and its example runs."""

from __future__ import annotations

import re
from pathlib import Path

from server_process import Server

TEXT = (Path(__file__).parents[2] / "docs" / "reference" / "http-api.md").read_text()


def test_all_addresses_are_documented(server: Server) -> None:
    for path in server.json("/openapi.json")["paths"]:
        assert path in TEXT, path


def test_the_example_of_a_batch_runs(server: Server) -> None:
    found: dict = {}
    exec(re.search(r"```python\n(.*?)```", TEXT, re.S).group(1), found)  # type: ignore[union-attr]
    assert found["embed"](["boho bedroom", "lamp"], f"{server.url}/v1/embed").shape[0] == 2
