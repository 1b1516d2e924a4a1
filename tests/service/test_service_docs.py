"""docs/guide/serve.md says what is there."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

from server_process import Server

from omnisearch.service.config import ServiceConfig

TEXT = (Path(__file__).parents[2] / "docs" / "guide" / "serve.md").read_text()


def test_all_settings_are_documented_with_their_defaults() -> None:
    rows = re.findall(r"^\| (`[a-z_`, ]+`) \|([^|]*)\|", TEXT.partition("## Settings")[2], re.M)
    told = {}
    for names, defaults in rows:
        listed = re.findall(r"`(\w+)`", names)
        values = [value.strip() for value in defaults.split(",")]
        told |= dict(zip(listed, values * (len(listed) // len(values)), strict=True))
    expected = {
        field.name: str(field.default).removesuffix(".0").lower() for field in fields(ServiceConfig)
    }
    assert told == expected


def test_all_addresses_are_documented(server: Server) -> None:
    for path in server.json("/openapi.json")["paths"]:
        assert path in TEXT, path


def test_the_example_of_a_batch_runs(server: Server) -> None:
    found: dict = {}
    exec(re.search(r"```python\n(.*?)```", TEXT, re.S).group(1), found)  # type: ignore[union-attr]
    assert found["embed"](["boho bedroom", "lamp"], f"{server.url}/v1/embed").shape[0] == 2
