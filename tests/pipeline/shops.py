"""Small shops for the tests of this room."""

from __future__ import annotations

from pathlib import Path

import orjson

from omnisearch import Workspace, pipeline

WORDS = ("oak", "walnut", "brass", "linen", "velvet", "lamp", "chair", "sofa", "mirror", "vase")
TITLES = [f"{first} {second}" for first in WORDS[:5] for second in WORDS[5:]]
DAY = 86_400


def put(workspace: Workspace, folder: Path, **titles: str | None) -> None:
    """Import pins of these titles."""
    rows = [{"id": key, "title": title} for key, title in titles.items()]
    path = folder / "pins.jsonl"
    path.write_bytes(b"\n".join(map(orjson.dumps, rows)))
    pipeline.import_files(workspace, [path])
