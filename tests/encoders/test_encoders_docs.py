"""docs/guide/train.md tells the settings as they are."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

from omnisearch.encoders.config import Config, preset_config

DOCS = Path(__file__).parents[2] / "docs/guide/train.md"


def shown(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value) or '""'


def test_the_table_of_settings_is_that_of_the_presets() -> None:
    presets = [preset_config(name) for name in ("tiny", "demo", "paper")]
    expected = {
        field.name: [shown(getattr(preset, field.name)) for preset in presets]
        for field in fields(Config)
        if field.name != "preset"
    }
    rows = re.findall(r"^\| `(\w+)` \| (.*) \|$", DOCS.read_text("utf-8"), re.MULTILINE)
    assert {name: cells.split(" | ") for name, cells in rows} == expected
