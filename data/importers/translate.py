"""Translates the rows of a publisher or a shop system into ours while they are read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from omnisearch.data.importers.files import import_rows
from omnisearch.data.importers.readers import open_source, passed_over
from omnisearch.data.importers.source import Row, Source
from omnisearch.data.importers.transaction import Report
from omnisearch.data.importers.value_checks import Refused
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import InputError
from omnisearch.data.workspace.progress import Progress

Values = dict[str, Any]
Translate = Callable[[Values], Iterable[Values]]


def file_of(folder: Path, *names: str) -> Path:
    """The first of `names` in the folder, or a file ending with it; InputError if none exists."""
    if not folder.is_dir():
        raise InputError(
            f"This is not a folder, and {names[0]} is looked for in one.",
            where=str(folder),
            how="Name the publisher's folder.",
        )
    for name in names:
        if (folder / name).is_file():
            return folder / name
    alike = (path for name in names for path in folder.glob(f"*{name}"))
    found = sorted(path for path in alike if path.is_file() and not passed_over(path))
    if not found:
        raise InputError(
            f"The folder has no {names[0]}.", where=str(folder), how="Name the publisher's folder."
        )
    return found[0]


def translated(source: Source, translate: Translate) -> Source:
    """The source with each row replaced by the rows that `translate` returns for it.

    A row that `translate` cannot read (Refused, or a value of the wrong type or a missing one)
    becomes an error row.
    """
    return replace(source, rows=_translated(source.rows, translate), columns=None)


def _translated(rows: Iterable[Row], translate: Translate) -> Iterator[Row]:
    for row in rows:
        if row.values is None:
            yield row
            continue
        try:
            made = list(translate(row.values))
        except Refused as refused:
            yield Row(row.line, None, refused.reason, refused.field)
        except KeyError as error:
            yield Row(row.line, None, "is missing", str(error.args[0]))
        except (TypeError, ValueError, AttributeError, IndexError):
            yield Row(row.line, None, "is not in the publisher's format")
        else:
            for values in made:
                yield Row(row.line, values, size=row.size)


def take(
    workspace: Workspace, path: Path, kind: str, translate: Translate, progress: Progress | None
) -> Report:
    """Import the rows that `translate` returns for the rows of one file."""
    source = translated(open_source(path), translate)
    return import_rows(workspace, path, kind, source, progress=progress)


def numbered(format: str, rows: Iterable[Values]) -> Source:
    """Rows that were not read line by line, numbered in order."""
    lines = (Row(line, values) for line, values in enumerate(rows, 1))
    return Source(format, lines, None, 0, lambda: 0)


def once(key: str, translate: Translate) -> Translate:
    """`translate` without rows whose `key` was seen; keys stay in memory, so for few rows."""
    seen: set[str] = set()

    def first(values: Values) -> Iterator[Values]:
        for made in translate(values):
            if made[key] not in seen:
                seen.add(made[key])
                yield made

    return first
