"""Small files to import, and what the catalogue holds after."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from omnisearch.data.catalogue.schema import open_catalogue
from omnisearch.data.importers.files import ImportOptions, import_file
from omnisearch.data.importers.formats import format_named
from omnisearch.data.importers.transaction import Report
from omnisearch.data.workspace import Workspace


def jsonl(path: Path, *rows: Any) -> Path:
    """A JSONL file; rows that are strings are written as they are."""
    lines = [row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows]
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return path


def taken(workspace: Workspace, path: Path, kind: str | None = None, **options: Any) -> Report:
    """Import a file of which every row must be taken."""
    report = import_file(workspace, path, kind, ImportOptions(**options))
    assert report.refused == 0, report
    return report


def import_named(workspace: Workspace, path: Path, name: str) -> list[Report]:
    """Import a data set or a feed."""
    return format_named(name).read(workspace, path)


def table(workspace: Workspace, name: str, columns: str = "*") -> list[tuple]:
    """All rows of a table, in order."""
    db = open_catalogue(workspace.catalogue)
    try:
        return db.conn.execute(f"SELECT {columns} FROM {name} ORDER BY 1, 2, 3").fetchall()
    finally:
        db.conn.close()


def refusals(report: Report) -> list[tuple[int, str | None, str]]:
    """(line, field, reason) of each refused row and value, by line."""
    if report.rejects is None:
        return []
    entries = [json.loads(line) for line in report.rejects.read_text("utf-8").splitlines()]
    assert {entry["file"] for entry in entries} == {report.file}
    assert len(entries) == report.refused + report.left_out == sum(report.reasons.values())
    assert [entry["row"] for entry in entries].count("refused") == report.refused
    return sorted((e["line"], e["field"], e["reason"]) for e in entries)


def small_catalogue(workspace: Workspace, folder: Path) -> None:
    """Pins p1 and p2, the product s1 and the board b1."""
    taken(workspace, jsonl(folder / "pins.jsonl", {"id": "p1", "title": "One"}, {"id": "p2"}))
    taken(workspace, jsonl(folder / "products.jsonl", {"id": "s1", "title": "Sink"}))
    taken(workspace, jsonl(folder / "boards.jsonl", {"id": "b1", "title": "Ideas"}))
